"""What writers notice when positions become partitions, and when a month of them goes: 20 million, and 100
a second.

    python -m tests.benchmarks.years [MILLIONS]

Positions of 36 months are in one table as the release before had it; the service runs, and trackers post a
hundred
fixes a second. Then the migration runs beside them. In a second database they are in a partition for each
month, of
which a third goes by ``harbor-api maintain``. Printed is how long the trackers' posts took before,
meanwhile and
after, and what a day's track and a late fix cost as rows lie in one table, in one wide partition and in 40,
of which most are settled or none.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from tests.support.factories import EVERYTHING
from tests.support.live_service import LiveService
from tests.support.partitions import split
from tests.support.signed_posts import Connection, register_fleet
from tests.support.urls import POSITIONS

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.positions import Fix, Motion, ReceivedFix, stretches_of
from harbor_api.domain.times import rfc3339
from harbor_api.postgres import connections, embedded, migrations
from harbor_api.postgres.sight import Sight
from harbor_api.services import maintenance

_VESSELS, _MONTHS, _A_SECOND, _THREADS = 100, 36, 100, 4
_NOW = datetime.now(UTC)
_FILL = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, heading, seq)
SELECT v, at, v, at, 59.9, 10.7, 8.4, 181.2, 180, nextval('fleet_order')
FROM generate_series(0, %(many)s) AS n,
    -- One turn after the other, so that numbers are in order of time.
    LATERAL generate_series(1, %(vessels)s + 0 * n) AS v,
    LATERAL (SELECT %(since)s::timestamptz + n * %(every)s::interval AS at) AS moment
"""
LATEST = """
INSERT INTO latest_positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
SELECT v.id, p.recorded_at, p.tracker_id, p.received_at, p.lat, p.lon, p.seq
FROM vessels AS v, LATERAL (
    SELECT * FROM positions AS p WHERE p.vessel_id = v.id ORDER BY recorded_at DESC, tracker_id DESC LIMIT 1
) AS p
"""
_SETTLED = """
CREATE TABLE order_settled (since timestamptz, until timestamptz, number bigint);
INSERT INTO order_settled VALUES ('-infinity', '-infinity', 0)
"""
_HOUR = timedelta(hours=1)
_SIGHT = Sight.of(EVERYTHING, None)


class Fleet:
    """Trackers that post a hundred fixes a second, and how long each post took."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(_THREADS)]
        self.took: list[tuple[float, float]] = []
        self.failed: list[str] = []

    def __enter__(self) -> "Fleet":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join()

    def _run(self, number: int) -> None:
        trackers = range(number + 1, _VESSELS + 1, _THREADS)
        began = time.monotonic()
        with Connection(self._port) as connection:
            for count in range(10**9):
                if self._over.wait(max(0, began + count * _THREADS / _A_SECOND - time.monotonic())):
                    return
                tracker = trackers[count % len(trackers)]
                fix = {"recorded_at": rfc3339(datetime.now(UTC)), "lat": 59.9, "lon": 10.7}
                posted = time.monotonic()
                status, answer = connection.post(POSITIONS, tracker, fix)
                self.took.append((posted, time.monotonic() - posted))
                if status not in {200, 201}:
                    self.failed.append(f"{status} {answer}")

    def told(self, what: str, since: float, until: float) -> float:
        """Print how long the posts of a stretch of time took, and return the 99th percentile in ms."""
        took = sorted(ms * 1000 for at, ms in [*self.took] if since <= at < until)
        p99 = took[int(len(took) * 0.99)]
        figures = f"p50 {statistics.median(took):6.1f}  p99 {p99:6.1f}  max {took[-1]:6.1f} ms"
        print(f"{what:34} {len(took):6} posts  {figures}", flush=True)
        return p99


def _fill(url: str, millions: float) -> None:
    since = _NOW - timedelta(days=30.4 * _MONTHS)
    every = (_NOW - since) / (millions * 1e6 / _VESSELS)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        values = {
            "since": since,
            "many": int((_NOW - since) / every) - 1,
            "every": every,
            "vessels": _VESSELS,
        }
        connection.execute(_FILL, values)
        connection.execute(LATEST)
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def _downgrade(database: Database) -> None:
    """Have positions in one table, and all else that statements of now ask for."""
    _alembic(database, command.downgrade, "0011")
    with psycopg.connect(_url(database), autocommit=True) as connection:
        connection.execute(_SETTLED)


def _alembic(database: Database, command: Callable[[Config, str], None], revision: str) -> None:
    with connections.transacting(database.engine).connect() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        command(config, revision)


def _url(database: Database) -> str:
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def _run(service: LiveService, *arguments: str, **variables: str) -> None:
    environ = service.environ | variables
    began = time.monotonic()
    asked = [sys.executable, "-m", "harbor_api.cli", *arguments]
    done = subprocess.run(asked, env=environ, capture_output=True, text=True, check=False)
    print(f"harbor-api {' '.join(arguments)}: status {done.returncode}, {time.monotonic() - began:.1f} s")
    print("".join(f"    {line}\n" for line in (done.stdout + done.stderr).splitlines()[-4:]), end="")


def _beside(service: LiveService, what: str, work: Callable[[], None]) -> None:
    with Fleet(service.port) as fleet:
        time.sleep(5)
        begun = time.monotonic()
        time.sleep(15)
        first = time.monotonic()
        work()
        last = time.monotonic()
        time.sleep(15)
        before = fleet.told(f"before {what}", begun, first)
        during = fleet.told("meanwhile", first, last)
        fleet.told("after", last, time.monotonic())
    print(
        f"p99 meanwhile / before: {during / before:.2f}; not stored: {len(fleet.failed)} {fleet.failed[:2]}"
    )


def _costs(databases: dict[str, Database]) -> None:
    """Print what statements cost where rows lie in different ways, in microseconds, in turns."""
    midst = _NOW - timedelta(days=400)
    fix = Fix(midst, Motion(lat=59.9, lon=10.7))
    newer = Fix(_NOW + timedelta(days=1), Motion(lat=59.9, lon=10.7))
    cases: dict[str, Callable[[UnitOfWork], Any]] = {
        "around a newer fix": lambda u: _around(u, newer),
        "around a late fix": lambda u: _around(u, fix),
        "a day's track": lambda u: u.tracks(_SIGHT).columns(3, midst - timedelta(days=1), midst, most=10_000),
        "where the order stands": lambda u: u.order.standing(),
        "a page of the feed, at its end": lambda u: _page(u, u.order.standing().number - 100),
        "a page of the feed, in the midst": lambda u: _page(u, u.order.standing().number // 2),
        "since when, of the feed": lambda u: u.feed(_SIGHT, item_key=b"").since(midst),
        "the fleet's news, at rest": _news,
        "how far a key a day late sees": lambda u: u.order.horizon(timedelta(days=1), future_tolerance=_HOUR),
    }
    for name, call in cases.items():
        took: dict[str, list[float]] = {each: [] for each in databases}
        for _ in range(5):
            for each, database in databases.items():
                with database.autocommit() as unit_of_work:
                    for count in range(25):
                        began = time.perf_counter()
                        call(unit_of_work)
                        if count >= 8:
                            took[each].append((time.perf_counter() - began) * 1e6)
        medians = {each: statistics.median(times) for each, times in took.items()}
        least = next(iter(medians.values()))
        told = ", ".join(f"{each} {one:.0f} us ({one / least:.2f}x)" for each, one in medians.items())
        print(f"{name}: {told}")


def _around(unit_of_work: UnitOfWork, fix: Fix) -> Any:
    return unit_of_work.positions.around(stretches_of([ReceivedFix(3, 3, _NOW, fix, {})]))


def _news(unit_of_work: UnitOfWork) -> Any:
    fleet = unit_of_work.fleet(_SIGHT, stale_after=_HOUR)
    return fleet.news(unit_of_work.order.standing().number)


def _page(unit_of_work: UnitOfWork, after: int) -> Any:
    return unit_of_work.feed(_SIGHT, item_key=b"").page(after, limit=100)


@contextmanager
def _server() -> Iterator[Callable[[str], str]]:
    with tempfile.TemporaryDirectory(prefix="years-") as folder:
        server = embedded.join(Path(folder))
        try:
            yield lambda name: _made(server.url, name)
        finally:
            server.leave()


def _made(url: str, name: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    made = url.replace("/postgres?", f"/{name}?")
    database = Database(made)
    migrations.upgrade(database.engine)
    register_fleet(database, _VESSELS)
    database.dispose()
    return made


def main(arguments: Sequence[str]) -> None:
    millions = float(arguments[0]) if arguments else 20.0
    os.environ.pop("HARBOR_DATABASE_URL", None)
    with _server() as new, tempfile.TemporaryDirectory() as logs:
        log = Path(logs, "service.log")
        one, many = Database(new("one")), Database(new("many"))
        url = _url(one)
        with LiveService(url, log=log) as service:
            _downgrade(one)
            _fill(url, millions)
            print(f"{millions:g} million positions of {_VESSELS} vessels in one table")
            _costs({"one table": one})
            _beside(service, "the migration", lambda: _alembic(one, command.upgrade, "0012"))
        split(many, months=_MONTHS)
        settled = Database(new("settled"))
        split(settled, months=_MONTHS)
        _fill(_url(settled), millions)
        began = time.monotonic()
        names = maintenance.settle(settled, _NOW)
        print(f"{len(names)} months are settled in {time.monotonic() - began:.2f} s")
        url = _url(many)
        _fill(url, millions)
        flat = Database(new("flat"))
        _downgrade(flat)
        _fill(_url(flat), millions)
        _costs(
            {
                "one table": flat,
                "one wide partition": one,
                "41 partitions": many,
                "most of them settled": settled,
            }
        )
        with LiveService(url, log=log) as service:
            keep = {"HARBOR_KEEP_POSITIONS_DAYS": str(30 * _MONTHS * 2 // 3)}
            _beside(service, "dropping months", lambda: _run(service, "maintain", **keep))
        for each in (one, many, settled, flat):
            each.dispose()


if __name__ == "__main__":
    main(sys.argv[1:])
