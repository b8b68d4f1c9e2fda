"""A key that sees so far back only is shown what others are, but what was recorded before."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import sql
from tests.support.examples import many
from tests.support.factories import EVERYTHING, World, rolled_back

from harbor_api.database import UnitOfWork
from harbor_api.domain.history import Window
from harbor_api.domain.order import Horizon
from harbor_api.domain.vessels import floored
from harbor_api.live.kinds import Kind
from harbor_api.postgres.sight import Sight
from harbor_api.schemas.history import WRITERS

_BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_ADD = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, seq)
VALUES (:vessel, :recorded_at, :tracker, :recorded_at, 59.9, 10.7, 8.4, :seq)
"""
_VESSELS = """
INSERT INTO vessels (id, name, seq) OVERRIDING SYSTEM VALUE VALUES (1, 'Fram', 1), (2, 'Gjoa', 2)
"""
_WITHDRAW = """
WITH gone AS (
    DELETE FROM positions WHERE vessel_id = :vessel AND recorded_at = :recorded_at AND tracker_id = :tracker
    RETURNING *
)
INSERT INTO withdrawals (seq, vessel_id, recorded_at, tracker_id, withdrawn_at)
SELECT :seq, vessel_id, recorded_at, tracker_id, now() FROM gone
"""
_minutes = st.integers(0, 600)
_fixes = st.lists(st.tuples(st.integers(1, 2), _minutes, st.integers(1, 2)), max_size=25, unique=True)


def _at(minutes: float) -> datetime:
    return _BEGAN + timedelta(minutes=minutes)


def _store(unit: UnitOfWork, told: list[tuple[int, int, int]], withdrawn: list[int]) -> None:
    for seq, (vessel, minutes, tracker) in enumerate(told, 1):
        sql.run(unit, _ADD, vessel=vessel, recorded_at=_at(minutes), tracker=tracker, seq=seq)
    for seq, place in enumerate(withdrawn, 100):
        if place < len(told):
            vessel, minutes, tracker = told[place]
            sql.run(unit, _WITHDRAW, vessel=vessel, recorded_at=_at(minutes), tracker=tracker, seq=seq)


def _history(unit: UnitOfWork, sight: Sight, *, descending: bool) -> list[datetime]:
    window = Window(vessel_id=1, descending=descending)
    page = unit.history(sight).page(window, WRITERS["json"].form, limit=1_000)
    return [datetime.fromisoformat(each["recorded_at"]) for each in orjson.loads(f"[{page.fixes}]")]


def _track(unit: UnitOfWork, sight: Sight) -> list[datetime]:
    fixes = unit.tracks(sight).columns(1, most=1_000).fixes
    return [fixes.moment(place) for place in range(len(fixes.recorded_at))]


def _feed(unit: UnitOfWork, sight: Sight, limit: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    number = 0
    while True:
        page = unit.feed(sight, item_key=b"key").page(number, limit=limit)
        items += orjson.loads(f"[{page.items}]")
        number = page.next
        if not page.has_more:
            return items


def _time_of(item: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(item["recorded_at"])


@given(
    told=_fixes,
    withdrawn=st.lists(st.integers(0, 24), max_size=4, unique=True),
    oldest=_minutes,
    moment=_minutes,
    decimals=st.sampled_from([6, 3, 1]),
    late=st.none() | st.integers(0, 600),
    limit=st.integers(1, 30),
)
@settings(max_examples=many(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_shown_what_others_are_from_then_on(
    world: World, told, withdrawn, oldest, moment, decimals, late, limit
):
    horizon = None if late is None else Horizon(moment=_at(max(late, moment)), number=10**6)
    whole = Sight.of(replace(EVERYTHING, coordinate_decimals=decimals), horizon)
    sight = replace(whole, oldest=_at(oldest))
    begin = sight.begin
    with rolled_back(world.database) as unit:
        sql.run(unit, _VESSELS)
        _store(unit, told, withdrawn)
        for descending in (False, True):
            shown = _history(unit, whole, descending=descending)
            assert _history(unit, sight, descending=descending) == [each for each in shown if each >= begin]
        seen = [each for each in _history(unit, whole, descending=False) if each >= begin]
        page = unit.history(sight).page(Window(vessel_id=1), WRITERS["json"].form, limit=1_000)
        assert page.available_from == (seen[0] if seen else None)
        assert _track(unit, sight) == [each for each in _track(unit, whole) if each >= begin]
        then = unit.moments(whole, _at(moment)).fixes([1, 2], gap=timedelta(minutes=30))
        assert unit.moments(sight, _at(moment)).fixes([1, 2], gap=timedelta(minutes=30)) == {
            vessel: known for vessel, known in then.items() if known.before.recorded_at >= begin
        }
        items = _feed(unit, sight, limit)
        expected = _feed(unit, whole, 1_000)
        upserts = [each for each in expected if each["op"] == "upsert" and _time_of(each) >= begin]
        assert [each for each in items if each["op"] == "upsert"] == upserts
        # What it may have a copy of from before is told to be gone.
        told_gone = {each["id"] for each in items if each["op"] == "delete"}
        assert told_gone >= {each["id"] for each in expected if each["op"] == "delete"}


def test_it_stands_still_for_an_hour():
    key = replace(EVERYTHING, history_days=7)
    sight = Sight.of(key, None)
    age = datetime.now(UTC) - sight.oldest
    assert timedelta(days=7) <= age < timedelta(days=7, hours=1, seconds=5)
    assert floored(sight.oldest, timedelta(hours=1)) == sight.oldest
    assert not sight.sees_all


def test_what_is_kept_for_one_is_kept_for_those_alone_who_see_as_far_back():
    near, far = (Kind.of(replace(EVERYTHING, history_days=days)) for days in (7, None))
    assert near != far
    assert near.viewer.history_days == 7
    # Where vessels are now is the same for both.
    assert near.now == far.now == far
