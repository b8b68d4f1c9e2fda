"""Another server takes over that had not got the last commits, or a backup is restored: nobody skips any.

Whoever has read of what is lost is told so, all others go on, and what is sent again is stored.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from tests.support import sql
from tests.support.dumps import dump, restore
from tests.support.factories import SigningTracker, World, a_fix
from tests.support.live_service import LiveService, OwnPostgres
from tests.support.standby import Standby
from tests.support.streams import StreamClient
from tests.support.urls import POSITIONS

from harbor_api.database import Database

# So many come before the others, which are lost; and so many after them.
_KEPT, _LOST, _NEW = 30, 20, 60
_FENCES = "SELECT survived, resumed FROM order_fences ORDER BY resumed"


class _Fleet:
    """A tracker that sends, and a partner who follows it."""

    def __init__(self, service: LiveService, tracker: SigningTracker, bearer: dict[str, str]) -> None:
        self.bearer = bearer
        self._service = service
        self._tracker = tracker

    def send(self, number: int) -> int:
        """Send a fix until there is an answer, as a tracker does, and return its status."""
        while True:
            signed = self._tracker.signed(a_fix(number * 60))
            answer = self._service.http.post(
                POSITIONS, content=signed["data"], headers={**signed["headers"], "Connection": "close"}
            )
            if answer.status_code != 503:
                return answer.status_code
            time.sleep(0.05)

    def get(self, path: str, **query: Any) -> httpx.Response:
        while True:
            answer = self._service.http.get(path, params=query, headers=self.bearer)
            if answer.status_code != 503:
                return answer
            time.sleep(0.05)

    def page(self, cursor: str, limit: int = 1_000) -> dict[str, Any]:
        answer = self.get(POSITIONS, cursor=cursor, limit=limit)
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        return page

    def put(self, name: str, **wanted: Any) -> None:
        answer = self._service.http.put(f"/api/v1/feeds/{name}", json=wanted, headers=self.bearer)
        assert answer.status_code in (200, 201), answer.text

    def told(self, cursor: str) -> list[str]:
        """Return when what comes behind a cursor was recorded, up to the end."""
        times = []
        while True:
            page = self.page(cursor, limit=7)
            times += [each["recorded_at"] for each in page["items"]]
            if not page["has_more"]:
                return times
            cursor = page["next"]


@contextmanager
def _serving(url: str, log: Path, **settings: Any) -> Iterator[tuple[LiveService, _Fleet]]:
    with LiveService(url, log=log, **settings) as service:
        tracker, bearer = service.world.tracker(), service.world.bearer("vessels:read")
        yield service, _Fleet(service, tracker, bearer)


def _times(*numbers: int) -> list[str]:
    return [a_fix(number * 60)["recorded_at"] for number in numbers]


def test_a_failover_that_loses_commits_skips_nothing(tmp_path: Path) -> None:
    with OwnPostgres() as primary, Standby(primary) as standby:
        url = Standby.either(primary, standby)
        with _serving(url, tmp_path / "log", workers=2) as (service, fleet):
            begin = fleet.get("/api/v1/vessels").json()["cursor"]
            assert {fleet.send(number) for number in range(_KEPT)} == {201}
            within = fleet.page(begin, limit=_KEPT // 2)["next"]
            end = fleet.page(begin)["next"]
            fleet.put("warehouse", cursor=within)
            standby.catch_up(primary)
            standby.stop()
            assert {fleet.send(number) for number in range(_KEPT, _KEPT + _LOST)} == {201}
            beyond = [fleet.page(end)["next"], fleet.get("/api/v1/vessels").json()["cursor"]]
            fleet.put("office", cursor=within)
            stream = StreamClient(service.port, fleet.bearer, cursor=end)
            stream.until(lambda it: len(it.items) == _LOST)

            primary.crash()
            standby.start(follows=False)
            standby.promote()
            # Some send again what was lost, and what comes now goes beyond all numbers that were given.
            again = range(_KEPT + _LOST // 2, _KEPT + _LOST + _NEW)
            assert {fleet.send(number) for number in again} == {201}

            assert fleet.told(begin) == _times(*range(_KEPT), *again)
            assert fleet.told(within) == _times(*range(_KEPT // 2, _KEPT), *again)
            assert fleet.told(end) == _times(*again)
            for cursor in [*beyond, stream.last_id]:
                answer = fleet.get(POSITIONS, cursor=cursor)
                assert (answer.status_code, answer.json()["code"]) == (410, "cursor_expired")
                with StreamClient(service.port, fleet.bearer, last_seen=cursor) as resumed:
                    names = [each.name for each in resumed.until_over().events]
                assert names[-1] == "reset"
                assert "position" not in names
            # Told so, or cut with the database where it was read for it at that moment; then it resumes.
            assert stream.until_over().events[-1].name == "reset" or "stream_broken" in service.log()
            assert len(stream.items) == _LOST
            stream.close()
            named = fleet.get("/api/v1/feeds/warehouse/positions").json()["items"]
            assert [each["recorded_at"] for each in named] == _times(*range(_KEPT // 2, _KEPT), *again)
            # It was lost with what it stood at.
            assert fleet.get("/api/v1/feeds/office/positions").status_code == 404
            # Once, however many workers have found out.
            _, [survived, resumed] = sql.run(World(service._database).database, _FENCES)
            assert resumed - survived > 2**40
            assert service.log().count("order_fenced") == 1


def test_an_ordinary_restart_and_a_failover_without_loss_expire_no_cursor(tmp_path: Path) -> None:
    with OwnPostgres() as primary, Standby(primary) as standby:
        url = Standby.either(primary, standby)
        with _serving(url, tmp_path / "log") as (service, fleet):
            begin = fleet.get("/api/v1/vessels").json()["cursor"]
            assert fleet.send(0) == 201
            primary.crash()
            primary.start()
            assert fleet.send(1) == 201
            assert len(sql.run(service._database, _FENCES)) == 1
            end = fleet.page(begin)["next"]

            standby.catch_up(primary)
            primary.crash()
            standby.promote()
            assert fleet.send(2) == 201
            assert len(sql.run(service._database, _FENCES)) == 2
            assert fleet.told(begin) == _times(0, 1, 2)
            assert fleet.told(end) == _times(2)


def test_an_operators_change_right_after_a_failover_is_to_be_sent_again(tmp_path: Path) -> None:
    with (
        OwnPostgres() as primary,
        Standby(primary) as standby,
        _serving(Standby.either(primary, standby), tmp_path / "log") as (service, _),
    ):
        standby.catch_up(primary)
        primary.crash()
        standby.promote()
        admin = service.world.bearer("vessels:write")
        body = {"name": "Skagerrak Trader"}
        answers = [service.http.post("/api/v1/vessels", json=body, headers=admin) for _ in range(2)]
        assert [each.status_code for each in answers] == [503, 201]
        assert int(answers[0].headers["Retry-After"]) > 0


@pytest.mark.parametrize("is_same", [False, True], ids=["to another server", "to the same server"])
def test_after_a_restore_nobody_skips(tmp_path: Path, is_same: bool) -> None:
    with (
        OwnPostgres() as before,
        OwnPostgres() as after,
        _serving(before.url, tmp_path / "before") as (service, fleet),
    ):
        begin = fleet.get("/api/v1/vessels").json()["cursor"]
        for number in range(10):
            fleet.send(number)
        dumped, within = dump(before), fleet.page(begin)["next"]
        for number in range(10, 20):
            fleet.send(number)
        beyond = fleet.page(begin)["next"]
        if not is_same:
            service.stop()
            service.environ["HARBOR_DATABASE_URL"] = after.url
        restore(before if is_same else after, dumped)
        if not is_same:
            service.start()
        for number in range(15, 50):
            assert fleet.send(number) == 201
        assert fleet.told(begin) == _times(*range(10), *range(15, 50))
        assert fleet.told(within) == _times(*range(15, 50))
        assert fleet.get(POSITIONS, cursor=beyond).status_code == 410
        # The same backup again: what was given since is not given once more.
        later = fleet.page(within)["next"]
        restore(before if is_same else after, dumped)
        for number in range(15, 90):
            assert fleet.send(number) == 201
        assert fleet.told(within) == _times(*range(15, 90))
        for cursor in (beyond, later):
            assert fleet.get(POSITIONS, cursor=cursor).status_code == 410


def test_a_standby_that_is_named_by_mistake_takes_no_changes_and_says_so(tmp_path: Path) -> None:
    with OwnPostgres() as primary, Standby(primary) as standby:
        database = Database(primary.url)
        tracker = World(database).tracker()
        database.dispose()
        standby.catch_up(primary)
        with LiveService(standby.url, log=tmp_path / "log") as service:
            signed = tracker.signed(a_fix())
            answer = service.http.post(POSITIONS, content=signed["data"], headers=signed["headers"])
            assert answer.status_code == 503
            assert "it is a standby, or set to read only; name the primary" in service.log()
            # It is another server's order once this one takes over.
            standby.promote()
            signed = tracker.signed(a_fix())
            answer = service.http.post(POSITIONS, content=signed["data"], headers=signed["headers"])
            assert answer.status_code == 201
            with psycopg.connect(standby.url) as connection:
                assert len(connection.execute(_FENCES).fetchall()) == 2
