"""``harbor-api prune --quarantine-days``: what came long ago is deleted."""

import os
import subprocess
import sys

import pytest
from tests.resources.quarantine.held_fixes import decide_on, history_of, hold, listed, post
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix

from harbor_api.database import Database


def _prune(database: Database, *arguments: str) -> "subprocess.CompletedProcess[str]":
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    return subprocess.run(
        [sys.executable, "-m", "harbor_api.cli", "prune", *arguments],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("HARBOR_")},
            "HARBOR_DATABASE_URL": url,
        },
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.process
class TestPruning:
    def test_deletes_what_came_long_ago_decided_or_not(self, client: CheckedClient, world: World, operator):
        tracker = world.tracker()
        post(client, tracker, a_fix(0))
        for seconds in range(1, 7):
            hold(client, tracker, seconds)
        ids = [each["id"] for each in listed(client, operator)]
        for place, what in ((0, "release"), (1, "reject"), (3, "release"), (4, "reject")):
            decide_on(client, operator, ids[place], what)
        sql.run(
            world.database,
            "UPDATE quarantine SET received_at = now() - "
            "CASE WHEN id <= :third THEN interval '31 days' ELSE interval '29 days' END, "
            "decided_at = CASE WHEN decided_at IS NOT NULL THEN now() - interval '31 days' END",
            third=ids[2],
        )
        history = history_of(world.database)

        done = _prune(world.database, "--quarantine-days", "30")

        assert (done.returncode, done.stdout) == (0, "3 fixes deleted from quarantine\n"), done.stderr
        assert [each["id"] for each in listed(client, operator)] == ids[3:]
        # Nothing that was released leaves the history, and one that was rejected is judged anew.
        assert history_of(world.database) == history
        hold(client, tracker, 2)
        assert [each["state"] for each in listed(client, operator)][-1] == "held"
        again = _prune(world.database, "--quarantine-days", "30")
        assert again.stdout == "0 fixes deleted from quarantine\n"

    def test_keeps_what_was_decided_on_lately(self, client: CheckedClient, world: World, operator):
        hold(client, world.tracker())
        [held] = listed(client, operator)
        decide_on(client, operator, held["id"], "reject")
        sql.run(world.database, "UPDATE quarantine SET received_at = now() - interval '1 year'")
        assert _prune(world.database, "--quarantine-days", "30").stdout == "0 fixes deleted from quarantine\n"

    @pytest.mark.parametrize("arguments", [(), ("--quarantine-days", "0"), ("--quarantine-days", "x")])
    def test_must_be_told_a_time(self, client: CheckedClient, world: World, operator, arguments):
        hold(client, world.tracker())
        assert _prune(world.database, *arguments).returncode == 2
        assert len(listed(client, operator)) == 1
