"""harbor-api demo: the whole thing on one machine, with a fleet that is simulated."""

import base64
import fcntl
import json
import math
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import click
import httpx

from harbor_api.cli.shared import actor, ensure_tracker, open_database
from harbor_api.database import Database
from harbor_api.domain.api_keys import SCOPES, KeyTerms
from harbor_api.domain.vessels import VesselDetails
from harbor_api.postgres import demo_mark, embedded
from harbor_api.server.listening import listen, url_of
from harbor_api.services import api_keys
from harbor_api.settings import MASTER_KEY_BYTES, Settings, SettingsError
from harbor_api.simulation.routes import FLEET, FleetShip
from harbor_api.simulation.simulator import simulate

_START_S = 30
_STOP_S = 25


@dataclass(frozen=True)
class _Secrets:
    """What the demo remembers between runs: nothing else could print the same key again."""

    master_key: bytes
    api_key: str | None = None


@click.command(name="demo")
@click.option("--interval", type=click.FloatRange(0.1, 600), default=2.0, show_default=True, help="Seconds.")
@click.option(
    "--use-this-database",
    is_flag=True,
    help="Add the fleet, and a key that may do everything, to a database that the demo did not make.",
)
def command(interval: float, use_this_database: bool) -> None:
    """Run the service with twelve simulated vessels, until Ctrl-C."""
    if math.isnan(interval):
        raise click.BadParameter("nan is no number of seconds", param_hint="--interval")
    settings = Settings.from_environ(os.environ)
    if settings.bind.startswith("unix:"):
        raise SettingsError("the demo needs HARBOR_BIND to be a host and a port")
    stop = _stopped_by_signals()
    # Nothing is begun before it is certain that nobody else listens there, or runs the same demo.
    with _alone(settings.data_dir), listen(settings.bind) as listener:
        remembered = settings.data_dir / "demo.json"
        is_known = remembered.exists()
        known = _recall(remembered)
        master_key = settings.tracker_master_key or known.master_key
        with open_database(is_to_migrate=True) as database:
            _claim(database, settings, is_known=is_known, is_meant=use_this_database)
            # Not before: beside a database that was refused, the file would make it ours the next time.
            _remember(remembered, known)
            crew = [
                (ship, ensure_tracker(database, master_key, _details(ship), label="demo")) for ship in FLEET
            ]
            api_key = _partner_key(database, known.api_key)
        _remember(remembered, replace(known, api_key=api_key))
        with _service(replace(settings, tracker_master_key=master_key), listener, stop) as url:
            if not stop.is_set():
                click.echo(_welcome(url, api_key))
                simulate(crew, url, interval, stop)
                # The terminal may be what was closed.
                with suppress(OSError):
                    click.echo("\nStopping.")


def _stopped_by_signals() -> threading.Event:
    """Return what is set by Ctrl-C, by SIGTERM, and where the terminal is closed."""
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # As nohup asks.
        if name != signal.SIGHUP or signal.getsignal(name) != signal.SIG_IGN:
            signal.signal(name, lambda *_: stop.set())
    return stop


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Be the only demo of a data directory: two would sail the same ships at once."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = embedded.open_beside(data_dir, "demo.lock")
    except OSError as error:
        raise SettingsError(
            f"HARBOR_DATA_DIR {data_dir} cannot be used: {error.strerror or error}"
        ) from error
    try:
        if not embedded.is_locked_now(lock, fcntl.LOCK_EX):
            raise SettingsError(
                f"a demo runs already in {data_dir}: end it, or set HARBOR_DATA_DIR to another directory"
            )
        yield
    finally:
        os.close(lock)


def _claim(database: Database, settings: Settings, *, is_known: bool, is_meant: bool) -> None:
    """Migrate a database that the demo made or makes now; SettingsError for any other that is not meant."""
    engine = database.engine
    is_embedded = settings.database_url is None
    was_empty = demo_mark.is_empty(engine)
    # An earlier release left no mark in the database, but its file beside it.
    is_ours = demo_mark.is_left(engine) or (is_embedded and (was_empty or is_known))
    if not is_ours and not is_meant:
        which, instead = (
            (f"the database in {settings.data_dir}", "set HARBOR_DATA_DIR to another directory")
            if is_embedded
            else ("the database that HARBOR_DATABASE_URL names", "unset that")
        )
        raise SettingsError(
            f"{which} was not made by the demo, which would add twelve vessels and a key that may do "
            f"everything: {instead}, or say --use-this-database to mean it"
        )
    database.migrate()
    if is_ours or was_empty:
        demo_mark.leave(engine)


def _details(ship: FleetShip) -> VesselDetails:
    return VesselDetails(
        name=ship.name,
        imo=ship.imo,
        mmsi=ship.mmsi,
        call_sign=ship.call_sign,
        flag=ship.flag,
        kind=ship.kind,
        length_m=ship.length_m,
        beam_m=ship.beam_m,
        draught_m=ship.draught_m,
    )


def _partner_key(database: Database, remembered: str | None) -> str:
    """Return the demo's API key: the one of the last run where it still holds, else a new one."""
    with database.unit_of_work() as unit_of_work:
        if remembered is not None and api_keys.holds(unit_of_work, remembered, now=datetime.now(UTC)):
            return remembered
        terms = KeyTerms(name="demo", scopes=frozenset(SCOPES))
        _, secret = api_keys.issue(unit_of_work, terms, actor=actor())
        return secret


@contextmanager
def _service(settings: Settings, listener: socket.socket, stop: threading.Event) -> Iterator[str]:
    """Run ``harbor-api serve`` in a process of its own and give its address once it is ready.

    It listens on what is open here, so that nobody else can answer for it; it ends when this process does, in
    whatever way. Where it ends by itself ``stop`` is set, and SettingsError raised when the block is left.
    """
    command = ("serve", "--listener", str(listener.fileno()), "--while-stdin-is-open")
    process = subprocess.Popen(  # noqa: S603 - our own program
        # What lies in the directory that this is run in is none of Python's modules.
        [sys.executable, "-P", "-m", "harbor_api.cli", *command],
        env=_environ(settings),
        stdin=subprocess.PIPE,
        pass_fds=[listener.fileno()],
        # Ctrl-C reaches only us, and we end the service once the fleet has stopped.
        start_new_session=True,
    )

    def notice_its_end() -> None:
        process.wait()
        stop.set()

    threading.Thread(target=notice_its_end, daemon=True).start()
    try:
        _await(url := url_of(listener), stop)
        yield url
        if process.poll() is not None:
            raise SettingsError(
                f"the service ended by itself, with status {process.returncode}; its own lines above say why"
            )
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(url: str, stop: threading.Event) -> None:
    """Wait until the service is ready, or ``stop`` is set."""
    deadline = time.monotonic() + _START_S
    # A proxy of the environment is for what lies beyond this machine.
    with httpx.Client(trust_env=False, timeout=2) as http:
        while not stop.wait(0.05):
            if time.monotonic() > deadline:
                raise SettingsError(
                    f"the service was not ready within {_START_S} seconds; its lines may say why"
                )
            with suppress(httpx.TransportError):
                if http.get(f"{url}/health/ready").status_code == 200:
                    return


def _environ(settings: Settings) -> Mapping[str, str]:
    assert settings.tracker_master_key is not None
    # A key that came from a file would be there twice.
    kept = {name: value for name, value in os.environ.items() if name != "HARBOR_TRACKER_MASTER_KEY_FILE"}
    return kept | {
        "HARBOR_TRACKER_MASTER_KEY": base64.b64encode(settings.tracker_master_key).decode(),
        "HARBOR_LOG_LEVEL": os.environ.get("HARBOR_LOG_LEVEL", "warning"),
    }


def _welcome(url: str, api_key: str) -> str:
    return f"""
  Twelve vessels are under way.

  Live map {url}/docs/live-map   (paste the key; it serves the docs as well)
  Docs     {url}/docs   (press Authorize and paste the key)
  API key  {api_key}

  curl -s -H 'Authorization: Bearer {api_key}' {url}/api/v1/vessels

  Ctrl-C ends all of it; the next run goes on where this one stopped.
"""


def _recall(file: Path) -> _Secrets:
    """Return what the last run has left; SettingsError, in one line, for a file that is not the demo's."""
    damaged = SettingsError(
        f"{file} is damaged, or not the demo's: delete {file.parent} to begin anew, or that file alone "
        "if the directory holds more"
    )
    try:
        kept = json.loads(file.read_bytes())
        known = _Secrets(base64.b64decode(kept["tracker_master_key"], validate=True), kept["api_key"])
    except FileNotFoundError:
        return _Secrets(secrets.token_bytes(MASTER_KEY_BYTES))
    except OSError as error:
        raise SettingsError(f"{file}, the demo's, cannot be read: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, RecursionError):
        raise damaged from None
    is_key = known.api_key is None or (isinstance(known.api_key, str) and known.api_key.isascii())
    if len(known.master_key) != MASTER_KEY_BYTES or not is_key:
        raise damaged
    return known


def _remember(file: Path, known: _Secrets) -> None:
    """Write the file anew: whole, or not at all."""
    kept = {
        "tracker_master_key": base64.b64encode(known.master_key).decode(),
        "api_key": known.api_key,
    }
    try:
        # For its owner alone, as mkstemp makes it.
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
        try:
            with os.fdopen(descriptor, "w") as new:
                json.dump(kept, new)
                new.flush()
                os.fsync(descriptor)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink()
            raise
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error.strerror or error}") from error
