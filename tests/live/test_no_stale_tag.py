"""No tag is stale: a tag stands for its bytes alone, and what is answered is never older than the request.

Two services read one database, beside writers that are held open between their number and their commit, or
roll back; vessels turn stale by the second, are edited, retired and restored; fixes come late and are
withdrawn; and keys see some vessels, late and coarsely, and come to see others.

What must be answered is rendered anew before and after each request, by ``uncached``. Where both are the same
bytes and nothing was committed meanwhile, the answer has to be these.
"""

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from tests.conftest import NewDatabase
from tests.live.uncached import uncached
from tests.support.factories import ACTOR, MASTER_KEY, World
from tests.support.urls import VESSELS as URL

from harbor_api.app import create_app
from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.api_keys import Caller
from harbor_api.domain.changes import Edit
from harbor_api.domain.errors import Conflict, NotFound
from harbor_api.domain.fleet_search import Box, Search
from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.order import Horizon
from harbor_api.domain.positions import Fix, Motion, NamedFix, ReceivedFix
from harbor_api.domain.quarantine import Withdrawal
from harbor_api.domain.vessels import VesselDetails
from harbor_api.services import quarantine, vessels
from harbor_api.settings import Settings
from harbor_api.web import runtime

SHIPS = 9
QUESTIONS = {
    "": (Search(), False),
    "?retired=true": (Search(), True),
    "?stale=false": (Search(stale=False), False),
    "?bbox=10,59,10.5,60": (Search(box=Box(10, 59, 10.5, 60)), False),
    "?q=ship%201": (Search(q="ship 1"), False),
}
TERMS = (
    {},
    {"vessel_ids": frozenset({1, 2, 3, 4})},
    {"coordinate_decimals": 4},
    {"coordinate_decimals": 3, "vessel_ids": frozenset({2, 3, 5})},
    {"delay_s": 1},
    {"delay_s": 2, "coordinate_decimals": 4, "vessel_ids": frozenset({1, 6, 7, 8})},
)


class _RolledBack(Exception):
    """Ends a unit of work that is not to be committed."""


@dataclass
class Writer:
    """Changes what the fleet shows, some of it so slowly that readers come between number and commit."""

    database: Database
    chance: random.Random
    granted: list[int] = field(default_factory=list)
    stored: list[NamedFix] = field(default_factory=list)

    def write(self) -> None:
        kinds = ["fix"] * 5 + ["late", "edit", "retire", "restore", "withdraw", "grant"]
        work = getattr(self, self.chance.choice(kinds))
        with suppress(_RolledBack, Conflict, NotFound), self.database.unit_of_work() as unit_of_work:
            work(unit_of_work, self.chance.randint(1, SHIPS))
            time.sleep(self.chance.choice([0, 0, 0.002, 0.01]))
            if self.chance.random() < 0.2:
                raise _RolledBack

    def fix(self, unit_of_work: UnitOfWork, vessel_id: int, *, late_s: float = 0) -> None:
        now = datetime.now(UTC)
        at = now - timedelta(seconds=late_s)
        motion = Motion(59 + self.chance.random(), 10 + self.chance.random(), self.chance.choice([None, 8.4]))
        # In a group of two, as they are stored: in order of vessels.
        ids = sorted({vessel_id, self.chance.randint(1, SHIPS)})
        fixes = [ReceivedFix(each, self.chance.randint(1, 9), now, Fix(at, motion), None) for each in ids]
        unit_of_work.run_last(unit_of_work.positions.addition(fixes), now=True)
        self.stored += [NamedFix(each.vessel_id, at, each.tracker_id) for each in fixes]

    def late(self, unit_of_work: UnitOfWork, vessel_id: int) -> None:
        self.fix(unit_of_work, vessel_id, late_s=self.chance.choice([0.5, 3, 30]))

    def edit(self, unit_of_work: UnitOfWork, vessel_id: int) -> None:
        change: Edit[VesselDetails] = Edit({"kind": self.chance.choice(["cargo", "tug", None])})
        vessels.change(unit_of_work, vessel_id, change, versions=None, actor=ACTOR)

    def retire(self, unit_of_work: UnitOfWork, vessel_id: int) -> None:
        vessels.retire(unit_of_work, vessel_id, actor=ACTOR)

    def restore(self, unit_of_work: UnitOfWork, vessel_id: int) -> None:
        vessels.restore(unit_of_work, vessel_id, actor=ACTOR)

    def withdraw(self, unit_of_work: UnitOfWork, vessel_id: int) -> None:
        mine = [each for each in self.stored[-20:] if each.vessel_id == vessel_id]
        if mine:
            wrong = Withdrawal(vessel_id=vessel_id, recorded_at=mine[-1].recorded_at, note="wrong")
            now = datetime.now(UTC)
            quarantine.withdraw(unit_of_work, wrong, now=now, thresholds=Thresholds(), actor=ACTOR)

    def grant(self, unit_of_work: UnitOfWork, vessel_id: int) -> None:
        key = unit_of_work.api_keys.lock(self.chance.choice(self.granted))
        known = key.terms.vessel_ids or frozenset()
        terms = replace(key.terms, vessel_ids=known ^ {vessel_id})
        unit_of_work.api_keys.replace(key.id, terms)


@dataclass
class Readers:
    """Ask both services, and hold what they answer against what they should."""

    apps: tuple[Flask, Flask]
    keys: list[tuple[int, str]]
    bodies: dict[tuple[int, str, str], bytes] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, chance: random.Random, last: dict[tuple[int, str], str]) -> None:
        app, (key_id, secret) = chance.choice(self.apps), chance.choice(self.keys)
        question, (search, retired) = chance.choice(list(QUESTIONS.items()))
        viewer = self._viewer(app, secret)
        stood = self._stands(app, viewer)
        before = uncached(app, viewer, search, retired=retired)
        headers = {"Authorization": f"Bearer {secret}"}
        had = last.get((key_id, question))
        if had is not None and chance.random() < 0.7:
            headers["If-None-Match"] = had
        answer = app.test_client().get(URL + question, headers=headers)
        after = uncached(app, viewer, search, retired=retired)
        # The same bytes may come again, with others between: not where nothing at all was committed.
        is_still = self._stands(app, self._viewer(app, secret)) == stood
        tag = last[key_id, question] = answer.headers["ETag"]
        with self.lock:
            known = self.bodies.get((key_id, question, tag))
            body = known if answer.status_code == 304 else answer.data
            self.counted[str(answer.status_code)] += 1
            if body is None or (known is not None and known != body):
                self.faults.append(f"{question} of {key_id}: another body under {tag}")
                return
            self.bodies[key_id, question, tag] = body
            if is_still and before == after:
                self.counted["compared"] += 1
                if body != before:
                    self.faults.append(f"{question} of {key_id}: {answer.status_code}\n{body!r}\n{before!r}")

    @staticmethod
    def _stands(app: Flask, viewer: Caller) -> tuple[int, Horizon | None, int]:
        """Return where the order stands, how far into it the key sees, and which version of it that is."""
        with runtime.of(app).database.autocommit() as unit_of_work:
            sight = unit_of_work.sight(viewer, future_tolerance=runtime.of(app).future_tolerance)
            return unit_of_work.order.standing().number, sight.horizon, viewer.version

    @staticmethod
    def _viewer(app: Flask, secret: str) -> Caller:
        return runtime.of(app).known_keys.look_up(secret)


@pytest.fixture
def apps(new_database: NewDatabase) -> Iterator[tuple[Flask, Flask]]:
    """Return two services over one database, to which a vessel is stale after a second."""
    settings = Settings(
        database_url=new_database(), tracker_master_key=MASTER_KEY, database_pool=4, stale_after_s=1
    )
    both = create_app(settings), create_app(settings)
    yield both
    for app in both:
        runtime.of(app).database.dispose()


def _prove(apps: tuple[Flask, Flask], *, reads: int, seed: int) -> Readers:
    database = runtime.of(apps[0]).database
    world = World(database)
    for number in range(SHIPS):
        world.vessel(f"Ship {number}")
    keys = [world.key(**terms) for terms in TERMS]
    granted = [key.id for key, _ in keys if key.terms.vessel_ids is not None]
    readers = Readers(apps, [(key.id, secret) for key, secret in keys])
    left = itertools.count(reads, -1)
    done = threading.Event()
    failures: list[BaseException] = []

    def guarded(work: object) -> None:
        try:
            work()  # type: ignore[operator]  # one of the two below
        except BaseException as error:
            failures.append(error)
            done.set()
            raise

    def write(number: int) -> None:
        chance = random.Random(seed * 100 + number)
        writer = Writer(database, chance, granted)
        while not done.is_set():
            writer.write()
            # Now and then long enough for a second to pass with nothing but vessels that turn stale.
            time.sleep(chance.choice([0.02] * 12 + [0.3]))

    def read(number: int) -> None:
        chance = random.Random(seed * 100 + 50 + number)
        last: dict[tuple[int, str], str] = {}
        while next(left) > 0 and not readers.faults and not done.is_set():
            readers.read(chance, last)

    reading = [threading.Thread(target=guarded, args=(lambda n=n: read(n),)) for n in range(3)]
    writing = [threading.Thread(target=guarded, args=(lambda n=n: write(n),)) for n in range(2)]
    for thread in (*reading, *writing):
        thread.start()
    for thread in reading:
        thread.join()
    done.set()
    for thread in writing:
        thread.join()
    assert failures == []
    print(dict(readers.counted), len(readers.bodies), "bodies")
    assert readers.faults == [], "\n".join(readers.faults)
    return readers


def test_a_tag_stands_for_its_bytes_and_they_are_those_of_now(apps: tuple[Flask, Flask]):
    readers = _prove(apps, reads=150, seed=1)
    assert readers.counted["200"] > 50
    assert readers.counted["compared"] > 20


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_in_twenty_thousand_reads_no_tag_is_stale(apps: tuple[Flask, Flask]):
    readers = _prove(apps, reads=20_000, seed=2)
    assert readers.counted["304"] > 500
    assert readers.counted["compared"] > 5_000
