"""Lists as tables and as JSON: whole in a pipe, and text that somebody gave as nothing but text."""

import json
from typing import Any

import pytest
from tests.cli.commands import LISTS, run
from tests.support import sql
from tests.support.factories import World

from harbor_api.cli.output import print_table, printable
from harbor_api.database import Database

# Styles of rich, the escape sequences of a terminal, what turns the direction of writing, ends of lines.
NASTY = "[red]a[/] [/] \x1b[31mb\x07\x9b2J\u202ec\u200b\r\nd\te\u2028f\x7f"
SHOWN = r"[red]a[/] [/] \x1b[31mb\x07\x9b2J\u202ec\u200b\r\nd\te\u2028f\x7f"


def _url(database: Database) -> str:
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture
def nasty(world: World) -> str:
    """Return the address of a database in which texts are as no rule of ours would let them in."""
    world.tracker()
    world.key()
    for statement in (
        "UPDATE vessels SET name = :nasty, kind = :nasty, flag = :nasty, call_sign = :nasty",
        "UPDATE trackers SET label = :nasty",
        "UPDATE api_keys SET name = :nasty, owner = :nasty, prefix = :nasty",
        """
        INSERT INTO quarantine
            (vessel_id, recorded_at, tracker_id, received_at, reason, state, decided_by, note, fix)
        VALUES (1, now(), 1, now(), 'withdrawn', 'withdrawn', :nasty, :nasty, '{"lat": 1, "lon": 1}')
        """,
        "INSERT INTO feeds (api_key_id, name, number, filters) VALUES (1, :nasty, 0, '{}')",
    ):
        sql.run(world.database, statement, nasty=NASTY)
    return _url(world.database)


@pytest.mark.parametrize("name", LISTS)
def test_a_table_is_whole_and_of_printable_text(name, nasty):
    result = run(name, database=nasty)
    assert result.exit_code == 0, result.output
    head, row = result.stdout.splitlines()
    assert SHOWN in row
    assert (head + row).isprintable()


@pytest.mark.parametrize("name", LISTS)
def test_json_holds_all_of_it_in_ascii(name, nasty):
    result = run(name, "--json", database=nasty)
    assert result.stdout.isascii()
    assert "\x1b" not in result.stdout
    [row] = json.loads(result.stdout)
    assert NASTY in row.values()
    assert row.keys() & {"id", "key_id"}


@pytest.mark.parametrize("name", LISTS)
def test_an_empty_list(name, world: World):
    assert json.loads(run(name, "--json", database=_url(world.database)).stdout) == []
    assert len(run(name, database=_url(world.database)).stdout.splitlines()) == 1


def test_what_a_command_says_of_a_name_is_text(nasty):
    result = run("keys revoke", "1", database=nasty)
    assert result.stdout == f"revoked {SHOWN}... of {SHOWN}\n"


def test_times_and_numbers_are_for_programs(world: World):
    vessel = str(world.vessel(name="A", length_m=86.5).id)
    url = _url(world.database)
    assert run("vessels set", vessel, "--max-speed", "45", database=url).exit_code == 0
    assert run("vessels retire", vessel, database=url).exit_code == 0
    [row] = json.loads(run("vessels list", "--json", database=url).stdout)
    assert (row["id"], row["length_m"], row["max_speed_kn"]) == (1, 86.5, 45.0)
    assert row["retired"].endswith("Z")
    assert run("vessels set", vessel, "--max-speed", "0", database=url).exit_code == 0
    [row] = json.loads(run("vessels list", "--json", database=url).stdout)
    assert row["max_speed_kn"] is None


def test_a_scope_that_is_not_given_is_reading(world: World):
    url = _url(world.database)
    for more in ([], ["--scope", "audit:read"], ["--admin"]):
        assert run("keys add", "x", *more, database=url).exit_code == 0
    rows: list[dict[str, Any]] = json.loads(run("keys list", "--json", database=url).stdout)
    assert [row["scopes"] for row in rows][:2] == [["vessels:read"], ["audit:read"]]
    assert len(rows[2]["scopes"]) == 9


def test_a_secret_is_printed_where_it_is_made_and_nowhere_else(world: World):
    """Of a key only then; of a tracker again, on demand, as it is derived."""
    url = _url(world.database)
    vessel = str(world.vessel().id)
    tracker = run("trackers add", vessel, database=url).stdout
    key = run("keys add", "x", database=url).stdout.strip()
    assert run("trackers secret", "trk_0001", database=url).stdout == tracker
    secret = tracker.split()[-1]
    for name in LISTS:
        for more in ([], ["--json"]):
            shown = run(name, *more, database=url).output
            assert secret[6:] not in shown
            assert key[10:] not in shown


def test_wide_characters_keep_the_columns(capsys: pytest.CaptureFixture[str]):
    print_table(("name", "n"), [("漁船", 1), ("Ærø", 2)])
    assert capsys.readouterr().out == "name  n\n漁船  1\nÆrø   2\n"


def test_printable_text_stays_as_it_is():
    for text in ("Ærøskøbing", "漁船", "[/]", " a  b ", "🚢"):
        assert printable(text) == text
