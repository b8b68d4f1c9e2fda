"""The committed order in SQL: where it stands, and where in it a time lies (see ``domain/order.py``)."""

# The greatest number that is visible, never the last one drawn: whoever holds that may not have committed.
# Each is one step from the end of an index.
NEWEST_OF_EACH = ", ".join(
    f"(SELECT seq FROM {table} ORDER BY seq DESC LIMIT 1)"  # noqa: S608 - names of ours are put in
    for table in ("positions", "vessels", "withdrawals")
)
# Whether a number was lost with the server that gave it, and with what it was given to.
IS_LOST = "EXISTS (SELECT FROM order_fences AS f WHERE f.resumed >= {0} AND f.survived < {0})"
# What is kept no longer may have been the newest: the order does not fall below the floor.
FLOOR = "(SELECT number FROM feed_floor WHERE id = 1)"
NEWEST = f"greatest({NEWEST_OF_EACH}, {FLOOR}, 0)"
# So many numbers are gone through one by one where it is not known which of them came first.
_FEW = 16
_PROBE = """LEFT JOIN LATERAL (
        SELECT p.seq, coalesce(p.released_at, p.received_at) < {at} - %(under_way)s AS is_early
        FROM positions AS p
        WHERE p.seq > {middle} {within}
        ORDER BY p.seq
        LIMIT 1
    ) AS probe ON true"""
_STEP = """CASE WHEN probe.is_early THEN probe.seq ELSE {0}.low END,
        CASE WHEN probe.is_early THEN {0}.high ELSE {1} END"""
_WITHIN = "AND p.recorded_at >= (SELECT since FROM about) AND p.recorded_at < (SELECT until FROM about)"


def halving(at: str) -> str:
    """Return what stands behind WITH RECURSIVE to find a number that comes little before a time.

    The greatest ``low`` of ``halving`` is a number up to which all that has one had come before. ``at`` is
    the time in the words of the statement, which takes %(under_way)s.

    Fixes come in order of their numbers, but for what is under way, so whatever halves may be asked. First
    only those of the partition of that month are, as a look at all partitions costs as many steps as there
    are. Where a look at all finds that much lies between, as what had been kept aboard for long came just
    then, all are asked after all. What is in the one partition of all that is older is asked with all others.
    """
    middle = "near.low / 2 + near.high / 2"
    further = f"""CASE WHEN halving.is_first THEN halving.low + {_FEW}
        ELSE halving.low / 2 + halving.high / 2 END"""
    return f"""about AS MATERIALIZED (
    SELECT CASE WHEN is_month THEN month ELSE '-infinity' END AS since,
        CASE WHEN is_month THEN month + interval '1 month' ELSE 'infinity' END AS until
    FROM (
        SELECT date_trunc('month', {at}, 'UTC') AS month, {at} >= coalesce((
            SELECT max(to_timestamp(substring(relname FROM '_before_([0-9]{{4}}_[0-9]{{2}})'), 'YYYY_MM'))
            FROM pg_class WHERE relname LIKE 'positions\\_before\\_%%' AND relkind = 'r'
        ), '-infinity') AS is_month
    ) AS at
), near AS (
    SELECT 0::bigint AS low, (SELECT last_value FROM fleet_order) AS high
    UNION ALL
    SELECT {_STEP.format("near", middle)}
    FROM near {_PROBE.format(at=at, middle=middle, within=_WITHIN)}
    WHERE near.low < near.high - {_FEW}
), halving AS (
    SELECT max(near.low) AS low, (SELECT last_value FROM fleet_order) AS high, true AS is_first FROM near
    UNION ALL
    SELECT {_STEP.format("halving", further)}, false
    FROM halving {_PROBE.format(at=at, middle=further, within="")}
    WHERE halving.low < halving.high - CASE WHEN halving.is_first THEN 1 ELSE {_FEW} END
)"""  # noqa: S608 - constants of ours are put in, and names of parameters
