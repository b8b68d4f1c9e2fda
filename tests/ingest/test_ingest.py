"""What becomes of fixes: judgement, quarantine and history together, over a real database."""

import itertools
import math
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.examples import many
from tests.support.factories import ACTOR, EPOCH, SigningTracker, World, a_fix
from tests.support.urls import CHECK
from tests.support.urls import POSITIONS as POST

from harbor_api.domain.changes import Edit
from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.positions import Fix, Gap, Motion, Receipt, ReceivedFix, Submission, Verdict
from harbor_api.ingest import settling
from harbor_api.services import vessels

HERE, THERE, ELSEWHERE = 59.9, 50.0, 20.0
METRES_PER_DEGREE = math.radians(6_371_008.8)
JUMP, OUTVOTED = "impossible_jump", "outvoted"


def _received_fix(tracker: SigningTracker, seconds: float, lat: float = HERE, **motion: Any) -> ReceivedFix:
    recorded_at = EPOCH + timedelta(seconds=seconds)
    return ReceivedFix(
        vessel_id=tracker.tracker.vessel_at(recorded_at),
        tracker_id=tracker.tracker.number,
        received_at=EPOCH + timedelta(days=1),
        fix=Fix(recorded_at=recorded_at, motion=Motion(lat=lat, **{"lon": 10.7, **motion})),
        raw={"lat": lat},
    )


def _submissions(received_fixes: Iterable[ReceivedFix]) -> list[Submission]:
    """Return received_fixes as their trackers send them: neighbours of one tracker in one request."""
    return [
        Submission(tracker_id=number, fixes=tuple(group))
        for number, group in itertools.groupby(received_fixes, lambda received_fix: received_fix.tracker_id)
    ]


def _settle(
    world: World, *received_fixes: ReceivedFix, thresholds: Thresholds | None = None
) -> list[Verdict]:
    """Settle received_fixes in one group and return a verdict for each, in order."""
    receipts: Sequence[Receipt] = world.database.transact(
        lambda unit_of_work: settling.settle(
            unit_of_work, _submissions(received_fixes), thresholds=thresholds or Thresholds()
        )
    )
    return [verdict for receipt in receipts for verdict in receipt.verdicts]


def _told(world: World, *received_fixes: ReceivedFix, thresholds: Thresholds | None = None) -> list[str]:
    """Return verdicts in a word: of a quarantined one the reason."""
    return [each.reason or each.verdict for each in _settle(world, *received_fixes, thresholds=thresholds)]


def _one_by_one(world: World, *received_fixes: ReceivedFix) -> list[str]:
    return [told for received_fix in received_fixes for told in _told(world, received_fix)]


def _rows(world: World, table: str, *left_out: str) -> list[str]:
    """Return the rows of a table as text, in order, without some columns."""
    statement = f"SELECT (to_jsonb(t) - CAST(:left_out AS text[]))::text FROM {table} AS t"
    return sorted(sql.column(world.database, statement, left_out=list(left_out)))


def _outcome(world: World) -> list[list[str]]:
    """Return what is stored, shown and held, without the numbers that only say when."""
    return [
        _rows(world, "positions", "seq"),
        _rows(world, "latest_positions", "seq"),
        _rows(world, "quarantine", "id"),
    ]


def _everything(world: World) -> dict[str, list[str]]:
    """Return all rows of all tables."""
    names = sql.column(world.database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert {"positions", "latest_positions", "quarantine", "arrived_numbers", "audit"} <= set(names)
    return {name: _rows(world, name) for name in names}


def _clear(world: World) -> None:
    sql.run(world.database, "TRUNCATE positions, latest_positions, quarantine, arrived_numbers")


def _is_waiting(world: World) -> bool:
    """Tell whether anybody waits for an advisory lock."""
    waiting = "pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
    return sql.count(world.database, waiting) > 0


class TestJumps:
    @pytest.mark.parametrize("seconds", [60, -60])
    def test_an_impossible_one_is_held(self, world: World, seconds):
        tracker = world.tracker()
        assert _told(world, _received_fix(tracker, 0)) == ["stored"]
        before = _rows(world, "positions"), _rows(world, "latest_positions")

        assert _settle(world, _received_fix(tracker, seconds, THERE)) == [
            Verdict(verdict="quarantined", latest=False, reason=JUMP)
        ]

        assert (_rows(world, "positions"), _rows(world, "latest_positions")) == before
        assert len(_rows(world, "quarantine")) == 1

    def test_from_both_neighbours_the_one_between_is_held(self, world: World):
        tracker = world.tracker()
        _told(world, _received_fix(tracker, 0), _received_fix(tracker, 120))
        assert _told(world, _received_fix(tracker, 60, THERE)) == [JUMP]
        assert _told(world, _received_fix(tracker, 61)) == ["stored"]

    @pytest.mark.parametrize("direction", [1, -1])
    def test_after_three_that_agree_the_next_is_believed(self, world: World, direction):
        tracker = world.tracker()
        wrong = _received_fix(tracker, 0)
        _told(world, wrong)
        fixes = [_received_fix(tracker, direction * 60 * n, THERE) for n in range(1, 6)]
        assert _one_by_one(world, *fixes) == [JUMP, JUMP, JUMP, "stored", "stored"]
        # With them those three are stored by now, and the wrong one is held.
        assert _one_by_one(world, *fixes, wrong) == ["duplicate"] * 5 + [OUTVOTED]

    @pytest.mark.parametrize("direction", [1, -1])
    def test_all_of_a_group_are_told_what_became_of_them_in_the_end(self, world: World, direction):
        tracker = world.tracker()
        wrong = _received_fix(tracker, 0)
        fixes = [_received_fix(tracker, direction * 60 * n, THERE) for n in range(1, 6)]
        assert _told(world, wrong, wrong) == ["stored", "duplicate"]
        told = ["stored", "duplicate", *["stored"] * 4, OUTVOTED]
        assert _told(world, fixes[0], *fixes, wrong) == told
        _clear(world)
        # The same in one group, of which the wrong one is a part; backwards it is only one jump of it.
        told[-1] = OUTVOTED if direction > 0 else JUMP
        assert _told(world, fixes[0], *fixes, wrong) == told
        assert _told(world, *fixes, wrong) == ["duplicate"] * 5 + told[-1:]

    def test_those_that_are_held_count_over_groups(self, world: World):
        tracker = world.tracker()
        fixes = [_received_fix(tracker, 60 * n, THERE) for n in range(1, 6)]
        assert _told(world, _received_fix(tracker, 0), fixes[0]) == ["stored", JUMP]
        assert _told(world, *fixes[1:3]) == [JUMP, JUMP]
        assert _told(world, *fixes[3:]) == ["stored", "stored"]

    def test_those_that_do_not_agree_are_never_believed(self, world: World):
        tracker = world.tracker()
        _told(world, _received_fix(tracker, 0))
        fixes = [_received_fix(tracker, 60 * n, -80 + 20 * (n % 6)) for n in range(1, 12)]
        assert set(_told(world, *fixes[:6])) == {JUMP}
        assert set(_one_by_one(world, *fixes[6:])) == {JUMP}

    def test_those_held_for_another_reason_do_not_count(self, world: World):
        tracker = world.tracker()
        near_null = {"lat": 0.001, "lon": 0}
        _told(world, _received_fix(tracker, 0))
        for n in range(1, 4):
            assert _told(world, _received_fix(tracker, 60 * n, 0, lon=0)) == ["null_island"]
        assert _told(world, _received_fix(tracker, 240, **near_null)) == [JUMP]

    @pytest.mark.parametrize(
        ("limit", "metres", "told"),
        [
            (None, 2_300, "stored"),
            (None, 2_400, JUMP),
            (10, 800, "stored"),
            (10, 820, JUMP),
            (500, 15_900, "stored"),
            (500, 16_000, JUMP),
        ],
    )
    def test_the_vessels_own_limit_of_speed_counts(self, world: World, limit, metres, told):
        """Within a minute she may come as far as her limit and two radii of 250 m allow."""
        tracker = world.tracker(world.vessel(max_speed_kn=limit))
        north = HERE + metres / METRES_PER_DEGREE
        assert _told(world, _received_fix(tracker, 0), _received_fix(tracker, 60, north)) == ["stored", told]

    def test_her_limit_holds_from_the_next_fix_on(self, world: World):
        vessel = world.vessel()
        tracker = world.tracker(vessel)
        north = HERE + 11_000 / METRES_PER_DEGREE
        assert _told(world, _received_fix(tracker, 0), _received_fix(tracker, 60, north)) == ["stored", JUMP]
        with world.database.unit_of_work() as unit_of_work:
            vessels.change(unit_of_work, vessel.id, Edit({"max_speed_kn": 500}), versions=None, actor=ACTOR)
        assert _told(world, _received_fix(tracker, 61, north)) == ["stored"]

    def test_the_operators_limits_count_where_she_has_none(self, world: World):
        usual, fast = (world.tracker(world.vessel(max_speed_kn=limit)) for limit in (None, 500))
        north = HERE + 11_000 / METRES_PER_DEGREE
        fixes = [_received_fix(each, n, lat) for each in (usual, fast) for n, lat in ((0, HERE), (60, north))]
        assert _told(world, *fixes) == ["stored", JUMP, "stored", "stored"]
        _clear(world)
        assert _told(world, *fixes, thresholds=Thresholds(max_speed_kn=400)) == ["stored"] * 4
        _clear(world)
        assert _told(world, *fixes, thresholds=Thresholds(noise_m=5_500)) == ["stored"] * 4


class TestTwoTrackers:
    @pytest.fixture
    def pair(self, world: World) -> tuple[SigningTracker, SigningTracker]:
        vessel = world.vessel()
        return world.tracker(vessel), world.tracker(vessel)

    @pytest.mark.parametrize("settle", [_told, _one_by_one])
    def test_of_one_vessel_are_judged_together(self, world: World, pair, settle):
        one, other = pair
        assert settle(
            world, _received_fix(one, 0), _received_fix(other, 60, THERE), _received_fix(other, 90)
        ) == [
            "stored",
            JUMP,
            "stored",
        ]

    @pytest.mark.parametrize("settle", [_told, _one_by_one])
    def test_may_be_apart_by_a_ships_length_at_one_time(self, world: World, pair, settle):
        one, other = pair
        ahead = HERE + 400 / METRES_PER_DEGREE
        assert settle(world, _received_fix(one, 0), _received_fix(other, 0, ahead)) == ["stored", "stored"]
        assert settle(world, _received_fix(one, 1), _received_fix(other, 1, THERE)) == ["stored", JUMP]

    def test_speak_for_each_other_when_they_are_held(self, world: World, pair):
        _told(world, _received_fix(pair[0], 0))
        fixes = [_received_fix(pair[n % 2], 60 * n, THERE) for n in range(1, 5)]
        assert _one_by_one(world, *fixes) == [JUMP, JUMP, JUMP, "stored"]

    def test_at_one_time_are_neighbours_in_a_group_as_they_are_apart(self, world: World, pair):
        one, other = pair
        apart = 490 / METRES_PER_DEGREE
        following = [_received_fix(other, 0, HERE + apart), _received_fix(other, 1, HERE + 2 * apart)]
        _told(world, _received_fix(one, 0))
        alone = _one_by_one(world, *following)
        _clear(world)
        _told(world, _received_fix(one, 0))
        assert _told(world, *following) == alone

    def test_that_send_at_once_are_judged_one_after_the_other(self, world: World, pair):
        """The second waits for what the first one has not committed yet, and is judged by it."""
        one, other = pair
        told: list[str] = []
        thread = threading.Thread(target=lambda: told.extend(_told(world, _received_fix(other, 60, THERE))))
        with world.database.unit_of_work() as unit_of_work:
            settling.settle(unit_of_work, _submissions([_received_fix(one, 0)]), thresholds=Thresholds())
            thread.start()
            # Wait until it has come to the lock; without one it is through before.
            deadline = time.monotonic() + 4
            while thread.is_alive() and not _is_waiting(world):
                assert time.monotonic() < deadline
                time.sleep(0.01)
        thread.join()
        assert told == [JUMP]

    def test_of_two_vessels_have_nothing_to_do_with_each_other(self, world: World):
        one, other = world.tracker(), world.tracker()
        fixes = [
            _received_fix(one, 0),
            _received_fix(other, 0, THERE),
            _received_fix(one, 60),
            _received_fix(other, 60, THERE),
        ]
        assert _told(world, *fixes) == ["stored"] * 4
        assert [verdict.latest for verdict in _settle(world, *fixes)] == [False, False, True, True]


class TestRepeats:
    def test_of_a_held_fix_get_the_same_verdict(self, world: World):
        tracker = world.tracker()
        jump = _received_fix(tracker, 60, THERE)
        first = _settle(world, _received_fix(tracker, 0), jump, jump)
        assert [each.reason for each in first] == [None, JUMP, JUMP]
        held = _rows(world, "quarantine")

        assert _settle(world, jump) == [first[1]]
        assert _settle(world, jump, jump, _received_fix(tracker, 30)) == [
            first[1],
            first[1],
            Verdict(verdict="stored", latest=True),
        ]
        assert _rows(world, "quarantine") == held

    def test_of_a_held_fix_get_it_even_where_it_would_now_be_believed(self, world: World):
        tracker = world.tracker()
        jump = _received_fix(tracker, 60, THERE)
        assert _told(world, _received_fix(tracker, 0), jump) == ["stored", JUMP]
        sql.run(world.database, "TRUNCATE positions, latest_positions")
        assert _told(world, jump, _received_fix(tracker, 120, THERE)) == [JUMP, "stored"]

    def test_of_a_held_fix_that_say_something_else_stay_held_as_it_was(self, world: World):
        tracker = world.tracker()
        _told(world, _received_fix(tracker, 0), _received_fix(tracker, 60, THERE))
        held = _rows(world, "quarantine")
        assert _told(world, _received_fix(tracker, 60)) == [JUMP]
        assert _told(world, _received_fix(tracker, 60, 0, lon=0)) == [JUMP]
        assert _rows(world, "quarantine") == held

    @pytest.mark.parametrize("other", [{"lat": THERE}, {"lat": 0, "lon": 0}])
    def test_of_a_stored_fix_that_would_be_held_are_duplicates(self, world: World, other):
        tracker = world.tracker()
        _told(world, _received_fix(tracker, 0), _received_fix(tracker, 60))
        stored = _rows(world, "positions")

        # What a duplicate says is forgotten: it is nobody's neighbour.
        verdicts = _settle(world, _received_fix(tracker, 60, **other), _received_fix(tracker, 61))

        assert verdicts == [
            Verdict(verdict="duplicate", latest=False, differs=True),
            Verdict(verdict="stored", latest=True),
        ]
        assert set(stored) < set(_rows(world, "positions"))
        assert _rows(world, "quarantine") == []

    def test_within_a_group_are_of_the_one_that_comes_first(self, world: World):
        tracker = world.tracker()
        fixes = [
            _received_fix(tracker, 0, sog=2),
            _received_fix(tracker, 0, sog=1),
            _received_fix(tracker, 0, sog=1),
        ]
        for order in itertools.permutations(range(3)):
            _clear(world)
            verdicts = _settle(world, *(fixes[place] for place in order))
            by_place = dict(zip(order, verdicts, strict=True))
            assert by_place[0] == Verdict(verdict="duplicate", latest=True, differs=True)
            assert {by_place[1].verdict, by_place[2].verdict} == {"stored", "duplicate"}


class TestReceipts:
    def test_go_to_their_deliveries(self, world: World):
        one, other = world.tracker(), world.tracker()
        submissions = [
            Submission(
                tracker_id=one.tracker.number,
                fixes=(_received_fix(one, 60), _received_fix(one, 0), _received_fix(one, 30, THERE)),
                numbers=(3, 1, 2),
            ),
            Submission(tracker_id=other.tracker.number, fixes=(), numbers=(1, 5)),
            Submission(
                tracker_id=other.tracker.number, fixes=(_received_fix(other, 0, THERE),), numbers=(7,)
            ),
            Submission(tracker_id=one.tracker.number, fixes=(_received_fix(one, 0),)),
            Submission(tracker_id=one.tracker.number, fixes=()),
        ]
        receipts = world.database.transact(
            lambda unit_of_work: settling.settle(unit_of_work, submissions, thresholds=Thresholds())
        )
        assert [[each.reason or each.verdict for each in receipt.verdicts] for receipt in receipts] == [
            ["stored", "stored", JUMP],
            [],
            ["stored"],
            ["duplicate"],
            [],
        ]
        gaps = (Gap(first=2, last=4), Gap(first=6, last=6))
        assert [receipt.missing for receipt in receipts] == [(), gaps, gaps, (), ()]

    def test_of_nothing_are_empty(self, world: World):
        assert _settle(world) == []


# Few moments and places, so that most fixes meet: a repeat, a jump, company.
_moments = st.integers(0, 8).map(lambda n: 60 * n)
_places = st.sampled_from([(HERE, 10.7), (HERE, 10.7), (THERE, 10.7), (ELSEWHERE, 10.7), (0, 0)])
_sent = st.lists(st.tuples(st.integers(0, 2), _moments, _places, st.sampled_from([1, 2])), max_size=14)
_thorough = settings(
    max_examples=many(40),
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def fleet(world: World) -> list[SigningTracker]:
    """Return two trackers of one vessel and one of another."""
    vessel = world.vessel()
    return [world.tracker(vessel), world.tracker(vessel), world.tracker()]


@_thorough
@given(earlier=_sent, sent=_sent, chance=st.randoms(use_true_random=False))
def test_the_order_within_a_group_does_not_matter(world: World, fleet, earlier, sent, chance):
    known = [_received_fix(fleet[who], moment, lat, lon=lon) for who, moment, (lat, lon), _ in earlier]
    received_fixes = [
        _received_fix(fleet[who], moment, lat, lon=lon, sog=sog) for who, moment, (lat, lon), sog in sent
    ]
    outcomes = []
    shuffled = list(received_fixes)
    chance.shuffle(shuffled)
    for order in (received_fixes, shuffled):
        _clear(world)
        _settle(world, *known)
        verdicts = sorted(repr(each) for each in zip(order, _settle(world, *order), strict=True))
        outcomes.append((verdicts, _outcome(world)))
    assert outcomes[0] == outcomes[1]


@_thorough
@given(earlier=_sent, sent=_sent)
def test_a_group_ends_as_its_fixes_would_one_by_one(world: World, fleet, earlier, sent):
    """In order of time, and each with a moment of its own: repeats are another test's."""
    known = [_received_fix(fleet[who], moment, lat, lon=lon) for who, moment, (lat, lon), _ in earlier]
    by_key = {(who, moment): place for who, moment, place, _ in sent}
    received_fixes = [
        _received_fix(fleet[who], moment, lat, lon=lon)
        for (who, moment), (lat, lon) in sorted(by_key.items(), key=lambda item: (item[0][1], item[0][0]))
    ]
    outcomes = []
    for settle in (_told, _one_by_one):
        _clear(world)
        _settle(world, *known)
        outcomes.append((settle(world, *received_fixes), _outcome(world)))
    assert outcomes[0] == outcomes[1]


@_thorough
@given(sent=_sent)
def test_what_is_sent_again_changes_nothing(world: World, fleet, sent):
    _clear(world)
    received_fixes = [
        _received_fix(fleet[who], moment, lat, lon=lon, sog=sog) for who, moment, (lat, lon), sog in sent
    ]
    first = _settle(world, *received_fixes)
    outcome = _outcome(world)
    again = _settle(world, *received_fixes)
    assert [each.reason for each in again] == [each.reason for each in first]
    assert {each.verdict for each in again} <= {"duplicate", "quarantined"}
    assert _outcome(world) == outcome


@settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(sent=_sent.map(lambda sent: sent[:8]))
def test_the_check_foresees_each_verdict_and_leaves_no_trace(
    client: CheckedClient, world: World, fleet, sent
):
    _clear(world)
    for place, (who, moment, (lat, lon), sog) in enumerate(sent):
        fix: Mapping[str, Any] = a_fix(moment, lat=lat, lon=lon, sog=sog, number=3 * place)
        before = _everything(world)
        foreseen: Any = client.post(CHECK, **fleet[who].signed(fix, url=CHECK)).json
        assert _everything(world) == before
        happened: Any = client.post(POST, **fleet[who].signed(fix)).json
        happened.pop("missing", None)
        foreseen["verdict"] = foreseen.pop("would_be")
        assert foreseen == happened
