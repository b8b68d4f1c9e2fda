"""What the service has acknowledged survives a power cut, and what it has not can be sent again.

Six times, twenty with --slow, at moments that a seed decides, all processes of the service, of its
PostgreSQL (with fsync on), or of both are killed while trackers post single fixes and batches. Trackers do
what their protocol says: what has a verdict is erased, all else is kept and sent again. Two of them send full
batches of sound fixes, which are taken by the column. In the end each fix
is kept exactly once, no two verdicts on a fix contradict each other, and no vessel's latest position is
other than her newest.
"""

import http.client
import random
import threading
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support import sql
from tests.support.live_service import LiveService, OwnPostgres
from tests.support.signed_posts import VERDICT_OF_STATUS, Connection, backwards, in_both, register_fleet
from tests.support.urls import BATCH
from tests.support.urls import POSITIONS as SINGLE

from harbor_api.database import Database
from harbor_api.domain.positions import Fix, Motion, ReceivedFix
from harbor_api.domain.received_columns import ReceivedColumns

_TRACKERS = 10
_EPOCH = datetime(2026, 1, 2, tzinfo=UTC)
OnBoard = dict[str, Any]


class _TrackerOnBoard(threading.Thread):
    """A tracker that takes fixes for as long as it runs, and keeps each until it has a verdict on it."""

    def __init__(self, port: int, number: int) -> None:
        super().__init__(name=f"tracker {number}")
        self.number = number
        self.failure: BaseException | None = None
        self.told: dict[str, list[str]] = defaultdict(list)
        self.taken = 0
        self.unanswered = 0
        self.ends = threading.Event()
        self._port = port
        self._chance = random.Random(number)
        self._kept: list[OnBoard] = []
        # Sends all that it has and nothing else, each of it sound: so it comes by the column.
        self._is_full = number % 5 == 0

    def run(self) -> None:
        try:
            with Connection(self._port, timeout_s=10) as connection:
                while self._kept or not self.ends.is_set():
                    self._post_some(connection)
        except BaseException as error:
            self.failure = error

    def _post_some(self, connection: Connection) -> None:
        if not self.ends.is_set():
            some = (16, 16, 60, 250) if self._is_full else (1, 1, 2, 12)
            self._kept += [self._take() for _ in range(self._chance.choice(some))]
        if self._is_full:
            sent = self._kept[:1_000]
            self._chance.shuffle(sent)
        else:
            # Neither in order nor all at once, and now and then something that has a verdict already.
            self._chance.shuffle(self._kept)
            sent = self._kept[: self._chance.choice((1, 1, 1, 5, 50, 200))]
            if self.told and self._chance.random() < 0.2:
                sent = [*sent, self._fix(self._chance.randrange(self.taken))]
        # A tracker rests at times; without it the load generator takes the cores from the service.
        time.sleep(self._chance.uniform(0, 0.2 if self._is_full else 0.03))
        try:
            # Of a fix that is refused when posted alone, the number is not noted.
            if len(sent) == 1 and sent[0]["sog"] >= 0:
                status, answer = connection.post(SINGLE, self.number, sent[0])
                verdicts = [VERDICT_OF_STATUS.get(status)]
            else:
                status, answer = connection.post(BATCH, self.number, {"fixes": sent})
                verdicts = [each["verdict"] for each in answer["verdicts"]] if status == 200 else [None]
        except (OSError, http.client.HTTPException):
            self.unanswered += 1
            time.sleep(0.1)
            return
        if verdicts[0] is None:
            assert status == 503, (status, answer)
            self.unanswered += 1
            time.sleep(0.1)
            return
        for fix, verdict in zip(sent, verdicts, strict=True):
            self.told[fix["recorded_at"]].append(verdict)
        self._kept = [fix for fix in self._kept if fix["recorded_at"] not in self.told]

    @property
    def lost_answers(self) -> int:
        """How many fixes were stored before this tracker was told so."""
        return sum(told[0] == "duplicate" for told in self.told.values())

    def _take(self) -> OnBoard:
        self.taken += 1
        return self._fix(self.taken - 1)

    def _fix(self, count: int) -> OnBoard:
        """Return a fix of a ship under way; each has its own place, some cannot be kept or believed."""
        moment = _EPOCH + timedelta(seconds=count)
        fix = {"lat": 50 + count * 1e-5, "lon": 10 + self.number, "sog": count % 100, "number": count}
        kind = self._kind(count)
        if kind == 7:
            fix |= {"lat": 0, "lon": 0}
        elif kind == 19:
            fix |= {"sog": -1}
        elif kind == 31:
            moment += timedelta(days=40_000)
        return {"recorded_at": moment.isoformat().replace("+00:00", "Z"), **fix}

    def _kind(self, count: int) -> int:
        return 0 if self._is_full else count % 50

    def expected(self, kind: str) -> set[tuple[int, datetime]]:
        """Return the keys of all fixes that were taken of which a verdict is to be expected."""
        kinds = {7: "quarantined", 19: "invalid", 31: "quarantined"}
        return {
            (self.number, datetime.fromisoformat(self._fix(count)["recorded_at"]))
            for count in range(self.taken)
            if kinds.get(self._kind(count), "stored") == kind
        }


def _kill_at_random(
    service: LiveService, postgres: OwnPostgres, chance: random.Random, kills: int
) -> Counter[str]:
    killed: Counter[str] = Counter()
    for number in range(kills):
        time.sleep(chance.uniform(0.05, 0.6))
        victim = ("service", "database", "both")[number % 3]
        killed[victim] += 1
        if victim != "service":
            postgres.crash()
        if victim != "database":
            service.kill()
        if victim != "service":
            # Trackers meet a service without its database for a moment, too.
            time.sleep(chance.uniform(0, 0.2))
            postgres.start()
        if victim != "database":
            service.start()
    return killed


@pytest.mark.parametrize("kills", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_nothing_acknowledged_is_lost_or_doubled_when_all_is_killed_again_and_again(
    tmp_path: Path, kills: int
):
    with (
        OwnPostgres() as postgres,
        LiveService(postgres.url, log=tmp_path / "log", workers=2, database_timeout_ms=2_000) as service,
    ):
        register_fleet(service.world.database, _TRACKERS)
        assert sql.run(service.world.database, "SHOW fsync") == [("on",)]
        trackers = [_TrackerOnBoard(service.port, number) for number in range(1, _TRACKERS + 1)]
        for each in trackers:
            each.start()
        try:
            killed = _kill_at_random(service, postgres, random.Random(20), kills)
        finally:
            for each in trackers:
                each.ends.set()
            for each in trackers:
                each.join(60)
        assert not [each.failure for each in trackers if each.failure]
        assert not [each.name for each in trackers if each.is_alive()], "could not send what it has kept"
        acknowledged = sum(len(each.told) for each in trackers)
        unanswered = sum(each.unanswered for each in trackers)
        print(
            f"{sum(killed.values())} kills ({', '.join(f'{n} {what}' for what, n in killed.items())}): "
            f"{acknowledged} fixes acknowledged, {unanswered} posts without a verdict, "
            f"{sum(each.lost_answers for each in trackers)} fixes stored whose answers died"
        )
        database = service.world.database
        database.dispose()
        kept = {
            table: list(sql.run(database, f"SELECT tracker_id, recorded_at FROM {table}"))
            for table in ("positions", "quarantine")
        }
        kept_numbers = dict(sql.run(database, "SELECT tracker_id, numbers::text FROM arrived_numbers"))
        wrong = [*backwards(database), *in_both(database), *_repeated(database)]
        before = _next_number(database, trackers[0].number, 0)
        postgres.crash()
        postgres.start()
        database.dispose()
        # The block was not rounded up to what the log is ahead of single numbers: it is in the log as it is.
        assert _next_number(database, trackers[0].number, 1) > before
    assert sum(killed.values()) == kills
    assert unanswered > kills / 2
    assert acknowledged == sum(each.taken for each in trackers) > 50 * kills
    for verdict, table in (("stored", "positions"), ("quarantined", "quarantine")):
        expected = set().union(*(each.expected(verdict) for each in trackers))
        assert Counter(map(tuple, kept[table])) == Counter(expected)
    assert not wrong
    assert kept_numbers == {each.number: f"{{[0,{each.taken})}}" for each in trackers}
    for each in trackers:
        _assert_consistent(each)


def _repeated(database: Database) -> list[Any]:
    """Return the numbers of the committed order that two fixes have."""
    return list(sql.run(database, "SELECT seq FROM positions GROUP BY seq HAVING count(*) > 1"))


def _next_number(database: Database, number: int, second: int) -> int:
    """Store a fix of a tracker, and return its number in the committed order, which is the greatest."""
    at = _EPOCH + timedelta(days=300, seconds=second)
    fix = ReceivedFix(number, number, at, Fix(at, Motion(59.9, 10.7)))
    with database.unit_of_work() as unit_of_work:
        addition = unit_of_work.positions.addition(ReceivedColumns.of([fix]))
        unit_of_work.run_last(addition, now=True)
        return int(sql.value(unit_of_work, "SELECT max(seq) FROM positions"))


def _assert_consistent(tracker: _TrackerOnBoard) -> None:
    for kind in ("stored", "quarantined", "invalid"):
        for _, recorded_at in tracker.expected(kind):
            told = tracker.told[recorded_at.isoformat().replace("+00:00", "Z")]
            # Whether the first verdict reached the tracker or died with the service: "stored" comes once
            # and nothing before it.
            allowed = {"stored", "duplicate"} if kind == "stored" else {kind}
            assert set(told) <= allowed, (tracker.name, recorded_at, told)
            assert "stored" not in told[1:], (tracker.name, recorded_at, told)
    assert len(tracker.told) == tracker.taken
