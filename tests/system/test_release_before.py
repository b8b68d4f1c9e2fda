"""While a release is brought in, the one before goes on working on the new schema, beside the new one.

So it is with the code before the newest migration, with that before several of them, as they may come with
one release, and with the last release on all since. They are found in git, whatever the newest migration is:
no test has to be changed when one is added.
"""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.conftest import NewDatabase
from tests.support import history
from tests.support.factories import SigningTracker, a_fix
from tests.support.live_service import LiveService
from tests.support.signed_posts import backwards, send
from tests.support.streams import StreamClient
from tests.support.urls import BATCH, POSITIONS, QUARANTINE, STREAM, VESSELS

from harbor_api.domain.api_keys import SCOPES
from harbor_api.domain.months import Month
from harbor_api.domain.times import rfc3339
from harbor_api.postgres import migrations

# How many migrations the code does not know, None for all since the last release.
_UNKNOWN = [1, *(pytest.param(many, marks=pytest.mark.slow) for many in range(2, 6)), None]
_IN_BATCH = 20


class _Both:
    """The service of before and that of today, on one database at the newest schema."""

    def __init__(self, old: LiveService, new: LiveService) -> None:
        self.old, self.new = old, new
        self.bearer = new.world.bearer(*SCOPES)
        # All that was stored, in this order.
        self.stored: list[str] = []
        self.minutes = iter(range(1_000))

    def get(self, service: LiveService, path: str, **query: Any) -> Any:
        answer = service.http.get(path, params=query, headers=self.bearer)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, service: LiveService, tracker: SigningTracker, fix: dict[str, Any] | None = None) -> None:
        """Have a fix stored by one of them, and sent again to the other."""
        fix = fix or a_fix(60 * next(self.minutes))
        other = self.old if service is self.new else self.new
        assert send(service.http, tracker.signed(fix)).status_code == 201
        assert send(other.http, tracker.signed(fix)).status_code == 200
        self.stored.append(fix["recorded_at"])

    def send_many(self, service: LiveService, tracker: SigningTracker) -> None:
        fixes = [a_fix(60 * next(self.minutes)) for _ in range(_IN_BATCH)]
        answer = send(service.http, tracker.signed({"fixes": fixes}, url=BATCH), BATCH)
        assert [each["verdict"] for each in answer.json()["verdicts"]] == ["stored"] * _IN_BATCH
        self.stored += [each["recorded_at"] for each in fixes]

    def each(self) -> Iterator[LiveService]:
        yield from (self.old, self.new)

    def having(self, path: str) -> list[LiveService]:
        """Return those that have a path, as their documents say."""
        return [each for each in self.each() if path in self.get(each, "/openapi.json")["paths"]]


@pytest.fixture(scope="module", params=_UNKNOWN, ids=lambda many: f"without {many or 'all'} since")
def both(
    request: pytest.FixtureRequest, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_Both]:
    """Return both; the test is skipped where there were fewer migrations since the last release."""
    many: int | None = request.param
    release = commit = history.last_release()
    if many is not None:
        commit = history.before_the_newest_migrations(many)
    needed = history.revision_of(commit)
    if needed == migrations.head() or needed < history.revision_of(release):
        pytest.skip("there were not as many migrations since the last release")
    folder = tmp_path_factory.mktemp("before")
    url, code = new_database(), history.put(commit, folder / "code")
    old = LiveService(url, log=folder / "old.log")
    old.environ["PYTHONPATH"] = str(code)
    where = [sys.executable, "-c", "import harbor_api; print(harbor_api.__file__)"]
    found = subprocess.run(where, env=old.environ, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(code))
    with old, LiveService(url, log=folder / "new.log") as new:
        yield _Both(old, new)


def test_the_release_before_works_on_the_new_schema_beside_the_new_one(both: _Both) -> None:
    trackers = [both.new.world.tracker() for _ in range(4)]
    begin = both.get(both.new, VESSELS)["cursor"]
    both.stored.clear()
    streams = [StreamClient(each.port, both.bearer, cursor=begin) for each in both.having(STREAM)]
    for _ in range(3):
        for tracker in trackers:
            for service in both.each():
                both.send(service, tracker)
    for service in both.each():
        both.send_many(service, trackers[0])
    # Late by months, and so in other partitions, which are settled by then.
    both.new.world.database.settle_partitions(before=Month.of(datetime.now(UTC)).begin)
    for service, days in zip(both.each(), (40, 400), strict=True):
        long_ago = rfc3339(datetime.now(UTC) - timedelta(days=days))
        both.send(service, trackers[1], a_fix(recorded_at=long_ago))

    for service in both.having(STREAM):
        assert [each["recorded_at"] for each in _followed(both, service, begin)] == both.stored
    for stream in streams:
        stream.until(lambda it: len(it.items) == len(both.stored))
        assert [each["recorded_at"] for each in stream.items] == both.stored
        stream.close()
    for vessel in (each["id"] for each in both.get(both.new, VESSELS)["features"]):
        histories = [
            both.get(each, f"{VESSELS}/{vessel}/positions")["positions"]
            for each in both.having(f"{VESSELS}/{{vessel_id}}/positions")
        ]
        assert all(_times(each) == _times(histories[0]) for each in histories)
    fleets = [both.get(each, VESSELS)["features"] for each in both.each()]
    assert [_shown(each) for each in fleets[0]] == [_shown(each) for each in fleets[1]]
    assert backwards(both.new.world.database) == []


def test_what_either_of_them_held_or_registered_the_other_goes_on_with(both: _Both) -> None:
    for service, other in ((both.old, both.new), (both.new, both.old)):
        made = service.http.post(VESSELS, json={"name": "Fram"}, headers=both.bearer).json()
        order = {"label": "bridge", "vessel_id": made["id"]}
        tracked = other.http.post("/api/v1/trackers", json=order, headers=both.bearer)
        assert tracked.status_code == 201, tracked.text
        vessel = both.new.world.vessel()
        tracker = both.new.world.tracker(vessel)
        both.send(service, tracker)
        # No ship can be so far away.
        jumped = a_fix(60 * next(both.minutes), lat=-30)
        assert send(service.http, tracker.signed(jumped)).status_code == 202
        [held] = both.get(other, QUARANTINE, state="held")["quarantine"]
        decided = other.http.post(f"{QUARANTINE}/{held['id']}/release", headers=both.bearer)
        assert decided.status_code == 200, decided.text
        assert both.get(service, QUARANTINE, state="held")["quarantine"] == []
        shown = both.get(service, f"{VESSELS}/{vessel.id}")
        assert shown["properties"]["recorded_at"] == jumped["recorded_at"]
    assert "internal_error" not in both.old.log() + both.new.log()


def _followed(both: _Both, service: LiveService, cursor: str) -> list[dict[str, Any]]:
    """Return all that comes behind a cursor; every other page is asked of the other one, if it has any."""
    hosts, items = both.having(STREAM), []
    turn = hosts.index(service)
    while True:
        page = both.get(hosts[turn % len(hosts)], POSITIONS, cursor=cursor, limit=7)
        items += page["items"]
        if not page["has_more"]:
            return items
        cursor, turn = page["next"], turn + 1


def _times(positions: list[dict[str, Any]]) -> list[str]:
    return [each["recorded_at"] for each in positions]


def _shown(feature: dict[str, Any]) -> tuple[Any, ...]:
    properties = feature["properties"]
    return feature["id"], feature["geometry"], properties["recorded_at"], properties["stale"]
