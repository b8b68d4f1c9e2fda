"""How many fixes and bytes a batch may have, and what it counts for the rate limit."""

import json
import re

import pytest
from tests.resources.position_batch.batches import LATEST, STORED, post, problem_of, stored_in, verdicts_of
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import BATCH as URL
from tests.support.urls import POSITIONS as ALONE


class TestSize:
    def test_a_thousand_are_taken(self, client: CheckedClient, world: World):
        verdicts = verdicts_of(client, world.tracker(), [a_fix(n) for n in range(1000)])
        assert verdicts == [STORED] * 999 + [LATEST]
        assert len(stored_in(world)) == 1000

    @pytest.mark.parametrize("count", [1001, 5001, 20_000])
    def test_more_than_a_thousand_are_too_large(self, client: CheckedClient, world: World, count):
        answer = client.post(URL, **world.tracker().signed({"fixes": [0] * count}))
        problem_of(answer, 413, "body_too_large")
        assert str(count) in answer.json["detail"]

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ([], "#"),
            ([a_fix()], "#"),
            (1, "#"),
            (None, "#"),
            ("x", "#"),
            ({}, "#/fixes"),
            (a_fix(), "#/fixes"),
            ({"fixes": None}, "#/fixes"),
            ({"fixes": {}}, "#/fixes"),
            ({"fixes": "x"}, "#/fixes"),
            ({"fixes": a_fix()}, "#/fixes"),
            ({"fixes": []}, "#/fixes"),
            ({"Fixes": [a_fix()]}, "#/fixes"),
        ],
        ids=repr,
    )
    def test_another_shape_is_refused_whole_and_never_as_invalid(
        self, client: CheckedClient, world: World, body, pointer
    ):
        answer = client.post(URL, **world.tracker().signed(json.dumps(body).encode()))
        problem = problem_of(answer, 400, "not_a_batch")
        # Beside what is missing, members that may have been meant for it are named.
        assert pointer in {error["pointer"] for error in problem["errors"]}
        assert stored_in(world) == []

    def test_members_beside_the_fixes_are_passed_over_and_named(self, client: CheckedClient, world: World):
        body = {"firmware": "2.1", "fixes": [a_fix()], "x" * 100: [[]]}
        answer = client.post(URL, **world.tracker().signed(body))
        assert answer.json == {"verdicts": [LATEST], "ignored": ["firmware", "x" * 64]}

    @pytest.mark.parametrize(
        "url_and_most", [(URL, 512 * 1024), (ALONE, 64 * 1024)], ids=["a batch", "a single fix"]
    )
    def test_bodies_are_bounded_as_they_are_sent(self, client: CheckedClient, world: World, url_and_most):
        url, most = url_and_most
        body = json.dumps({"fixes": [a_fix()]} if url == URL else a_fix()).encode()
        tracker = world.tracker()

        problem_of(client.post(url, **tracker.signed(body.ljust(most + 1))), 413, "body_too_large")
        assert stored_in(world) == []
        assert client.post(url, **tracker.signed(body.ljust(most))).status_code in {200, 201}

    def test_a_batch_counts_as_one_request(self, client: CheckedClient, world: World):
        tracker = world.tracker()

        def left() -> int:
            answer = post(client, tracker, [a_fix(n) for n in range(50)])
            told = re.search(r"r=(\d+)", answer.headers["RateLimit"])
            assert told is not None
            return int(told[1])

        # At the edge of a window that slides, one may just be given back.
        assert left() - left() in {0, 1}
