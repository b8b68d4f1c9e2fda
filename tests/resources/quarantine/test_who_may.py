"""Who may read the quarantine, and who may decide."""

import pytest
from tests.resources.quarantine.held_fixes import DECISIONS, decide_on, hold, listed
from tests.support.checked_client import CheckedClient
from tests.support.factories import World
from tests.support.urls import QUARANTINE as URL


class TestWhoMay:
    @pytest.mark.parametrize("scopes", [("vessels:read",), ("trackers:write", "vessels:write", "keys:write")])
    def test_a_key_without_the_scope_reads_and_decides_nothing(
        self, client: CheckedClient, world: World, operator, scopes
    ):
        hold(client, world.tracker())
        [held] = listed(client, operator)
        stranger = world.bearer(*scopes)

        answers = [
            client.get(URL, headers=stranger),
            *(decide_on(client, stranger, held["id"], what) for what in DECISIONS),
            *(decide_on(client, stranger, 999, what) for what in DECISIONS),
        ]

        assert {(each.status_code, each.json["code"]) for each in answers} == {(403, "scope_missing")}
        assert listed(client, operator) == [held]

    def test_who_may_read_may_not_decide(self, client: CheckedClient, world: World, operator):
        hold(client, world.tracker())
        [held] = listed(client, operator)
        reader = world.bearer("quarantine:read")
        assert listed(client, reader) == [held]
        for what in DECISIONS:
            assert decide_on(client, reader, held["id"], what).status_code == 403

    def test_nobody_may_without_a_key(self, client: CheckedClient):
        for answer in (client.get(URL), client.post(f"{URL}/1/release"), client.post(f"{URL}/1/reject")):
            assert (answer.status_code, answer.json["code"]) == (401, "key_missing")
