"""All that a process counts and measures of itself, for Prometheus: declared here, counted where it happens.

Names begin with ``harbor_`` and end with what they are in. No label has more values than this code has names
for: routes are templates, reasons and codes are ours. Whatever is counted for each fix is bound once, to
``labels(...).inc``: to look a child up costs as much as to count.

Where the processes of a service count together (see ``processes``) this must be imported once their directory
is there, and after no other user of prometheus_client. Nothing is counted in the handler of a signal: it may
have interrupted somebody who counts and holds the lock.
"""

from prometheus_client import Counter, Gauge, Histogram, values

from harbor_api.telemetry import processes

# As a process of its own number, and not of its id: see there.
values.ValueClass = (
    values.MutexValue if processes.number() is None else values.MultiProcessValue(processes.number)
)

_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)

# --- requests ---

REQUESTS = Counter(
    "harbor_http_requests",
    "Requests that were answered, by method, template of the route and status.",
    ["method", "route", "status"],
)
REQUEST_SECONDS = Histogram(
    "harbor_http_request_duration_seconds",
    "How long it took until the answer to a request was ready to be sent; a long poll waits in it.",
    ["method", "route"],
    buckets=_SECONDS,
)
REFUSED_BEFORE = Counter(
    "harbor_http_refused",
    "Requests that never reached the application: what is no HTTP, too large or too slow.",
    ["status"],
)
AUTHENTICATION_FAILURES = Counter(
    "harbor_authentication_failures", "Requests whose key or signature did not hold, by code.", ["code"]
)
LIMITS_REFUSED = Counter(
    "harbor_limits_refused",
    "Requests that were answered with 429, by the policy they exceed.",
    ["policy"],
)

# --- connections of clients ---

CONNECTIONS = Gauge(
    "harbor_connections",
    "Connections of clients that are open, those that follow aside.",
    multiprocess_mode="livesum",
)
CONNECTIONS_CUT = Counter(
    "harbor_connections_cut",
    "Connections that were cut, by what was waited for: idle, head, body or answer.",
    ["phase"],
)

# --- fixes ---

FIXES = Counter(
    "harbor_fixes",
    "Fixes that trackers have sent, by verdict, and by the reason that one is held or invalid for.",
    ["verdict", "reason"],
)

# --- what is done in groups: fixes, and look-ups of trackers and keys ---

GROUP_SIZE = Histogram(
    "harbor_group_size",
    "What is done at once: fixes that are stored in one transaction, trackers or keys looked up together.",
    ["queue"],
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 1_000),
)
GROUP_SECONDS = Histogram(
    "harbor_group_duration_seconds",
    "How long a group took: of fixes, from the first statement to the commit.",
    ["queue"],
    buckets=_SECONDS,
)
GROUPS_REFUSED = Counter(
    "harbor_group_refused",
    "Requests that were told 503: too much was waiting before them (full), or nothing moved (slow).",
    ["queue", "reason"],
)
WAITING_REQUESTS = Gauge(
    "harbor_group_waiting_requests",
    "Requests that wait for their group.",
    ["queue"],
    multiprocess_mode="livesum",
)
WAITING_WEIGHT = Gauge(
    "harbor_group_waiting_weight",
    "What these requests weigh: so many fixes, trackers or keys.",
    ["queue"],
    multiprocess_mode="livesum",
)

# --- PostgreSQL, as the service meets it ---

POOL_SIZE = Gauge(
    "harbor_database_pool_size", "Connections to PostgreSQL that may be open.", multiprocess_mode="livesum"
)
POOL_IN_USE = Gauge(
    "harbor_database_pool_in_use", "Connections to PostgreSQL that are in use.", multiprocess_mode="livesum"
)
POOL_WAIT_SECONDS = Histogram(
    "harbor_database_pool_wait_seconds",
    "How long was waited for a connection to PostgreSQL, of those times that none was free.",
    buckets=_SECONDS,
)
DATABASE_FAILURES = Counter(
    "harbor_database_failures",
    "Work in PostgreSQL that failed: no connection was free (pool), it cannot be reached or is too slow "
    "(away), ended the connection (ended), ended it in favour of another (contended), or else (statement).",
    ["kind"],
)

REPLICA_READS = Counter(
    "harbor_replica_reads",
    "Reads that the replica is there for, by the server that did them: replica; or primary, as the replica "
    "was behind or away.",
    ["server"],
)

# --- Redis ---

REDIS_REQUESTS = Counter("harbor_redis_requests", "Questions to Redis.")
REDIS_FAILURES = Counter("harbor_redis_failures", "Questions to Redis that it did not answer.")
LIMITS_DEGRADED = Gauge(
    "harbor_limits_degraded",
    "1 where a worker counts limits alone as Redis does not answer, else 0.",
    multiprocess_mode="livemax",
)

# --- those who follow ---

FOLLOWERS = Gauge(
    "harbor_followers",
    "Those who follow the feed: streams, and long polls.",
    ["kind"],
    multiprocess_mode="livesum",
)
FOLLOWERS_MOST = Gauge(
    "harbor_followers_most", "As many of them as there may be.", ["kind"], multiprocess_mode="livesum"
)
FOLLOWERS_REFUSED = Counter(
    "harbor_followers_refused", "Those who were refused as there were as many as there may be.", ["kind"]
)
STREAMS_ENDED = Counter("harbor_streams_ended", "Streams that have ended, by reason.", ["reason"])
SLOWEST_FOLLOWER = Gauge(
    "harbor_follower_stalled_seconds",
    "For how long the slowest of those who follow has read nothing of what it was sent.",
    multiprocess_mode="livemax",
)
FEED_LAG = Gauge(
    "harbor_feed_lag_seconds",
    "For how long a worker has not read the feed for those who follow there; 0 where nobody does.",
    multiprocess_mode="livemax",
)

# --- processes ---

WORKERS = Gauge("harbor_workers", "Workers that take requests.", multiprocess_mode="livesum")
WORKERS_SET = Gauge(
    "harbor_workers_set", "Workers that there should be: HARBOR_WORKERS.", multiprocess_mode="livemax"
)
WORKER_STARTS = Counter("harbor_worker_starts", "Workers that were started.")
WORKER_EXITS = Counter(
    "harbor_worker_exits", "Workers that have ended: as they were told, or by themselves or a kill.", ["how"]
)
WORKER_MEMORY = Gauge(
    "harbor_worker_resident_memory_bytes", "Resident memory of all workers.", multiprocess_mode="livesum"
)

# What an alert looks at is there from the start: of a series that begins with 1 nobody sees that it grew.
for _family, _values in {
    DATABASE_FAILURES: ("pool", "away", "ended", "contended", "statement"),
    WORKER_EXITS: ("told", "unexpected"),
    FOLLOWERS_REFUSED: ("stream", "long_poll"),
    LIMITS_REFUSED: ("key", "tracker", "repeats", "failures", "public"),
}.items():
    for _value in _values:
        _family.labels(_value)
