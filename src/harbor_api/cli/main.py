"""The operator's commands. Each is loaded when it is called, so that ``--help`` is quick and ``serve``
starts without a library that must not be imported before gevent has patched the process."""

import importlib
import sys

import click

from harbor_api import __version__
from harbor_api.domain.errors import HarborError
from harbor_api.settings import SettingsError

_COMMANDS = {
    "serve": "Run the service.",
    "migrate": "Bring the database's schema up to date.",
    "vessels": "Register and list vessels.",
    "trackers": "Register and list trackers.",
    "keys": "Issue, list and revoke API keys.",
    "prune": "Delete what is kept no longer.",
    "demo": "Run the service with a simulated fleet.",
    "replay": "Send an AIS file to a running service.",
    "openapi": "Write the OpenAPI document to a folder.",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"harbor_api.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="harbor-api")
def cli() -> None:
    """Harbor API: signed fixes in, GeoJSON out. Settings come from HARBOR_* variables."""


def main() -> None:
    """Run a command; what an operator can mend is one line on stderr, without a trace."""
    try:
        cli()
    except SettingsError as error:
        sys.exit(f"harbor-api: {error}")
    except HarborError as error:
        faults = "".join(f"; {fault.pointer or ''} {fault.detail}" for fault in error.faults)
        sys.exit(f"harbor-api: {error.detail}{faults}")
