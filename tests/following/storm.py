"""Eight writers at once, who do all that changes what followers are told, and some of it not at all.

Three are trackers that post over HTTP: late fixes, batches, jumps that are held, and jumps that agree until
the judgement takes back what it had believed. Three store fixes in transactions of their own, held open at
random between number and commit, or rolled back. One is an operator with the administrators' API, who
withdraws, releases and rejects. One registers, edits, retires and restores vessels, and grants and revokes
them.
"""

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from tests.support import sql
from tests.support.factories import ACTOR, World
from tests.support.signed_posts import Connection
from tests.support.urls import BATCH, POSITIONS, QUARANTINE

from harbor_api.database import Database
from harbor_api.domain.api_keys import SCOPES
from harbor_api.domain.changes import Edit
from harbor_api.domain.errors import Conflict, NotFound, Unavailable
from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.positions import Fix, Motion, ReceivedFix, Submission
from harbor_api.domain.times import rfc3339
from harbor_api.domain.vessels import VesselDetails
from harbor_api.ingest import settling
from harbor_api.services import trackers, vessels

SHIPS = 10
FERRIES = (1, 2, 3)
GRANTED = (2, 3, 5, 7)
# Ships lie to and fro across its eastern edge, some of them far from it.
BOX = "10,59,10.5,60"
TRACKERS, HELD_OPEN = 3, 3
# What anybody may meet while something is killed.
AWAY = (OSError, http.client.HTTPException, Unavailable)
_NO_LIMIT = Thresholds(max_speed_kn=1e6)


class _RolledBack(Exception):
    """Ends a unit of work that is not to be committed."""


@dataclass
class Grants:
    """Which vessels one key sees, when that began to change and when it had."""

    key_id: int
    seen: frozenset[int]
    # The time for which a follower may go by what was so before.
    changes: list[tuple[int, bool, float, float]] = field(default_factory=list)

    def sees(self, vessel_id: int, asked: float, answered: float) -> Literal["yes", "no", "maybe"]:
        """Tell whether a vessel was seen from when it was asked to when it was answered; 0, 0: throughout."""
        mine = [change for change in self.changes if change[0] == vessel_id]
        if not mine:
            return "yes" if vessel_id in self.seen else "no"
        if not answered:
            return "maybe"
        seen = vessel_id in self.seen
        for _, after, began, done in mine:
            if done < asked:
                seen = after
            elif began <= answered:
                return "maybe"
        return "yes" if seen else "no"


@dataclass
class Storm:
    """All writers, over one service and its database."""

    port: Callable[[], int]
    database: Database
    grants: Grants
    chance: random.Random
    bearer: dict[str, str] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)
    counted: Counter[str] = field(default_factory=Counter)
    failures: list[BaseException] = field(default_factory=list)
    # Of which times a service told that it has them.
    acknowledged: list[tuple[int, str]] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    # Ships that came later, each with a tracker.
    _new: list[tuple[int, int]] = field(default_factory=list)

    def begin(self) -> None:
        works = [
            *(self._tracker(number) for number in range(TRACKERS)),
            *(self._held_open(number) for number in range(HELD_OPEN)),
            self._operate,
            self._administer,
        ]
        for number, work in enumerate(works):
            chance = random.Random(self.chance.random())
            thread = threading.Thread(target=self._run, args=(work, chance), name=f"writer {number}")
            self._threads.append(thread)
            thread.start()

    def end(self) -> None:
        self.done.set()
        for each in self._threads:
            each.join(60)
        assert self.failures == []
        assert not [each.name for each in self._threads if each.is_alive()]

    def _run(self, work: Callable[[random.Random], None], chance: random.Random) -> None:
        try:
            while not self.done.is_set():
                try:
                    work(chance)
                except AWAY:
                    self.counted["away"] += 1
                    time.sleep(0.1)
                time.sleep(chance.choice([0, 0.01, 0.02, 0.05]))
        except BaseException as error:
            self.failures.append(error)
            raise

    def _tracker(self, number: int) -> Callable[[random.Random], None]:
        """Return what posts for some trackers: of each ship the first, so that the others have their own."""
        mine = [2 * ship - 1 for ship in range(1, SHIPS + 1) if ship % TRACKERS == number]

        def post(chance: random.Random) -> None:
            tracker = chance.choice(mine)
            ship = (tracker + 1) // 2
            fixes = [self._fix(ship, chance) for _ in range(chance.choice([1, 1, 1, 2, 5]))]
            if chance.random() < 0.15:
                self.counted["agreeing jumps"] += 1
                fixes = [self._fix(ship, chance) | {"lat": 20 + chance.random() / 1000} for _ in range(5)]
            elif chance.random() < 0.1:
                self.counted["by the column"] += 1
                fixes = self._full(ship, chance)
            with Connection(self.port(), timeout_s=10) as connection:
                if len(fixes) == 1:
                    status, _ = connection.post(POSITIONS, tracker, fixes[0])
                    told = [status == 201]
                else:
                    status, answer = connection.post(BATCH, tracker, {"fixes": fixes})
                    told = [each["verdict"] == "stored" for each in answer.get("verdicts", [])]
            assert status in {200, 201, 202, 503}, status
            self.counted["posted"] += sum(told)
            self.acknowledged += [
                (tracker, fix["recorded_at"]) for fix, stored in zip(fixes, told, strict=False) if stored
            ]

        return post

    def _fix(self, ship: int, chance: random.Random) -> dict[str, Any]:
        late_s = chance.choice([0, 0, 0, 0, 0, 1.3, 4, 20, -0.7])
        place = {"lat": 59.5 + chance.uniform(-1, 1) / 1000, "lon": _lon(ship) + chance.uniform(-1, 1) / 1000}
        if chance.random() < 0.06:
            place["lat"] = chance.uniform(-50, 50)
        recorded_at = rfc3339(datetime.now(UTC) - timedelta(seconds=late_s + chance.random() / 100))
        return {"recorded_at": recorded_at, "sog": 8.4, "cog": round(chance.uniform(0, 359), 1), **place}

    def _full(self, ship: int, chance: random.Random) -> list[dict[str, Any]]:
        """Return a batch that may be taken by the column: of one form, and mostly newer than all else."""
        now = datetime.now(UTC)
        fixes = [
            self._fix(ship, chance)
            | {"lat": 59.5, "recorded_at": rfc3339(now - timedelta(milliseconds=back))}
            for back in range(20)
        ]
        chance.shuffle(fixes)
        return fixes

    def _held_open(self, number: int) -> Callable[[random.Random], None]:
        """Return what stores fixes of two ships in a transaction that is held open."""
        mine = [ship for ship in range(1, SHIPS + 1) if ship % HELD_OPEN == number]

        def store(chance: random.Random) -> None:
            ships = {ship: 2 * ship for ship in chance.sample(mine, 2)}
            if self._new and chance.random() < 0.4:
                ships = dict([chance.choice(self._new)])
            submissions = [
                Submission(tracker_id=tracker, fixes=(self._received(ship, tracker, chance),), numbers=())
                for ship, tracker in sorted(ships.items())
            ]
            with suppress(_RolledBack), self.database.unit_of_work() as unit_of_work:
                settling.settle(unit_of_work, submissions, thresholds=_NO_LIMIT)
                time.sleep(chance.choice([0, 0, 0.002, 0.01, 0.05]))
                if chance.random() < 0.25:
                    self.counted["rolled back"] += 1
                    raise _RolledBack
            self.counted["held open"] += 1

        return store

    def _received(self, ship: int, tracker: int, chance: random.Random) -> ReceivedFix:
        fix = self._fix(ship, chance)
        at = datetime.fromisoformat(fix["recorded_at"])
        motion = Motion(round(59.5 + chance.uniform(-1, 1) / 1000, 6), round(fix["lon"], 6), 8.4)
        return ReceivedFix(ship, tracker, datetime.now(UTC), Fix(at, motion), None)

    def _operate(self, chance: random.Random) -> None:
        """Withdraw, release or reject something by the administrators' API."""
        kind = chance.choice(["withdraw", "withdraw", "release", "again", "reject"])
        if kind == "withdraw":
            found = sql.run(
                self.database,
                "SELECT vessel_id, recorded_at, tracker_id FROM positions ORDER BY seq DESC "
                "LIMIT 1 OFFSET :n",
                n=chance.choice([0, 1, 2, 10, 40]),
            )
            for vessel_id, recorded_at, tracker in found:
                named = {"vessel_id": vessel_id, "recorded_at": rfc3339(recorded_at), "note": "wrong"}
                if chance.random() < 0.5:
                    named["tracker_id"] = f"trk_{tracker:04d}"
                self._admin(f"{QUARANTINE}/withdraw", named, kind)
            return
        state = "withdrawn" if kind == "again" else "held"
        held = sql.column(
            self.database,
            "SELECT id FROM quarantine WHERE state = :state ORDER BY random() LIMIT 1",
            state=state,
        )
        for held_id in held:
            self._admin(f"{QUARANTINE}/{held_id}/{'reject' if kind == 'reject' else 'release'}", None, kind)

    def _admin(self, path: str, body: Any, kind: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=10)
        headers = {**self.bearer, "Content-Type": "application/json", "Connection": "close"}
        try:
            connection.request("POST", path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            told = answer.read()
        finally:
            connection.close()
        # 404 and 409: somebody else was first, or two trackers have a fix of that time.
        assert answer.status in {200, 404, 409, 422, 503}, (path, answer.status, told)
        self.counted[kind] += answer.status == 200

    def _administer(self, chance: random.Random) -> None:
        """Change vessels and grants, in a transaction that is held open."""
        work = getattr(self, f"_{chance.choice(['register', 'edit', 'edit', 'retire', 'restore', 'grant'])}")
        with suppress(_RolledBack, Conflict, NotFound):
            work(chance)
            self.counted["administered"] += 1
        time.sleep(0.05)

    def _register(self, chance: random.Random) -> None:
        if len(self._new) > 5:
            return
        with self.database.unit_of_work() as unit_of_work:
            details = VesselDetails(name="New", kind=chance.choice(["ferry", "cargo"]))
            vessel = vessels.register(unit_of_work, details, actor=ACTOR)
            tracker = trackers.register(
                unit_of_work, vessel_id=vessel.id, label="bridge", test=False, actor=ACTOR
            )
            # Its first fix comes with it, so who resolves a filter may know of neither.
            received = self._received(vessel.id, tracker.number, chance)
            submission = Submission(tracker_id=tracker.number, fixes=(received,), numbers=())
            settling.settle(unit_of_work, [submission], thresholds=_NO_LIMIT)
            _pause(chance)
        self._new.append((vessel.id, tracker.number))

    def _edit(self, chance: random.Random) -> None:
        with self.database.unit_of_work() as unit_of_work:
            change: Edit[VesselDetails] = Edit({"call_sign": chance.choice(["LA1", "LA2"])})
            vessels.change(unit_of_work, chance.randint(1, SHIPS), change, versions=None, actor=ACTOR)
            _pause(chance)

    def _retire(self, chance: random.Random) -> None:
        with self.database.unit_of_work() as unit_of_work:
            vessels.retire(unit_of_work, chance.randint(1, SHIPS), actor=ACTOR)
            _pause(chance)

    def _restore(self, chance: random.Random) -> None:
        with self.database.unit_of_work() as unit_of_work:
            vessels.restore(unit_of_work, chance.randint(1, SHIPS), actor=ACTOR)
            _pause(chance)

    def _grant(self, chance: random.Random) -> None:
        """Grant or revoke a vessel, of those that are not granted from the beginning to the end."""
        vessel_id = chance.choice([1, 4, 6])
        began = time.time()
        with self.database.unit_of_work() as unit_of_work:
            key = unit_of_work.api_keys.lock(self.grants.key_id)
            known = key.terms.vessel_ids or frozenset()
            terms = replace(key.terms, vessel_ids=known ^ {vessel_id})
            unit_of_work.api_keys.replace(key.id, terms)
        self.grants.changes.append((vessel_id, vessel_id not in known, began, time.time()))


def _lon(ship: int) -> float:
    return 10.5 if ship % 2 else 10.2 + ship / 10


def _pause(chance: random.Random) -> None:
    time.sleep(chance.choice([0, 0, 0.01, 0.03]))
    if chance.random() < 0.2:
        raise _RolledBack


def launch(database: Database) -> World:
    """Register the ships, each with two trackers: 2 n - 1 and 2 n of ship n."""
    world = World(database)
    for ship in range(1, SHIPS + 1):
        vessel = world.vessel(f"Ship {ship}", kind="ferry" if ship in FERRIES else "cargo")
        for _ in range(2):
            world.tracker(vessel)
    return world


def admin(world: World) -> dict[str, str]:
    """Return the headers of a key that may do everything."""
    return world.bearer(*SCOPES)


def ferries(database: Database) -> Sequence[int]:
    """Return the vessels that are ferries, which no writer changes."""
    return sql.column(database, "SELECT id FROM vessels WHERE kind = 'ferry'")


def last_fix(database: Database) -> int:
    """Store a fix that all see, and return its number: who has come to it need not wait for a heartbeat.

    It is late enough to be the first of its step, so that coarse keys see it, too.
    """
    now = datetime.now(UTC)
    received = ReceivedFix(2, 4, now, Fix(now - timedelta(hours=1), Motion(59.5, 10.4)), None)
    with database.unit_of_work() as unit_of_work:
        submission = Submission(tracker_id=4, fixes=(received,), numbers=())
        settling.settle(unit_of_work, [submission], thresholds=_NO_LIMIT)
        return int(sql.value(unit_of_work, "SELECT max(seq) FROM positions"))


def raise_floor(database: Database, *, kept: int) -> int:
    """Remove all but so many of the last that was told, and return the number up to which it is gone."""
    with database.unit_of_work() as unit_of_work:
        number = sql.value(unit_of_work, "SELECT coalesce(max(seq), 0) FROM positions") - kept
        found: int = sql.value(
            unit_of_work,
            """
            INSERT INTO feed_floor AS floor (number, at) VALUES (greatest(:number, 0), now())
            ON CONFLICT (id) DO UPDATE SET number = greatest(floor.number, excluded.number), at = now()
            RETURNING number
            """,
            number=number,
        )
        sql.run(unit_of_work, "DELETE FROM withdrawals WHERE seq <= :number", number=found)
    return found
