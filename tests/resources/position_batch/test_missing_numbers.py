"""Fixes that are numbered: the answer tells which numbers have not come."""

from itertools import groupby
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.resources.position_batch.batches import LATEST, STORED, post
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import POSITIONS as ALONE
from tests.support.urls import TRACKERS


def _gaps(*gaps: tuple[int, int]) -> list[dict[str, int]]:
    return [{"first": first, "last": last} for first, last in gaps]


def _numbered(*numbers: Any) -> list[dict[str, Any]]:
    """Return fixes that count as arrived and are quickly refused."""
    return [{"number": number} for number in numbers]


class TestNumbers:
    def test_gaps_appear_shrink_and_disappear(self, client: CheckedClient, world: World):
        tracker, operator = world.tracker(), world.bearer("trackers:read")

        def missing(*numbers: int) -> Any:
            answer = post(client, tracker, [a_fix(n, number=n) for n in numbers])
            shown = client.get(f"{TRACKERS}/{tracker.tracker.number}", headers=operator).json["missing"]
            assert answer.json.get("missing", []) == shown
            return shown

        assert missing(10, 11) == []
        assert missing(15) == _gaps((12, 14))
        assert missing(20, 18) == _gaps((12, 14), (16, 17), (19, 19))
        assert missing(13) == _gaps((12, 12), (14, 14), (16, 17), (19, 19))
        assert missing(16, 14) == _gaps((12, 12), (17, 17), (19, 19))
        assert missing(8) == _gaps((9, 9), (12, 12), (17, 17), (19, 19))
        assert missing(19, 17, 12, 9, 12) == []

    def test_a_single_post_is_told_too(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        post(client, tracker, [a_fix(0, number=1)])
        assert client.post(ALONE, **tracker.signed(a_fix(3, number=4))).json == {
            **LATEST,
            "missing": _gaps((2, 3)),
        }
        assert post(client, tracker, [a_fix(n, number=n + 1) for n in (1, 2)]).json == {
            "verdicts": [STORED, STORED]
        }

    def test_whoever_does_not_count_is_told_nothing(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        post(client, tracker, _numbered(1, 5))
        assert "missing" not in post(client, tracker, [a_fix()]).json
        assert client.post(ALONE, **tracker.signed(a_fix(1))).json.keys() == LATEST.keys()

    def test_those_of_another_tracker_are_its_own(self, client: CheckedClient, world: World):
        vessel = world.vessel()
        one, other = world.tracker(vessel), world.tracker(vessel)
        assert post(client, one, _numbered(1, 5)).json["missing"] == _gaps((2, 4))
        assert "missing" not in post(client, other, _numbered(3)).json

    def test_every_verdict_counts_as_arrived(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        client.post(ALONE, **tracker.signed(a_fix(0, number=1)))
        answer = post(
            client,
            tracker,
            [
                a_fix(60, number=2),
                a_fix(0, number=3),
                a_fix(30, number=4, lat=0, lon=0),
                a_fix(90, number=5, lat=91),
                a_fix(90, number=6, lat="59.9"),
                {"number": 7},
                a_fix(120, number=8),
            ],
        )
        assert {each["verdict"] for each in answer.json["verdicts"]} == {
            "stored",
            "duplicate",
            "quarantined",
            "invalid",
        }
        assert "missing" not in answer.json

    def test_what_is_no_number_is_not_counted(self, client: CheckedClient, world: World):
        odd = [True, False, "3", -1, 2**53, 10**300, 1.5, None, [], {}]
        answer = post(client, world.tracker(), [*_numbered(*odd), *_numbered(7), 9, [11]])
        assert {each["verdict"] for each in answer.json["verdicts"]} == {"invalid"}
        assert "missing" not in answer.json

    def test_the_largest_number_is_counted(self, client: CheckedClient, world: World):
        answer = post(client, world.tracker(), [a_fix(0, number=0), a_fix(1, number=2**53 - 1)])
        assert answer.json["missing"] == _gaps((1, 2**53 - 2))

    def test_a_number_without_a_fraction_is_counted_like_alone(self, client: CheckedClient, world: World):
        alone, batch = world.tracker(), world.tracker()
        for number in (1.0, 3.0):
            last = client.post(ALONE, **alone.signed(a_fix(number, number=number)))
        assert last.json["missing"] == _gaps((2, 2))
        assert post(client, batch, [a_fix(n, number=n) for n in (1.0, 3.0)]).json["missing"] == _gaps((2, 2))
        # And where its fix is refused.
        assert client.post(ALONE, **alone.signed(a_fix(number=2.0, lat="x"))).status_code == 422
        last = client.post(ALONE, **alone.signed(a_fix(4, number=4)))
        assert "missing" not in (last.json or {})
        assert "missing" not in post(client, batch, [a_fix(number=2.0, lat="x"), a_fix(4, number=4)]).json

    def test_the_newest_twenty_gaps_are_told(self, client: CheckedClient, world: World):
        answer = post(client, world.tracker(), _numbered(*range(0, 52, 2)))
        assert answer.json["missing"] == _gaps(*((n, n) for n in range(11, 50, 2)))

    def test_beyond_a_thousand_ranges_the_oldest_gaps_are_given_up(self, client: CheckedClient, world: World):
        tracker = world.tracker()

        def ranges() -> list[tuple[int, int]]:
            found = sql.run(
                world.database,
                "SELECT lower(r) AS first, upper(r) - 1 AS last "
                "FROM arrived_numbers, unnest(numbers) AS r ORDER BY r",
            )
            return [(row.first, row.last) for row in found]

        post(client, tracker, _numbered(*range(0, 2000, 2)))
        assert ranges() == [(n, n) for n in range(0, 2000, 2)]

        answer = post(client, tracker, _numbered(2000))

        newest = _gaps(*((n, n) for n in range(1961, 2000, 2)))
        assert answer.json["missing"] == newest
        kept = ranges()
        assert len(kept) <= 501
        assert (kept[0][0], kept[-1]) == (0, (2000, 2000))
        assert kept[1:] == [(n, n) for n in range(kept[1][0], 2001, 2)]
        # An old one that comes after all is no news, and the newest gaps are still told.
        assert post(client, tracker, _numbered(1)).json["missing"] == newest
        assert ranges() == kept

    @given(batches=st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=12), min_size=1, max_size=5))
    @settings(
        max_examples=25,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    def test_what_is_missing_is_all_between_that_has_not_come(
        self, client: CheckedClient, world: World, batches
    ):
        tracker = world.tracker()
        arrived: set[int] = set()
        for numbers in batches:
            arrived.update(numbers)
            answer = post(client, tracker, _numbered(*numbers))
            absent = [n for n in range(min(arrived), max(arrived)) if n not in arrived]
            runs = [
                [n for _, n in run] for _, run in groupby(enumerate(absent), lambda pair: pair[1] - pair[0])
            ]
            assert answer.json.get("missing", []) == _gaps(*((run[0], run[-1]) for run in runs[-20:]))
