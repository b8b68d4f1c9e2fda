"""What a request costs, counted instead of timed, and two services that differ in what they hold.

A caller's request may cost what it asks for. It may not cost what others have sent, nor what has gathered:
that would be paid by whoever comes next, in time and in locks.
"""

import gc
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal, TypeVar

import psycopg
from flask import Flask
from sqlalchemy import Engine, event
from tests.support.factories import MASTER_KEY, SigningTracker, World

from harbor_api.app import create_app
from harbor_api.database import Database
from harbor_api.domain.api_keys import SCOPES
from harbor_api.domain.signatures import derive_secret
from harbor_api.domain.trackers import Tracker
from harbor_api.settings import Settings
from harbor_api.web import runtime

Result = TypeVar("Result")
Plans = Literal["custom", "generic"]

# Where and when the busy vessel was seen last, in both services.
NEWEST = datetime(2020, 3, 10, tzinfo=UTC)
AT_SEA, HELD_AT, JUMPED_TO = (10.0, 0.5), (10.0, -120.0), (10.0, 120.0)
# The fixes of a batch are so far apart, and a hundred so far. Jumps are posted from a while after the newest
# fix on.
EVERY_S = 540
HISTORY_S = 100 * EVERY_S
JUMPS_FROM_S = 30_000


@dataclass(frozen=True)
class Counts:
    """What some work took. ``by_relation`` has the rows and the pages of each table and index."""

    statements: int
    rows_returned: int
    rows_read: int
    pages: int
    steps: int
    by_relation: Mapping[str, tuple[int, int]] = field(repr=False)


@dataclass(frozen=True)
class Allowance:
    """How much more a request may take where many times as much is held, and for each jump in it."""

    factor: float
    constant: int
    each_jump: int = 0

    def allows(self, small: int, large: int, *, jumps: int = 0) -> bool:
        return large <= small * self.factor + self.constant + self.each_jump * jumps


# What grows with what is held would grow by as much as that, so that these need not be tight:
# - Statements and rows for Python are what the request asks for, whatever is held.
# - PostgreSQL may find other rows on its way: dead versions of one that was changed, the parts of one that is
#   too large for a page, an entry that the planner looks at.
# - An index of so many more entries is a level deeper, which is one page more for each time that it is asked,
#   of two or three; and rows that share a page of a small table lie on pages of their own in a large one.
# - Python takes its steps for the rows that it gets, and a few ten times a second while it waits for them.
# - A jump is judged by the 16 jumps on each side of it that are held nearest, which may not be as many where
#   few are held: each is a row and some steps.
ALLOWED = {
    "statements": Allowance(1, 0),
    "rows_returned": Allowance(1, 0, each_jump=33),
    "rows_read": Allowance(1.5, 20, each_jump=33),
    "pages": Allowance(1.5, 30, each_jump=33),
    "steps": Allowance(1.02, 200, each_jump=400),
}


def exceeded(small: Counts, large: Counts, *, jumps: int = 0) -> list[str]:
    """Return what grew beyond its allowance, and where that was read."""
    grown = [
        f"{name} {getattr(small, name):,} -> {getattr(large, name):,}"
        for name, allowance in ALLOWED.items()
        if not allowance.allows(getattr(small, name), getattr(large, name), jumps=jumps)
    ]
    if grown:
        none = (0, 0)
        name = max(
            large.by_relation,
            key=lambda each: sum(large.by_relation[each]) - sum(small.by_relation.get(each, none)),
            default="",
        )
        (rows, pages), (more_rows, more_pages) = (each.by_relation.get(name, none) for each in (small, large))
        grown.append(f"most in {name}: rows {rows:,} -> {more_rows:,}, pages {pages:,} -> {more_pages:,}")
    return grown


class Meter:
    """Counts what is done in this thread and on the one connection of an engine's pool."""

    def __init__(self, engine: Engine, onlooker: psycopg.Connection[Any]) -> None:
        """Count on an engine that has not connected yet; the onlooker has a connection of its own."""
        self._engine = engine
        self._onlooker = onlooker
        self._statements = self._rows = 0
        meter = self

        class Cursor(psycopg.Cursor[Any]):
            def execute(self, *args: Any, **kwargs: Any) -> Any:
                meter._statements += 1
                super().execute(*args, **kwargs)
                if self.pgresult is not None:
                    meter._rows += self.pgresult.ntuples
                return self

        @event.listens_for(engine, "connect")
        def connected(connection: Any, _: Any) -> None:
            connection.cursor_factory = Cursor

    def plan(self, plans: Plans) -> None:
        """Let PostgreSQL plan each statement for its values, or once for all values.

        Left alone it does the first until it has met a statement ten times, and then what it takes for
        cheaper: both must do.
        """
        self._aside(f"SET plan_cache_mode = force_{plans}_plan")

    def count(self, work: Callable[[], Result]) -> tuple[Result, Counts]:
        """Do work, and return its result and what it took."""
        before = self._relations()
        self._statements = self._rows = steps = 0

        def step(_: Any, what: str, __: Any) -> None:
            nonlocal steps
            if what in {"call", "c_call"}:
                steps += 1

        # Whatever it finds to finalize would count as the work's.
        gc.disable()
        sys.setprofile(step)
        try:
            result = work()
        finally:
            sys.setprofile(None)
            gc.enable()
        statements, rows = self._statements, self._rows
        after = self._relations()
        took = {
            name: (read - before.get(name, (0, 0))[0], pages - before.get(name, (0, 0))[1])
            for name, (read, pages) in after.items()
        }
        counts = Counts(
            statements=statements,
            rows_returned=rows,
            rows_read=sum(read for read, _ in took.values()),
            pages=sum(pages for _, pages in took.values()),
            steps=steps,
            by_relation={name: each for name, each in took.items() if any(each)},
        )
        return result, counts

    def _relations(self) -> dict[str, tuple[int, int]]:
        """Return the rows and pages that were read so far, of each of our tables and indexes.

        Of an index the rows are its entries. PostgreSQL counts both where it reads them, for all that it
        does in a statement: triggers and the planner's looks at an index included.
        """
        flush = "SELECT pg_stat_force_next_flush()"
        self._onlooker.execute(flush)
        self._aside(flush)
        # What PostgreSQL brings itself has lower numbers.
        rows = self._onlooker.execute(
            "SELECT relname, pg_stat_get_tuples_returned(oid), pg_stat_get_blocks_fetched(oid) "
            "FROM pg_class WHERE oid >= 16384"
        )
        return {name: (read, pages) for name, read, pages in rows}

    def _aside(self, statement: str) -> None:
        connection = self._engine.raw_connection()
        try:
            connection.driver_connection.execute(statement)
            connection.commit()
        finally:
            connection.close()


class Service:
    """The application over a database in which some rows of everything are held.

    What requests name has the same numbers however many rows there are: trackers and vessels 1 to 12, keys
    1 to 9. Vessel 1 and tracker 1 are the busy ones.
    """

    def __init__(self, url: str, rows: int) -> None:
        self.rows = rows
        self.secrets = _register(url)
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in _STOCK:
                connection.execute(statement.replace("{rows}", str(rows)))
        self._sql = psycopg.connect(url, autocommit=True)
        self.app: Flask = create_app(
            Settings(
                database_url=url,
                tracker_master_key=MASTER_KEY,
                # All that is counted goes through one connection.
                database_pool=1,
                # What takes long is to be counted, not to be ended.
                database_timeout_ms=60_000,
                tracker_requests_per_minute=1_000_000,
                failures_per_minute=1_000_000,
            )
        )
        self.meter = Meter(self.database.engine, self._sql)
        self.client = self.app.test_client()
        self._serial = 0

    def run(self, statement: str) -> None:
        """Run a statement aside, which may name the ``rows`` that there are."""
        self._sql.execute(statement.replace("{rows}", str(self.rows)))

    def serial(self) -> int:
        """Return the next number: two services that are asked the same come to the same."""
        self._serial += 1
        return self._serial

    def tracker(self, number: int) -> SigningTracker:
        tracker = Tracker(number=number, label="", generation=1, assignments=())
        return SigningTracker(tracker, derive_secret(MASTER_KEY, tracker.id, 1))

    def bearer(self, key_id: int) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secrets[key_id]}"}

    def forget_trackers(self) -> None:
        runtime.of(self.app).intake.trackers.forget()

    def close(self) -> None:
        self.database.dispose()
        self._sql.close()

    @cached_property
    def database(self) -> Database:
        database: Database = runtime.of(self.app).database
        return database


ADMIN, PARTNER, LATE, WITHOUT_SCOPE, REVOKED, SELDOM, CHANGED, ROTATED, REVOCABLE = range(1, 10)
VESSELS = 12
# Of the trackers, each on the vessel of its number but for two more on the busy one.
BUSY, BEFORE, SILENT, DISABLED, COUNTING, FORGETFUL, UNDER_TEST, ADMINISTERED = range(1, 9)
_ON_THE_BUSY_VESSEL = {BEFORE, SILENT}


def _register(url: str) -> dict[int, str]:
    """Register what requests name; return the keys' secrets."""
    database = Database(url)
    world = World(database)
    vessels = [world.vessel(f"Vessel {number}", mmsi=f"{257_000_000 + number}") for number in range(VESSELS)]
    for number in range(1, VESSELS + 1):
        if number == DISABLED:
            world.disabled_tracker()
        else:
            place = 0 if number in _ON_THE_BUSY_VESSEL else number - 1
            world.tracker(vessels[place], test=number == UNDER_TEST)
    some = frozenset({vessels[0].id, vessels[1].id})
    keys = [
        world.key(*SCOPES),
        world.key("vessels:read", vessel_ids=some),
        world.key("vessels:read", delay_s=3600, coordinate_decimals=2),
        world.key("something:else"),
        *(world.key("vessels:read") for _ in range(5)),
    ]
    world.revoke(keys[REVOKED - 1][0])
    database.dispose()
    return {key.id: secret for key, secret in keys}


def at(seconds: float) -> datetime:
    """Return a moment some seconds after the newest fix that is held."""
    return NEWEST + timedelta(seconds=seconds)


_BEGINNING = NEWEST - timedelta(minutes=100_000)
_TABLES = [
    *(
        "positions",
        "latest_positions",
        "quarantine",
        "withdrawals",
        "arrived_numbers",
        "assignments",
        "trackers",
    ),
    *("grants", "vessels", "idempotency_keys", "feeds", "api_keys", "audit"),
]
_AT_SEA = f"{AT_SEA[0]}, {AT_SEA[1]}"
_HELD = f'{{"lat": {HELD_AT[0]}, "lon": {HELD_AT[1]}}}'

OLD_IDEMPOTENCY_KEYS = """
INSERT INTO idempotency_keys (api_key_id, key, fingerprint, nonce, answer, created_at)
SELECT 1, 'old-' || gen_random_uuid(), '', '', '', now() - interval '2 days' - number * interval '1 s'
FROM generate_series(1, {rows} / 2 - (
    SELECT count(*) FROM idempotency_keys WHERE created_at < now() - interval '1 day')) AS number
"""

_STOCK = (
    # Whoever cleans up meanwhile would be counted, too.
    """
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT relname FROM pg_class
            WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
        LOOP EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = false)', name); END LOOP;
    END $$
    """,
    # All is consistent as it is made; checking it row by row takes longer than making it.
    "SET session_replication_role = replica",
    # No look at a key is the first one for a minute, unless a request is to be.
    "UPDATE api_keys SET last_used_at = now() + interval '1 day'",
    # One fix a minute of the busy vessel, and as many of others, each received when it was recorded. One of
    # hers is older, of another tracker.
    f"""
    INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, seq)
    SELECT 1, at, {BUSY}, at, {_AT_SEA}, 8.4, {{rows}} - number
    FROM generate_series(0, {{rows}} - 1) AS number,
        LATERAL (SELECT timestamptz '{NEWEST}' - number * interval '1 min' AS at) AS moment
    UNION ALL SELECT 1, timestamptz '{_BEGINNING}', {BEFORE}, '{_BEGINNING}', {_AT_SEA}, 8.4, 0
    UNION ALL SELECT 5 + number % 8, at, 5 + number % 8, at, {_AT_SEA}, 8.4, {{rows}} - number
    FROM generate_series(0, {{rows}} - 1) AS number,
        LATERAL (SELECT timestamptz '{NEWEST}' - number * interval '5 s' AS at) AS moment
    """,
    """
    INSERT INTO latest_positions
    SELECT DISTINCT ON (vessel_id)
        vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, heading, nav_status, accuracy_m,
        battery_v, seq
    FROM positions ORDER BY vessel_id, recorded_at DESC, tracker_id DESC
    """,
    # Jumps are held where jumps are posted, all to one place. As many fixes are held in the history, with no
    # undecided jump among them. In both services they lie so close that whoever looks for those between two
    # fixes of a batch finds more than he asks for.
    f"""
    INSERT INTO quarantine (id, vessel_id, recorded_at, tracker_id, received_at, reason, state, fix, raw)
    OVERRIDING SYSTEM VALUE
    SELECT number, 1,
        timestamptz '{NEWEST}' + number * interval '1 us' + number::float / {{rows}}
            * CASE number % 2 WHEN 0 THEN interval '-{HISTORY_S} s' ELSE interval '{HISTORY_S} s' END
            + CASE number % 2 WHEN 0 THEN interval '0' ELSE interval '{JUMPS_FROM_S} s' END,
        {BUSY}, now() - number * interval '1 s',
        CASE WHEN number % 10 IN (0, 1, 3, 5, 7) THEN 'impossible_jump' ELSE 'null_island' END,
        CASE WHEN number % 10 = 0 THEN 'rejected' ELSE 'held' END,
        '{_HELD}', '{_HELD}'
    FROM generate_series(1, {{rows}}) AS number
    """,
    # What a filter finds last, and those that are decided on.
    f"""
    INSERT INTO quarantine (id, vessel_id, recorded_at, tracker_id, received_at, reason, state, fix, raw)
    OVERRIDING SYSTEM VALUE
    SELECT 800000 + number, 1, timestamptz '{NEWEST}' - number * interval '{EVERY_S} s' - interval '15 s',
        {BUSY}, now(), 'impossible_jump', 'held', '{_HELD}'::jsonb, '{_HELD}'::jsonb
    FROM generate_series(1, 100) AS number
    UNION ALL
    SELECT 900001, 3, timestamptz '{NEWEST}', 3, now(), 'future', 'released', '{_HELD}', '{_HELD}'
    UNION ALL
    SELECT 900002, 3, timestamptz '2999-01-01 00:00:00Z', 3, now(), 'future', 'held', '{_HELD}', '{_HELD}'
    """,
    """
    INSERT INTO trackers (id, label) OVERRIDING SYSTEM VALUE
    SELECT 1000 + number, 'bridge' FROM generate_series(1, {rows}) AS number
    """,
    """
    INSERT INTO assignments (tracker_id, starts_at, vessel_id)
    SELECT 1000 + number, '0001-01-01 00:00:00+00', CASE WHEN number % 2 = 0 THEN 1 ELSE 1 + number % 12 END
    FROM generate_series(1, {rows}) AS number
    """,
    # Every other number has come; of others all have.
    f"""
    INSERT INTO arrived_numbers (tracker_id, numbers)
    SELECT {COUNTING}, range_agg(int8range(number * 2, number * 2 + 1))
    FROM generate_series(100000 - least({{rows}} / 50, 980), 100000) AS number
    UNION ALL
    SELECT 1000 + number, '{{[0,1000)}}' FROM generate_series(1, {{rows}}) AS number
    """,
    """
    INSERT INTO api_keys (id, name, prefix, sha256, previous_sha256, scopes, all_vessels)
    OVERRIDING SYSTEM VALUE
    SELECT 1000 + number, 'a partner', 'hbr_000000', sha256(int4send(number)),
        CASE WHEN number % 10 = 0 THEN sha256(int4send(-number)) END, '{vessels:read}', number % 2 = 0
    FROM generate_series(1, {rows}) AS number
    """,
    """
    INSERT INTO grants (api_key_id, vessel_id)
    SELECT 1000 + number, 1 + number % 12 FROM generate_series(1, {rows}) AS number
    """,
    # Those that are asked for stand before all that there is, and behind it.
    """
    INSERT INTO feeds (api_key_id, name, number, filters)
    SELECT 1000 + number, 'warehouse', number, '{}'::jsonb FROM generate_series(1, {rows}) AS number
    UNION ALL
    SELECT key, name, place, '{}'::jsonb
    FROM generate_series(1, 3) AS key, (VALUES ('first', 0), ('last', {rows})) AS feed (name, place)
    """,
    """
    INSERT INTO idempotency_keys (api_key_id, key, fingerprint, nonce, answer)
    SELECT 1, 'today-' || number, '', '', '' FROM generate_series(1, {rows} / 2) AS number
    """,
    OLD_IDEMPOTENCY_KEYS,
    # Half of it of one vessel. Of one subject nothing has been done since, and of one only just now.
    """
    INSERT INTO audit (id, actor, action, subject, before, after) OVERRIDING SYSTEM VALUE
    SELECT 1000 + number, 'key 1 (ops)', 'vessel.changed',
        CASE WHEN number % 2 = 0 THEN 'vessels/1' ELSE 'trackers/trk_' || 1000 + number % 40 END,
        '{"name": "Old"}'::jsonb, '{"name": "New"}'::jsonb
    FROM generate_series(1, {rows}) AS number
    UNION ALL SELECT 900001, 'key 1 (ops)', 'vessel.created', 'vessels/999', NULL, NULL
    """,
    *(
        f"ALTER TABLE {name} ALTER COLUMN id RESTART WITH 1000001"
        for name in ("quarantine", "trackers", "api_keys", "audit")
    ),
    "SELECT setval('fleet_order', 2000000)",
    "SET session_replication_role = DEFAULT",
    # All rows are sampled: what PostgreSQL plans must not hang on which ones it happens to look at.
    "SET default_statistics_target = 700",
    "ANALYZE",
)
