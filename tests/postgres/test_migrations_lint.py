"""What squawk says of the statements of each migration, as they are run where there are rows."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event
from tests.conftest import NewDatabase
from tests.support import sql

from harbor_api.database import Database
from harbor_api.postgres import connections, migrations

_SQUAWK = Path(sys.executable).parent / "squawk"
# Those before are released, and have run wherever they will.
_FIRST = "0011"
_SCRIPTS = ScriptDirectory.from_config(migrations._config())
_REVISIONS = sorted(each.revision for each in _SCRIPTS.walk_revisions() if each.revision >= _FIRST)
# What is let pass of a migration, and why.
_LET_PASS = {
    ("0011", "prefer-robust-stmts"): "all of it is one transaction, done or not",
    ("0012", "renaming-table"): "another one takes the name in the same transaction",
    ("0012", "renaming-object"): "nobody names an index or a key by its name",
    ("0012", "ban-drop-constraint"): "the bound of the partition says the same",
    ("0013", "prefer-robust-stmts"): "all of it is one transaction, done or not",
    ("0013", "prefer-bigint-over-smallint"): "its key is 1",
    ("0014", "require-concurrent-index-creation"): "the table is new",
    ("0014", "prefer-robust-stmts"): "all of it is one transaction, done or not",
    ("0014", "prefer-bigint-over-int"): "ids of vessels have four bytes, days and versions need no more",
    ("0015", "prefer-robust-stmts"): "all of it is one transaction, done or not",
    ("0015", "prefer-bigint-over-int"): "days need no more",
}


@pytest.fixture(scope="module")
def said(new_database: NewDatabase) -> Iterator[dict[str, list[str]]]:
    """Return what each migration says, where a position is stored."""
    database = Database(new_database())
    before = _SCRIPTS.get_revision(_REVISIONS[0]).down_revision
    assert isinstance(before, str)
    _migrate(database, "downgrade", before)
    sql.run(
        database,
        "INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq) "
        "VALUES (1, now(), 1, now(), 1, 1, 1)",
    )
    found: dict[str, list[str]] = {}

    def listen(_: Connection, __: Any, text: str, *___: Any) -> None:
        told.append(text.strip().rstrip(";"))

    event.listen(database.engine, "before_cursor_execute", listen)
    for revision in _REVISIONS:
        told = found[revision] = []
        _migrate(database, "upgrade", revision)
    yield found
    database.dispose()


def _migrate(database: Database, how: str, revision: str) -> None:
    with connections.transacting(database.engine).connect() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        getattr(command, how)(config, revision)


@pytest.mark.parametrize("revision", _REVISIONS)
def test_squawk_finds_nothing_that_is_not_let_pass(said: dict[str, list[str]], revision: str):
    # What only reads is of no interest to it, and has placeholders.
    text = ";\n".join(each for each in said[revision] if not each.startswith("SELECT")) + ";\n"
    asked = [_SQUAWK, "--reporter", "json", "--pg-version", "15", "--stdin-filepath", f"{revision}.sql"]
    done = subprocess.run(asked, input=text, text=True, capture_output=True, check=False)
    faults = [
        f"{each['rule_name']}, {text.splitlines()[each['line'] - 1]}: {each['message']}"
        for each in json.loads(done.stdout)
        if (revision, each["rule_name"]) not in _LET_PASS
    ]
    assert not faults, "\n".join(faults)
    found = {each["rule_name"] for each in json.loads(done.stdout)}
    assert {rule for of, rule in _LET_PASS if of == revision} == found


@pytest.mark.parametrize("revision", _REVISIONS)
def test_each_change_has_its_time_outs(said: dict[str, list[str]], revision: str):
    """In its own transaction: neither a lock nor a statement is waited for without end."""
    bounded: set[str] = set()
    for each in said[revision]:
        if each in {"BEGIN", "COMMIT", "ROLLBACK"}:
            bounded.clear()
        elif each.startswith("SET LOCAL "):
            bounded.add(each.split()[2])
        elif each.startswith(("ALTER", "CREATE", "DROP", "UPDATE", "LOCK", "INSERT", "DELETE")):
            assert bounded >= {"lock_timeout", "statement_timeout"}, each
