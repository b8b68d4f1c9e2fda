"""The operator's commands. Each is loaded when it is called, so that ``--help`` is quick and ``serve``
starts without a library that must not be imported before gevent has patched the process.

Here is the one place that tells an operator what went wrong, whatever it was and wherever: one line on
stderr, which begins with the command's name and says what to do, and a status that a script can use.
"""

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import click

from harbor_api import __version__
from harbor_api.cli.output import printable
from harbor_api.domain.errors import Fault, HarborError, Unavailable
from harbor_api.settings import SettingsError

# What goes wrong with a file that is written to: its disk is full, or whoever read it has gone.
_OF_OUTPUT = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF, errno.EIO}
FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
_COMMANDS = {
    "serve": "Run the service.",
    "migrate": "Bring the database's schema up to date.",
    "distribute": "Have positions on several servers, by Citus.",
    "settings": "Print what holds for each setting.",
    "vessels": "Register and list vessels.",
    "trackers": "Register and list trackers.",
    "keys": "Issue, list and revoke API keys.",
    "feeds": "List and delete named consumers of the change feed.",
    "master-key": "Check and change the key that trackers' secrets come from.",
    "quarantine": "List, release, reject and withdraw fixes.",
    "positions": "Erase positions.",
    "maintain": "Make partitions ahead, and delete what is kept no longer.",
    "prune": "Delete what is kept no longer: a part of maintain.",
    "demo": "Run the service with a simulated fleet.",
    "replay": "Send an AIS file to a running service.",
    "openapi": "Write the OpenAPI document to a folder.",
}
_EPILOG = (
    "Exit status: 0 done, 1 failed (one line on stderr says why), 2 wrong usage, 130 interrupted. "
    "HARBOR_LOG_LEVEL=debug adds the trace of a failure."
)


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command: click.Command = importlib.import_module(f"harbor_api.cli.{module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def main(self, args: Sequence[str] | None = None, *more: Any, **rest: Any) -> NoReturn:
        """Run a command and exit, as the module's docstring says."""
        try:
            given = [*_texts(sys.argv[1:] if args is None else args)]
            status = super().main(given, *more, **{**rest, "standalone_mode": False})
            # Not when Python ends: then nobody could be told that it failed.
            sys.stdout.flush()
        except (click.Abort, KeyboardInterrupt):
            _fail("interrupted", INTERRUPTED)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(WRONG_USAGE)
        except Exception as error:
            _fail(*_told(error))
        sys.exit(status or 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
        except OSError as error:
            # click itself would end without a word where the output is closed.
            raise _Failed(_of_system(error)) from error
        return done


class _Failed(Exception):
    """What stopped a command, in one line."""


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="harbor-api")
def cli() -> None:
    """Harbor API: signed fixes in, GeoJSON out. Settings come from HARBOR_* variables."""


def main() -> NoReturn:
    """Run the command that the process was started with."""
    _open_missing()
    # A locale that cannot write a name is no reason to fail; what it cannot write is escaped.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # both are text files here
    cli.main(prog_name="harbor-api")


def _open_missing() -> None:
    """Put something in the place of standard files that are closed, or the next file opened would be one."""
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    # What is printed to one that cannot be written to fails, and is told.
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives


def _texts(arguments: Sequence[str]) -> Iterator[str]:
    """Yield arguments as text, also where the locale is none that could read them.

    UsageError for one that is not UTF-8, unless it is the name of a file that there is.
    """
    for number, each in enumerate(arguments, 1):
        if each.isascii():
            yield each
            continue
        try:
            yield each.encode(errors="surrogateescape").decode()
        except UnicodeError:
            if not os.path.lexists(each):
                raise click.UsageError(f"argument {number} is not text in UTF-8") from None
            yield each


def _told(error: Exception) -> tuple[str, int]:
    """Return what an operator is told of an error, and the status to exit with."""
    if isinstance(error, click.ClickException):
        ctx = getattr(error, "ctx", None)
        hint = f"; see {ctx.command_path} --help" if ctx is not None else ""
        return error.format_message().rstrip(".") + hint, error.exit_code
    if isinstance(error, Unavailable):
        return error.cause or error.detail, FAILED
    if isinstance(error, HarborError):
        return "; ".join([error.detail, *map(_of_fault, error.faults)]), FAILED
    if isinstance(error, (SettingsError, _Failed)):
        return str(error), FAILED
    if isinstance(error, OSError):
        return _of_system(error), FAILED
    hint = "" if _shows_traces() else "; HARBOR_LOG_LEVEL=debug shows where"
    return f"a mistake of ours, please report it: {type(error).__name__}: {error}{hint}", FAILED


def _of_fault(fault: Fault) -> str:
    member = (fault.pointer or "").removeprefix("#/")
    detail = fault.detail.rstrip(".")
    return f"{member}: {detail[:1].lower()}{detail[1:]}" if member else detail


def _of_system(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {reason}"
    return f"standard output cannot be written to: {reason}" if error.errno in _OF_OUTPUT else reason


def _shows_traces() -> bool:
    return os.environ.get("HARBOR_LOG_LEVEL", "").strip().lower() == "debug"


def _fail(line: str, status: int) -> NoReturn:
    with suppress(OSError):
        if _shows_traces():
            traceback.print_exc()
        click.echo(f"harbor-api: {printable(' '.join(line.split()))}", err=True)
    try:
        sys.stdout.flush()
    except OSError:
        # Or Python would try once more when it ends, and complain in its own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(status)
