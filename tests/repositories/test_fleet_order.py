"""One committed order over all that the fleet shows: whoever reads on from a number skips nothing."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg
import pytest
from flask import Flask
from tests.support import sql
from tests.support.factories import ACTOR, EPOCH, World

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.changes import Edit
from harbor_api.domain.errors import Conflict, NotFound
from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.positions import Fix, Motion, ReceivedFix, Submission
from harbor_api.domain.quarantine import Withdrawal
from harbor_api.domain.received_columns import ByColumn, ReceivedColumns
from harbor_api.domain.vessels import VesselDetails
from harbor_api.ingest import settling
from harbor_api.services import quarantine, vessels
from harbor_api.web import runtime

# What a reader asks who has seen all up to a number: one statement, for one view of all tables.
_NEWS = """
SELECT 'fix ' || tracker_id || ' ' || extract(epoch FROM recorded_at)::bigint AS what, seq
FROM positions WHERE seq > %(last)s
UNION ALL
SELECT 'withdrawal ' || tracker_id || ' ' || extract(epoch FROM recorded_at)::bigint, seq
FROM withdrawals WHERE seq > %(last)s
UNION ALL
SELECT 'vessel ' || id, seq FROM vessels WHERE seq > %(last)s
ORDER BY seq
"""
_WAITING = "pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
News = list[tuple[str, int]]


class _RolledBack(Exception):
    """Ends a unit of work that is not to be committed."""


@dataclass
class Reader:
    """Reads on from the last number that it has seen, each time over a new connection."""

    database: Database
    last: int = 0
    seen: News = field(default_factory=list)

    def read(self) -> News:
        """Return what is new, in order."""
        url = self.database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url) as connection:
            news: News = connection.execute(_NEWS, {"last": self.last}).fetchall()
        if news:
            self.last = news[-1][1]
            self.seen += news
        return news


class Ship:
    """A vessel with all that can happen to her; each kind of change is a method."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.id = world.vessel(name).id
        self._tracker = world.tracker(world.vessel(f"{name}'s tender")).tracker
        self._tender = self._tracker.vessel_id
        self._seconds = 0
        self._held: list[int] = []

    def hold(self, database: Database, count: int) -> None:
        """Have fixes held, to be released later."""
        received_fixes = tuple(self._received_fix(lat=0, lon=0) for _ in range(count))
        with database.unit_of_work() as unit_of_work:
            self._settle(unit_of_work, received_fixes)
            page = unit_of_work.quarantine.search(after=0, limit=count, vessel_id=self._tender)
        self._held = [each.id for each in page]

    def _received_fix(self, lat: float = 59.9, lon: float = 10.7) -> ReceivedFix:
        self._seconds += 1
        return ReceivedFix(
            vessel_id=self._tender,
            tracker_id=self._tracker.number,
            received_at=EPOCH + timedelta(days=1),
            fix=Fix(recorded_at=EPOCH + timedelta(seconds=self._seconds), motion=Motion(lat=lat, lon=lon)),
        )

    def _settle(self, unit_of_work: UnitOfWork, received_fixes: Sequence[ReceivedFix]) -> None:
        submission = Submission(
            tracker_id=self._tracker.number, fixes=received_fixes, numbers=(self._seconds,)
        )
        settling.settle(unit_of_work, [submission], thresholds=Thresholds(max_speed_kn=1e6))

    def fix(self, unit_of_work: UnitOfWork) -> None:
        self._settle(unit_of_work, (self._received_fix(),))

    def batch(self, unit_of_work: UnitOfWork) -> None:
        columns = ReceivedColumns.of([self._received_fix() for _ in range(5)])
        self._settle(unit_of_work, ByColumn(columns, [None] * 5))

    def change(self, unit_of_work: UnitOfWork) -> None:
        self._seconds += 1
        details = {"call_sign": f"C{self._seconds}"}
        vessels.change(unit_of_work, self.id, Edit(details), versions=None, actor=ACTOR)

    def retire(self, unit_of_work: UnitOfWork) -> None:
        if unit_of_work.vessels.lock(self.id).retired_at is not None:
            vessels.restore(unit_of_work, self.id, actor=ACTOR)
        else:
            vessels.retire(unit_of_work, self.id, actor=ACTOR)

    def restore(self, unit_of_work: UnitOfWork) -> None:
        vessels.restore(unit_of_work, self.id, actor=ACTOR)

    def register(self, unit_of_work: UnitOfWork) -> None:
        self._seconds += 1
        vessels.register(unit_of_work, VesselDetails(name=f"{self.name} {self._seconds}"), actor=ACTOR)

    def release(self, unit_of_work: UnitOfWork) -> None:
        if self._held:
            held_id = self._held.pop()
            quarantine.release(
                unit_of_work, held_id, now=EPOCH + timedelta(days=2), tolerance=timedelta(0), actor=ACTOR
            )

    def withdraw(self, unit_of_work: UnitOfWork) -> None:
        wrong = Withdrawal(
            vessel_id=self._tender, recorded_at=EPOCH + timedelta(seconds=self._seconds), note="wrong"
        )
        # The last one may have been rolled back, or be held.
        with suppress(NotFound, Conflict):
            quarantine.withdraw(unit_of_work, wrong, now=EPOCH, thresholds=Thresholds(), actor=ACTOR)


# What takes one number each.
KINDS = ("fix", "change", "retire", "restore", "register", "release", "withdraw")


@pytest.fixture
def wide(app: Flask, database: Database) -> Iterator[Database]:
    """Return the application's database with connections for many writers at once."""
    wide = Database(runtime.of(app).settings.database_url, pool_size=8)
    yield wide
    wide.dispose()


@contextmanager
def _held_open(database: Database, work: Callable[[UnitOfWork], None], *, commit: bool) -> Iterator[None]:
    """Do work in a transaction that ends with the block."""
    try:
        with database.unit_of_work() as unit_of_work:
            work(unit_of_work)
            yield
            if not commit:
                raise _RolledBack
    except _RolledBack:
        pass


def _wait_until_waiting(database: Database, count: int) -> None:
    deadline = time.monotonic() + 4
    waiting = -1
    while waiting != count:
        assert time.monotonic() < deadline, f"{waiting} wait for their turn, not {count}"
        waiting = sql.count(database, _WAITING)
        time.sleep(0.005)


def _ship(world: World, name: str, kind: str) -> Ship:
    ship = Ship(world, name)
    if kind == "release":
        ship.hold(world.database, 1)
    if kind == "withdraw":
        with world.database.unit_of_work() as unit_of_work:
            ship.fix(unit_of_work)
    if kind == "restore":
        with world.database.unit_of_work() as unit_of_work:
            ship.retire(unit_of_work)
    return ship


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "rolled back"])
@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_who_comes_second_waits_for_the_first(wide: Database, database: Database, first, second, commit):
    """Nothing connects the two but the order: other vessels, other trackers."""
    world = World(wide)
    one, other = _ship(world, "One", first), _ship(world, "Other", second)
    readers = [Reader(wide), Reader(wide)]
    for reader in readers:
        reader.read()

    def follow() -> None:
        with wide.unit_of_work() as unit_of_work:
            getattr(other, second)(unit_of_work)

    thread = threading.Thread(target=follow)
    with _held_open(wide, getattr(one, first), commit=commit):
        thread.start()
        _wait_until_waiting(wide, 1)
        # Neither can be seen: the second must not be, as long as the first may still come before it.
        assert readers[0].read() == []
    thread.join()

    numbers = [number for _, number in readers[0].read()]
    assert len(numbers) == (2 if commit else 1)
    assert numbers == sorted(set(numbers))
    # One that has read meanwhile and one that has not have seen the same.
    readers[1].read()
    assert readers[0].seen == readers[1].seen
    if commit:
        assert [what.split()[0] for what, _ in readers[0].seen[-2:]] == [
            {"fix": "fix", "release": "fix", "withdraw": "withdrawal"}.get(kind, "vessel")
            for kind in (first, second)
        ]


def test_many_that_wait_are_seen_in_the_order_of_their_numbers(wide: Database, database: Database):
    world = World(wide)
    ships = [_ship(world, kind, kind) for kind in KINDS[:5]]
    reader = Reader(wide)
    reader.read()
    committed: list[int] = []

    def follow(ship: Ship, kind: str) -> None:
        with wide.unit_of_work() as unit_of_work:
            getattr(ship, kind)(unit_of_work)
            # Whoever is here has the lock: what it reads is its own number.
            committed.append(sql.value(unit_of_work, "SELECT last_value FROM fleet_order"))

    threads = [
        threading.Thread(target=follow, args=(ship, kind)) for ship, kind in zip(ships, KINDS, strict=False)
    ]
    with _held_open(wide, _ship(world, "First", "fix").fix, commit=True):
        reader.read()
        for thread in threads:
            thread.start()
        _wait_until_waiting(wide, len(threads))
    for thread in threads:
        thread.join()

    numbers = [number for _, number in reader.read()]
    assert committed == sorted(committed)
    assert numbers[1:] == committed


def test_readers_that_reconnect_skip_nothing_while_writers_overlap(wide: Database, database: Database):
    world = World(wide)
    writers = 4
    ships = [Ship(world, f"Ship {number}") for number in range(writers)]
    for ship in ships:
        ship.hold(wide, 6)
    readers = [Reader(wide), Reader(wide)]
    done = threading.Event()
    failures: list[BaseException] = []

    def write(number: int) -> None:
        chance = random.Random(number)
        try:
            for _ in range(40):
                work = getattr(ships[number], chance.choice((*KINDS, "batch")))
                with _held_open(wide, work, commit=chance.random() < 0.75):
                    time.sleep(chance.choice([0, 0, 0.001, 0.005]))
        except BaseException as error:
            failures.append(error)
            raise

    def read(reader: Reader) -> None:
        while not done.is_set():
            reader.read()

    reading = [threading.Thread(target=read, args=(reader,)) for reader in readers]
    writing = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in (*reading, *writing):
        thread.start()
    for thread in writing:
        thread.join()
    done.set()
    for thread in reading:
        thread.join()

    assert failures == []
    truth = Reader(wide)
    truth.read()
    fixes = {what for what, _ in truth.seen if what.startswith("fix")}
    assert len(fixes) > 20
    for reader in readers:
        reader.read()
        numbers = [number for _, number in reader.seen]
        assert numbers == sorted(set(numbers))
        # Each fix once, and perhaps those that were withdrawn; of each vessel the last change, and whatever
        # it has met of those before.
        seen_fixes = [what for what, _ in reader.seen if what.startswith("fix")]
        assert len(seen_fixes) == len(set(seen_fixes))
        told = [what for what, _ in reader.seen if what.startswith("withdrawal")]
        withdrawn = {what.replace("withdrawal", "fix") for what in told}
        assert set(seen_fixes) - withdrawn == fixes
        assert {what: seq for what, seq in reader.seen if what not in withdrawn} == dict(truth.seen)


def test_a_block_follows_what_was_drawn_singly_and_the_other_way_round(database: Database):
    ship = Ship(World(database), "One")
    reader = Reader(database)
    # As in a database without a vessel: then the sequence stands at 1, which was not drawn yet.
    sql.run(database, "ALTER SEQUENCE fleet_order RESTART; UPDATE vessels SET seq = 0")
    for work in (ship.batch, ship.change, ship.batch, ship.fix, ship.change):
        with database.unit_of_work() as unit_of_work:
            work(unit_of_work)
        with suppress(_RolledBack), database.unit_of_work() as unit_of_work:
            ship.batch(unit_of_work)
            raise _RolledBack
        reader.read()
    numbers = [number for _, number in reader.seen]
    assert numbers == sorted(set(numbers))
    assert Counter(what.split()[0] for what, _ in reader.seen) == {"fix": 11, "vessel": 2}
