"""The proof that no tag is stale: a tag stands for its bytes alone, and no answer is older than its request.

Several services read one database, beside writers that are held open between their number and their commit,
or roll back; vessels turn stale by the second, are edited, retired and restored; fixes come late and are
withdrawn; and keys see some vessels, late and coarsely, and come to see others, more precisely or later.

What must be answered is rendered anew before and after each request, by ``uncached``. Where both are the
same bytes and nothing was committed meanwhile, the answer has to be these. In any case an answer to a key
without a delay has to say that it was looked up to where the order stood before the request.
"""

import hashlib
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from flask import Flask
from tests.live.uncached import uncached
from tests.support.codings import decoded
from tests.support.factories import ACTOR, World
from tests.support.urls import VESSELS as URL

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain import cursors
from harbor_api.domain.api_keys import Caller
from harbor_api.domain.changes import Edit
from harbor_api.domain.errors import Conflict, NotFound
from harbor_api.domain.fleet_search import Box, Search
from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.order import Horizon
from harbor_api.domain.positions import Fix, Motion, NamedFix, ReceivedFix
from harbor_api.domain.quarantine import Withdrawal
from harbor_api.domain.received_columns import ReceivedColumns
from harbor_api.domain.vessels import VesselDetails
from harbor_api.services import quarantine, vessels
from harbor_api.web import runtime

SHIPS = 9
WRITES_A_READ = 1 / 3
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
# What each of the keys takes its answers in.
CODINGS = ("identity", "gzip", "br", "zstd", "identity", "gzip")


class _RolledBack(Exception):
    """Ends a unit of work that is not to be committed."""


@dataclass
class Writer:
    """Changes what the fleet shows, some of it so slowly that readers come between number and commit."""

    database: Database
    chance: random.Random
    keys: Sequence[int]
    stored: list[NamedFix] = field(default_factory=list)

    def write(self) -> None:
        kinds = ["fix"] * 5 + ["late", "edit", "retire", "restore", "withdraw", "terms"]
        work = getattr(self, self.chance.choice(kinds))
        with suppress(_RolledBack, Conflict, NotFound), self.database.unit_of_work() as unit_of_work:
            work(unit_of_work, self.chance.randint(1, SHIPS))
            time.sleep(self.chance.choice([0, 0, 0.002, 0.01, 0.05]))
            if self.chance.random() < 0.2:
                raise _RolledBack

    def fix(self, unit_of_work: UnitOfWork, vessel_id: int, *, late_s: float = 0) -> None:
        now = datetime.now(UTC)
        at = now - timedelta(seconds=late_s)
        motion = Motion(59 + self.chance.random(), 10 + self.chance.random(), self.chance.choice([None, 8.4]))
        # In a group of two, as they are stored: in order of vessels.
        ids = sorted({vessel_id, self.chance.randint(1, SHIPS)})
        fixes = [ReceivedFix(each, self.chance.randint(1, 9), now, Fix(at, motion), None) for each in ids]
        unit_of_work.run_last(unit_of_work.positions.addition(ReceivedColumns.of(fixes)), now=True)
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

    def terms(self, unit_of_work: UnitOfWork, vessel_id: int) -> None:
        key = unit_of_work.api_keys.lock(self.chance.choice(self.keys))
        known = key.terms.vessel_ids
        changes: list[dict[str, Any]] = [
            {"coordinate_decimals": self.chance.choice([None, 4, 3])},
            {"delay_s": self.chance.choice([0, 1, 2])},
            {"vessel_ids": known if known is None else known ^ {vessel_id}},
        ]
        unit_of_work.api_keys.replace(key.id, replace(key.terms, **self.chance.choice(changes)))


class Answer(NamedTuple):
    """What a service has answered: its headers whatever their case, and its body as it was sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Get = Callable[[str, Mapping[str, str]], Answer]
"""Asks a service for a path, with headers."""


class _Stands(NamedTuple):
    """Where the order stands, how far into it a key sees, and which version of the key it is that does."""

    number: int
    horizon: Horizon | None
    version: int


class _Key(NamedTuple):
    id: int
    secret: str
    coding: str


@dataclass
class Readers:
    """Ask all services, and hold what they answer against what they should."""

    services: Sequence[Get]
    # Renders what should be answered, and answers nobody.
    app: Flask
    keys: Sequence[_Key]
    # What each tag of a key's question stands for, as it was sent and as it is meant, and the tag of each.
    bodies: dict[tuple[int, str, str], tuple[bytes, bytes]] = field(default_factory=dict)
    tags: dict[tuple[int, str, bytes], str] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, chance: random.Random, last: dict[tuple[int, str], str]) -> None:
        number, key = chance.randrange(len(self.services)), chance.choice(self.keys)
        question, (search, retired) = chance.choice(list(QUESTIONS.items()))
        viewer = self._viewer(key)
        stood = self._stands(viewer)
        before = uncached(self.app, viewer, search, retired=retired)
        headers = {"Authorization": f"Bearer {key.secret}", "Accept-Encoding": key.coding}
        had = last.get((key.id, question))
        if had is not None and chance.random() < 0.7:
            headers["If-None-Match"] = had
        answer = self.services[number](URL + question, headers)
        after = uncached(self.app, viewer, search, retired=retired)
        stands = self._stands(self._viewer(key))
        last[key.id, question] = answer.headers["ETag"]
        # The same bytes may come again, with others between: not where nothing at all was committed.
        wanted = before if before == after and stands == stood else None
        with self.lock:
            self.counted.update([f"by service {number}", str(answer.status)])
            fault = self._tag_fault(key, question, answer, wanted)
            if fault is None and stands.version == stood.version and stood.horizon is None:
                fault = self._age_fault(viewer, stood.number, answer)
            if fault is not None:
                self.faults.append(f"{question} of {key.id}, service {number}, {answer.status}: {fault}")

    def _tag_fault(self, key: _Key, question: str, answer: Answer, wanted: bytes | None) -> str | None:
        """Return what is wrong with an answer's tag, and with its bytes where it is known what is wanted."""
        tag = answer.headers["ETag"]
        known = self.bodies.get((key.id, question, tag))
        if answer.status != 304:
            found = answer.body, decoded(answer.headers, answer.body)
            if known is not None and known != found:
                return f"{found} under {tag}, which stands for {known}"
            known = self.bodies[key.id, question, tag] = found
            sent = hashlib.sha256(answer.body).digest()
            if self.tags.setdefault((key.id, question, sent), tag) != tag:
                return f"{tag} for what was {self.tags[key.id, question, sent]}"
        if known is None:
            return f"{tag} was never told"
        if wanted is not None:
            self.counted["compared"] += 1
            if known[1] != wanted:
                return f"\n{known[1]!r}\n{wanted!r}"
        return None

    def _age_fault(self, viewer: Caller, stood: int, answer: Answer) -> str | None:
        """Return by how much an answer is older than its request."""
        key = cursors.cursor_key(runtime.of(self.app).settings.require_master_key())
        order = cursors.fingerprint("order", {})
        [looked] = cursors.unseal(key, answer.headers["Harbor-Cursor"], holder=viewer.id, of=order)
        return f"looked up to {looked} when the order stood at {stood}" if looked < stood else None

    def _stands(self, viewer: Caller) -> _Stands:
        now = runtime.of(self.app)
        with now.database.autocommit() as unit_of_work:
            sight = unit_of_work.sight(viewer, future_tolerance=now.future_tolerance)
            return _Stands(unit_of_work.order.standing().number, sight.horizon, viewer.version)

    def _viewer(self, key: _Key) -> Caller:
        return runtime.of(self.app).known_keys.look_up(key.secret)


def prove(app: Flask, services: Sequence[Get], *, reads: int, seed: int) -> Readers:
    """Read from services, beside writers in the database of an application that stands by."""
    database = runtime.of(app).database
    world = World(database)
    for number in range(SHIPS):
        world.vessel(f"Ship {number}")
    issued = [world.key(**terms) for terms in TERMS]
    keys = [_Key(key.id, secret, coding) for (key, secret), coding in zip(issued, CODINGS, strict=True)]
    readers = Readers(services, app, keys)
    left = itertools.count(reads, -1)
    turns = threading.Semaphore(0)
    done = threading.Event()
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
            done.set()
            raise

    def write(number: int) -> None:
        chance = random.Random(seed * 100 + number)
        writer = Writer(database, chance, [key.id for key in keys])
        while not done.is_set():
            if turns.acquire(timeout=0.1):
                writer.write()

    def read(number: int) -> None:
        chance = random.Random(seed * 100 + 50 + number)
        last: dict[tuple[int, str], str] = {}
        while next(left) > 0 and not readers.faults and not done.is_set():
            readers.read(chance, last)
            # However slow the machine is, while some are read nothing is committed.
            if chance.random() < WRITES_A_READ:
                turns.release()

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
