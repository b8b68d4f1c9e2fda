"""The audit trail is written in the transaction of the change: both, or neither."""

from datetime import timedelta

import pytest
from tests.support.factories import ACTOR, EPOCH, World

from harbor_api.domain.audit import AuditEntry
from harbor_api.domain.changes import Edit
from harbor_api.domain.errors import Conflict
from harbor_api.services import audit, trackers, vessels


def _trail(world: World) -> list[AuditEntry]:
    with world.database.unit_of_work() as unit_of_work:
        return unit_of_work.audit.search(after=None, limit=100, newest_first=False)


def test_a_change_that_fails_leaves_no_entry(world: World):
    vessel, taken = world.vessel("One"), world.vessel("Two", imo="9074729")
    before = _trail(world)
    with pytest.raises(Conflict), world.database.unit_of_work() as unit_of_work:
        vessels.change(unit_of_work, vessel.id, Edit({"imo": taken.details.imo}), versions=None, actor=ACTOR)
    assert _trail(world) == before


def test_what_fails_after_a_change_takes_its_entry_back(world: World):
    vessel = world.vessel()
    before = _trail(world)

    def retire_and_fail() -> None:
        with world.database.unit_of_work() as unit_of_work:
            vessels.retire(unit_of_work, vessel.id, actor=ACTOR)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        retire_and_fail()
    assert _trail(world) == before
    with world.database.unit_of_work() as unit_of_work:
        assert unit_of_work.vessels.lock(vessel.id).retired_at is None


def test_only_what_differs_is_kept(world: World):
    vessel = world.vessel("Old", flag="NO")
    with world.database.unit_of_work() as unit_of_work:
        vessels.change(
            unit_of_work, vessel.id, Edit({"name": "New", "flag": "NO"}), versions=None, actor=ACTOR
        )
    entry = _trail(world)[-1]
    assert (entry.action, entry.before, entry.after) == ("vessel.changed", {"name": "Old"}, {"name": "New"})


def test_a_change_of_nothing_is_none(world: World):
    vessel = world.vessel("Same")
    before = _trail(world)
    with world.database.unit_of_work() as unit_of_work:
        after = vessels.change(unit_of_work, vessel.id, Edit({"name": "Same"}), versions=None, actor=ACTOR)
        vessels.restore(unit_of_work, vessel.id, actor=ACTOR)
    assert after.version == vessel.version
    assert _trail(world) == before


def test_times_and_sets_are_plain_json(world: World):
    with world.database.unit_of_work() as unit_of_work:
        audit.note(
            unit_of_work, ACTOR, "x.y", "x/1", after={"at": EPOCH, "set": frozenset({2, 1}), "none": None}
        )
    assert _trail(world)[-1].after == {"at": "2026-01-02T03:04:05.000000Z", "set": [1, 2]}


def test_a_rotation_tells_the_generation_and_no_secret(world: World):
    tracker = world.tracker()
    with world.database.unit_of_work() as unit_of_work:
        trackers.rotate(unit_of_work, tracker.tracker.number, grace=timedelta(days=1), now=EPOCH, actor=ACTOR)
    entry = _trail(world)[-1]
    assert entry.after == {"generation": 2, "previous_valid_until": "2026-01-03T03:04:05.000000Z"}
    assert entry.before == {"generation": 1, "previous_valid_until": None}
