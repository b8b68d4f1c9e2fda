"""What holds for every decision: it is made once, kept, audited, and one of two at the same time."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from flask import Flask
from tests.resources.quarantine.held_fixes import DECISIONS, decide_on, history_of, hold, listed
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import World
from tests.support.urls import AUDIT
from tests.support.urls import QUARANTINE as URL

from harbor_api.database import Database


class TestDecisions:
    @pytest.mark.parametrize("what", DECISIONS)
    def test_may_be_repeated(self, client: CheckedClient, world: World, operator, what):
        hold(client, world.tracker())
        [held] = listed(client, operator)
        answers = [decide_on(client, operator, held["id"], what) for _ in range(3)]
        assert {each.status_code for each in answers} == {200}
        assert answers[0].json == answers[1].json == answers[2].json
        assert len(self._audited(client, operator, held["id"])) == 1

    @pytest.mark.parametrize(("first", "second"), [("release", "reject"), ("reject", "release")])
    def test_are_not_turned_round(self, client: CheckedClient, world: World, operator, first, second):
        hold(client, world.tracker())
        [held] = listed(client, operator)
        decided = decide_on(client, operator, held["id"], first).json
        history = history_of(world.database)

        answer = decide_on(client, operator, held["id"], second)

        assert (answer.status_code, answer.json["code"]) == (409, "conflict")
        assert listed(client, operator) == [decided]
        assert history_of(world.database) == history
        assert len(self._audited(client, operator, held["id"])) == 1

    @pytest.mark.parametrize("id", ["999", "0", "x", "-1", "01", "2147483648"])
    @pytest.mark.parametrize("what", DECISIONS)
    def test_are_404_where_there_is_no_such_fix(
        self, client: CheckedClient, world: World, operator, id, what
    ):
        hold(client, world.tracker())
        answer = client.post(f"{URL}/{id}/{what}", headers=operator)
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
        assert [each["state"] for each in listed(client, operator)] == ["held"]

    @pytest.mark.parametrize(("what", "state"), DECISIONS.items())
    def test_are_audited(self, client: CheckedClient, world: World, what, state):
        key, secret = world.key("quarantine:read", "quarantine:write", "audit:read")
        headers = {"Authorization": f"Bearer {secret}"}
        hold(client, world.tracker())
        [held] = listed(client, headers)
        assert self._audited(client, headers, held["id"]) == []

        answer = decide_on(client, headers, held["id"], what)

        [entry] = self._audited(client, headers, held["id"])
        assert (entry["action"], entry["api_key_id"]) == (f"quarantine.{state}", key.id)
        assert entry["request_id"] == answer.headers["X-Request-Id"]
        assert entry["before"] == {"state": "held", "decided_at": None}
        assert entry["after"]["state"] == state

    @staticmethod
    def _audited(client: CheckedClient, headers: Mapping[str, str], held_id: int) -> list[dict[str, Any]]:
        answer = client.get(AUDIT, query_string={"subject": f"quarantine/{held_id}"}, headers=headers)
        found: list[dict[str, Any]] = answer.json["audit"]
        return found

    @pytest.mark.parametrize(
        "decisions", [("release", "reject"), ("reject", "release"), ("release", "release"), ("reject",) * 2]
    )
    def test_of_two_at_once_one_is_made(
        self, app: Flask, client: CheckedClient, world: World, operator, decisions: Sequence[str]
    ):
        hold(client, world.tracker())
        [held] = listed(client, operator)
        answers: list[Any] = []

        def decide(what: str) -> None:
            answers.append((what, decide_on(CheckedClient(app), operator, held["id"], what)))

        threads = [threading.Thread(target=decide, args=(what,)) for what in decisions]
        # Both have begun before either can decide.
        with world.database.unit_of_work() as unit_of_work:
            unit_of_work.quarantine.lock(held["id"])
            for thread in threads:
                thread.start()
            _wait_for_waiting(world.database, len(threads))
        for thread in threads:
            thread.join()

        [decided] = listed(client, operator)
        [entry] = self._audited(client, operator, held["id"])
        assert entry["action"] == f"quarantine.{decided['state']}"
        for what, answer in answers:
            if DECISIONS[what] == decided["state"]:
                assert (answer.status_code, answer.json) == (200, decided)
            else:
                assert (answer.status_code, answer.json["code"]) == (409, "conflict")
        assert len(history_of(world.database)) == (decided["state"] == "released")


def _wait_for_waiting(database: Database, count: int) -> None:
    """Wait until so many connections to the database wait for a lock."""
    deadline = time.monotonic() + 4
    waiting = -1
    while waiting < count:
        assert time.monotonic() < deadline, f"{waiting} wait, not {count}"
        waiting = sql.count(
            database, "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        time.sleep(0.01)
