"""HEAD: every read with a key answers what GET does, whatever becomes of it, without the body."""

from typing import Any

import pytest
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.operations import operations_of
from tests.support.urls import FEEDS, POSITIONS

# What says something of the one request, not of what is read.
_OF_THE_REQUEST = {"X-Request-Id", "RateLimit", "Harbor-Now"}
# These change with each request.
_WITHOUT_TAG = {"getMe", "followPositions", "streamPositions", "listFeeds", "getFeed", "readFeed"}


@pytest.mark.parametrize(
    ("query", "sent", "status"),
    [
        ("", {}, 200),
        ("", {"If-None-Match": "*"}, 304),
        ("", {"Authorization": ""}, 401),
        ("nonsense=1", {}, 400),
    ],
)
def test_head_answers_what_get_does(
    client: CheckedClient, world: World, document: dict[str, Any], admin, query, sent, status
):
    client.post(POSITIONS, **world.tracker(world.vessel()).signed(a_fix()))
    world.key()
    client.put(f"{FEEDS}/warehouse", json={}, headers=admin)
    for operation in operations_of(document):
        if operation.method != "GET" or "api_key" not in str(operation.security):
            continue
        # What stands in an answer may change with the first use of a key.
        client.get(operation.asked(), headers=admin)
        got, told = (
            client.open(operation.asked(query), method=method, headers=admin | sent)
            for method in ("GET", "HEAD")
        )
        is_new = operation.described["operationId"] in _WITHOUT_TAG
        expected = 200 if status == 304 and is_new else status
        assert (got.status_code, told.status_code) == (expected, expected), str(operation)
        assert told.data == b""
        assert _told(told) == _told(got), str(operation)


def _told(answer: Any) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in _OF_THE_REQUEST}
