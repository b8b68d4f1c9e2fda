"""What is measured with: a PostgreSQL that keeps its promises, databases made anew, a fleet's signed fixes.

A vessel's time goes on in turns of one hour. In each turn it sends one request, of one fix or of a batch
with one fix a second; so every fix is new and the newest of its vessel, whoever sends it, and in order.
"""

import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from tests.support.factories import EPOCH, SigningTracker, World, a_fix
from tests.support.live_service import OwnPostgres
from tests.support.signed_posts import head_of

from harbor_api.database import Database
from harbor_api.postgres import migrations

VESSELS = 1_000
BATCH = 1_000
# Where a vessel's turns begin.
FIRST_HOUR = EPOCH.replace(minute=0, second=0) + timedelta(hours=1)
# Whose tables a database has; those of the service also without any fleet.
SERVICE, PEER, EMPTY = "service", "peer", "empty"


class Postgres:
    """A PostgreSQL server of this run alone, as it comes: fsync on. Its databases hold a fleet, no fixes."""

    def __init__(self, *, vessels: int = VESSELS) -> None:
        self._vessels = vessels
        self._own = OwnPostgres()
        self.trackers: list[SigningTracker] = []
        self._made = 0

    @property
    def pid(self) -> int:
        """The first of its processes."""
        pid: int = self._own.processes()[0].pid
        return pid

    @property
    def url(self) -> str:
        """Where its first database is."""
        return str(self._own.url)

    @property
    def programs(self) -> Path:
        """Where the programs are that come with it, pgbench among them."""
        return self._own.programs

    @contextmanager
    def database(self, tables: str = SERVICE) -> Iterator[str]:
        """Make a database with the fleet in it and return its URL; it is dropped afterwards."""
        self._made += 1
        name = f"benchmark_{self._made}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {tables}", "CHECKPOINT")
        if tables != PEER:
            self._own_the_order(name)
        try:
            yield self._url(name)
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def nothing(self) -> Iterator[str]:
        """Make a database with nothing in it and return its URL; it is dropped afterwards."""
        self._made += 1
        name = f"benchmark_{self._made}"
        self._run(f"CREATE DATABASE {name}")
        try:
            yield self._url(name)
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def facts(self) -> dict[str, str]:
        """Return what a reader of the numbers has to know of the server and its disk."""
        names = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "max_wal_size")
        with psycopg.connect(self._own.url) as connection:
            facts = {name: _scalar(connection, f"SHOW {name}") for name in names}
        return {**facts, "write and fdatasync of 8 kB": f"{_sync_ms(self._own._directory):.2f} ms"}

    def _run(self, *statements: str) -> None:
        with psycopg.connect(self._own.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def _own_the_order(self, name: str) -> None:
        """Let the order of a copy go on: it is another database, of which it would go on far ahead."""
        with psycopg.connect(self._url(name), autocommit=True) as connection:
            connection.execute("UPDATE order_fences SET origin = order_origin()")

    def _url(self, name: str) -> str:
        return str(self._own.url).replace("/postgres?", f"/{name}?")

    def __enter__(self) -> "Postgres":
        with ExitStack() as stack:
            stack.enter_context(self._own)
            self._run(f"CREATE DATABASE {EMPTY}", f"CREATE DATABASE {PEER}")
            self._migrate()
            self._run(f"CREATE DATABASE {SERVICE} TEMPLATE {EMPTY}")
            self._own_the_order(SERVICE)
            self._prepare_service()
            self._prepare_peer()
            self._stop = stack.pop_all()
        return self

    def _migrate(self) -> None:
        database = Database(self._url(EMPTY), pool_size=2)
        try:
            migrations.upgrade(database.engine)
        finally:
            database.dispose()

    def _prepare_service(self) -> None:
        database = Database(self._url(SERVICE), pool_size=2)
        try:
            world = World(database)
            self.trackers = [world.tracker() for _ in range(self._vessels)]
        finally:
            database.dispose()
        # The peer and pgbench count them up by themselves.
        assert [each.tracker.number for each in self.trackers] == list(range(1, self._vessels + 1))

    def _prepare_peer(self) -> None:
        with psycopg.connect(self._url(PEER)) as connection:
            connection.execute((Path(__file__).parent / "peer.sql").read_text())
            connection.execute(
                f"""
                INSERT INTO trackers (id) SELECT * FROM generate_series(1, {self._vessels});
                INSERT INTO assignments (tracker_id, starts_at, vessel_id)
                SELECT id, '0001-01-01 00:00:00+00', id FROM trackers;
                """
            )

    def __exit__(self, *_: object) -> None:
        self._stop.close()


def stored(url: str) -> int:
    """Return how many positions a database holds."""
    with psycopg.connect(url) as connection:
        return int(_scalar(connection, "SELECT count(*) FROM positions"))


def newest(url: str) -> int:
    """Return the number of the fix that was stored last."""
    with psycopg.connect(url) as connection:
        return int(_scalar(connection, "SELECT max(seq) FROM positions"))


def fill(url: str, rows: int, *, vessels: int = VESSELS) -> None:
    """Give each vessel a past, in the order in which the fixes would have come in, ten seconds apart."""
    with psycopg.connect(url, autocommit=True) as connection, without_indexes(connection):
        connection.execute(
            """
            INSERT INTO positions
                (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, heading, seq)
            SELECT vessel, moment, vessel, moment, 50 + vessel / 100.0, n %% 3600 / 100.0,
                   8.4, 181.2, 180, nextval('fleet_order')
            FROM generate_series(1, %(turns)s) AS n,
                 LATERAL (SELECT %(end)s - (%(turns)s - n) * interval '10 s' AS moment) AS clock,
                 LATERAL generate_series(1, %(vessels)s) AS vessel
            """,
            {"turns": rows // vessels, "vessels": vessels, "end": FIRST_HOUR - timedelta(seconds=1)},
        )
    settle(url)


@contextmanager
def without_indexes(connection: psycopg.Connection) -> Iterator[None]:
    """Take the indexes of positions away for as long as rows are filled in: to make them anew is quicker."""
    of_table = (
        "FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = 'positions'::regclass"
    )
    key, made = connection.execute(
        f"""
        SELECT (SELECT relname {of_table} AND indisprimary),
               (SELECT string_agg(pg_get_indexdef(indexrelid), ';') {of_table} AND NOT indisprimary)
        """
    ).fetchone() or ("", None)
    names = connection.execute(f"SELECT relname {of_table} AND NOT indisprimary").fetchall()
    connection.execute(f"ALTER TABLE positions DROP CONSTRAINT {key}")
    for (name,) in names:
        connection.execute(f"DROP INDEX {name}")
    yield
    connection.execute("SET maintenance_work_mem = '1GB'")
    connection.execute(
        f"ALTER TABLE positions ADD CONSTRAINT {key} PRIMARY KEY (vessel_id, recorded_at, tracker_id)"
    )
    for statement in (made or "").split(";"):
        if statement:
            # In all partitions: of the table that they are of it is told without them.
            connection.execute(statement.replace(" ON ONLY ", " ON ", 1))


def settle(url: str) -> None:
    """Let a database that was filled do by itself what it would do in time."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def singles(trackers: list[SigningTracker], path: str, *, first_turn: int, count: int) -> list[bytes]:
    """Return signed requests with one fix each, ready to be sent."""
    return _signed(trackers, path, _fix(0), first_turn=first_turn, count=count)


def batches(trackers: list[SigningTracker], path: str, *, first_turn: int, count: int) -> list[bytes]:
    """Return signed requests with a batch of fixes each, ready to be sent."""
    body = batch_of([_fix(second) for second in range(BATCH)])
    return _signed(trackers, path, body, first_turn=first_turn, count=count)


def batch_of(fixes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the body of a batch. Its shape is known here, in stored_of_batch and in the peer only."""
    return {"fixes": fixes}


def stored_of_single(status: int, _: memoryview) -> int:
    """Return how many fixes an answer says are stored now."""
    return int(status == 201)


def stored_of_batch(status: int, body: memoryview) -> int:
    """Return how many fixes an answer to a batch says are stored now."""
    return bytes(body).count(b'"stored"') if status == 200 else 0


def _fix(second: int) -> dict[str, Any]:
    return a_fix(recorded_at=f"HOUR:{second // 60:02}:{second % 60:02}Z")


def _signed(
    trackers: list[SigningTracker], path: str, body: dict[str, Any], *, first_turn: int, count: int
) -> list[bytes]:
    template = json.dumps(body, separators=(",", ":")).encode()
    requests = []
    for number in range(count):
        turn, tracker = divmod(number, len(trackers))
        hour = FIRST_HOUR + timedelta(hours=first_turn + turn)
        signed = trackers[tracker].signed(template.replace(b"HOUR", f"{hour:%Y-%m-%dT%H}".encode()))
        head = head_of(path, {"content-length": len(signed["data"]), **signed["headers"]})
        requests.append(head + signed["data"])
    return requests


def _scalar(connection: psycopg.Connection, query: str) -> str:
    row = connection.execute(query).fetchone()
    assert row is not None
    return str(row[0])


def _sync_ms(directory: Path) -> float:
    """Return what it takes to make a page durable where the server keeps its files."""
    took = []
    with (directory / "probe").open("wb") as file:
        for _ in range(50):
            began = time.perf_counter()
            file.write(bytes(8192))
            file.flush()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000
