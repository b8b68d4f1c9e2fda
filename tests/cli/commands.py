"""Every command of ours with arguments that are right, and how a test runs one in its own process."""

import os
from collections.abc import Iterator

import click
from click.testing import CliRunner, Result
from tests.support.factories import MASTER_KEY_TEXT

from harbor_api.cli.main import cli

# What a command needs to be called at all, by its name. A command without a row here fails.
ARGUMENTS: dict[str, list[str]] = {
    "serve": [],
    "migrate": [],
    "distribute": [],
    "settings": [],
    "vessels add": ["Skagerrak Trader"],
    "vessels set": ["1", "--name", "Other"],
    "vessels retire": ["1"],
    "vessels restore": ["1"],
    "vessels keep": ["1", "--days", "30"],
    "vessels hold": ["1", "--reason", "Court order 12/2026"],
    "vessels lift": ["1"],
    "vessels list": [],
    "trackers add": ["1"],
    "trackers reassign": ["trk_0001", "1"],
    "trackers disable": ["trk_0001"],
    "trackers enable": ["trk_0001"],
    "trackers rotate": ["trk_0001"],
    "trackers secret": ["trk_0001"],
    "trackers list": [],
    "keys add": ["partner"],
    "keys rotate": ["1"],
    "keys revoke": ["1"],
    "keys list": [],
    "feeds list": [],
    "feeds delete": ["1", "warehouse"],
    "master-key check": [],
    "master-key change": ["--yes"],
    "quarantine list": [],
    "quarantine release": ["1"],
    "quarantine reject": ["1"],
    "quarantine withdraw": ["1", "2026-01-02T03:04:05Z", "--note", "wrong"],
    "positions erase": ["1", "--from", "2026-01-02T00:00:00Z", "--to", "2026-01-03T00:00:00Z", "--yes"],
    "maintain": [],
    "prune": ["--quarantine-days", "30"],
    "demo": [],
    "replay": ["{file}"],
    "openapi": ["{folder}"],
}
# These run on; what they do is tried in processes of their own.
RUN_ON = {"serve", "demo"}
WITHOUT_DATABASE = {"settings", "openapi"}
IN_DATABASE = sorted(ARGUMENTS.keys() - RUN_ON - WITHOUT_DATABASE)
LISTS = [name for name in ARGUMENTS if name.endswith(" list")]


def names() -> Iterator[str]:
    """Yield the name of each command that does something, as it is typed."""
    ctx = click.Context(cli)
    for name in cli.list_commands(ctx):
        command = cli.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from (f"{name} {each}" for each in command.list_commands(ctx))
        else:
            yield name


def run(name: str, *more: str, database: str | None = None, **variables: str) -> Result:
    """Run a command with its arguments and more, over a database, with the right master key unless told."""
    environ: dict[str, str | None] = {each: None for each in os.environ if each.startswith("HARBOR_")}
    environ["HARBOR_DATABASE_URL"] = database
    environ |= {"HARBOR_TRACKER_MASTER_KEY": MASTER_KEY_TEXT, **variables}
    return CliRunner(env=environ).invoke(cli, [*name.split(), *more], prog_name="harbor-api")


def told(result: Result, status: int) -> str:
    """Return the one line that a command which failed has told, demanding that there is one."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    [line] = result.stderr.splitlines()
    assert line.startswith("harbor-api: ")
    assert line.isprintable()
    assert result.exit_code == status, line
    return line
