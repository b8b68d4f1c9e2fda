"""harbor-api quarantine: what an operator decides over HTTP can be decided at the command line."""

import json
import os
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.resources.quarantine.held_fixes import history_of, hold, listed, on_map, post
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix

from harbor_api.cli.main import cli

Run = Callable[..., Result]


@pytest.fixture
def run(world: World) -> Run:
    """Return what runs a command over the test's database."""
    url = world.database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    environ: dict[str, str | None] = {name: None for name in os.environ if name.startswith("HARBOR_")}
    environ["HARBOR_DATABASE_URL"] = url

    def run(*arguments: str) -> Result:
        result = CliRunner(env=environ).invoke(cli, ["quarantine", *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        return result

    return run


@pytest.fixture
def operator(world: World) -> dict[str, str]:
    return world.bearer("quarantine:read", "vessels:read", "audit:read")


def test_many_are_counted_and_then_decided_on(client: CheckedClient, world: World, operator, run: Run):
    tracker = world.tracker()
    post(client, tracker, a_fix(0))
    for seconds in (10, 20, 30):
        hold(client, tracker, seconds)
    hold(client, tracker, lat=59.9, lon=10.7, recorded_at="2038-01-01T00:00:00Z")
    where = ["--tracker", tracker.tracker.id, "--vessel", str(tracker.tracker.vessel_id)]
    late = ["--from", a_fix(20)["recorded_at"]]

    told = [
        run("release", *where, *late, "--dry-run"),
        run("release", *where, *late),
        run("release", *where, *late),
        run("reject", "--reason", "null_island"),
    ]

    assert [(each.exit_code, each.output) for each in told] == [
        (0, "2 would be released\n1 still in the future, and held\n"),
        (0, "2 released\n1 still in the future, and held\n"),
        (0, "0 released\n1 still in the future, and held\n"),
        (0, "1 rejected\n"),
    ]
    assert len(history_of(world.database)) == 3
    rows: list[dict[str, Any]] = json.loads(run("list", "--json").output)
    assert [row["state"] for row in rows] == ["rejected", "released", "released", "held"]
    # The same as over HTTP, but for what the tracker sent.
    for row, each in zip(rows, listed(client, operator), strict=True):
        assert row.keys() == each.keys() - {"raw"}
        for name in row:
            if name.endswith("_at") and row[name]:
                assert datetime.fromisoformat(row[name]) == datetime.fromisoformat(each[name])
            else:
                assert row[name] == each[name]
    assert "trk_0001" in run("list", "--state", "held").output


def test_single_ones_are_decided_on_by_their_ids(client: CheckedClient, world: World, operator, run: Run):
    tracker = world.tracker()
    for seconds in (10, 20, 30):
        hold(client, tracker, seconds)
    ids = [str(each["id"]) for each in listed(client, operator)]
    assert run("release", *ids[:2]).output == "2 released\n"
    assert run("reject", ids[2]).output == "1 rejected\n"
    assert [each["state"] for each in listed(client, operator)] == ["released", "released", "rejected"]


def test_a_stored_one_is_withdrawn(client: CheckedClient, world: World, operator, run: Run):
    tracker = world.tracker()
    post(client, tracker, a_fix(0))
    where = [str(tracker.tracker.vessel_id), a_fix(0)["recorded_at"]]
    for _ in range(2):
        done = run("withdraw", *where, "--note", "wrong")
        assert (done.exit_code, done.output) == (0, f"{listed(client, operator)[0]['id']}\n")
    [kept] = listed(client, operator)
    assert (kept["state"], kept["note"]) == ("withdrawn", "wrong")
    assert kept["decided_by"].startswith("cli")
    assert on_map(client, operator) == {tracker.tracker.vessel_id: (None, None)}


@pytest.mark.parametrize(
    "arguments",
    [
        ("release",),
        ("reject", "--dry-run"),
        ("reject", "1", "--vessel", "1"),
        ("release", "1", "--dry-run"),
        ("release", "--tracker", "1"),
        ("release", "--from", "yesterday"),
        ("release", "--reason", "x"),
        ("withdraw", "1", "2026-01-02T03:04:05Z"),
        ("withdraw", "1", "2026-01-02", "--note", "x"),
        ("list", "--state", "x"),
    ],
)
def test_what_is_not_meant_is_refused(run: Run, arguments):
    assert run(*arguments).exit_code == 2
