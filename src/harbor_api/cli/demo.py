"""harbor-api demo: the whole thing on one machine, with a fleet that is simulated."""

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import click
import httpx

from harbor_api.cli.shared import actor, ensure_tracker, open_database, read_settings
from harbor_api.database import Database
from harbor_api.domain.api_keys import SCOPES, KeyTerms
from harbor_api.domain.vessels import VesselDetails
from harbor_api.services import api_keys
from harbor_api.settings import MASTER_KEY_BYTES, Settings, SettingsError
from harbor_api.simulation.routes import FLEET
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
def command(interval: float) -> None:
    """Run the service with twelve simulated vessels, until Ctrl-C."""
    settings = read_settings()
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    remembered = settings.data_dir / "demo.json"
    known = _recall(remembered)
    master_key = settings.tracker_master_key or known.master_key
    with open_database(settings, is_to_migrate=True) as database:
        database.migrate()
        crew = [
            (
                ship,
                ensure_tracker(
                    database,
                    master_key,
                    VesselDetails(
                        name=ship.name,
                        imo=ship.imo,
                        mmsi=ship.mmsi,
                        call_sign=ship.call_sign,
                        flag=ship.flag,
                        kind=ship.kind,
                        length_m=ship.length_m,
                        beam_m=ship.beam_m,
                        draught_m=ship.draught_m,
                    ),
                    label="demo",
                ),
            )
            for ship in FLEET
        ]
        api_key = _partner_key(database, known.api_key)
    _remember(remembered, replace(known, api_key=api_key))
    with _service(replace(settings, tracker_master_key=master_key), stop) as url:
        click.echo(_welcome(url, api_key))
        simulate(crew, url, interval, stop)
        click.echo("\nStopping.")


def _partner_key(database: Database, remembered: str | None) -> str:
    """Return the demo's API key: the one of the last run where it still holds, else a new one."""
    with database.unit_of_work() as unit_of_work:
        if remembered is not None and api_keys.holds(unit_of_work, remembered, now=datetime.now(UTC)):
            return remembered
        terms = KeyTerms(name="demo", scopes=frozenset(SCOPES))
        _, secret = api_keys.issue(unit_of_work, terms, actor=actor())
        return secret


@contextmanager
def _service(settings: Settings, stop: threading.Event) -> Iterator[str]:
    """Run ``harbor-api serve`` in a process of its own and give its address."""
    environ = {**os.environ, **_environ(settings)}
    # A session of its own: Ctrl-C reaches only us, and we end the service once the fleet has stopped.
    process = subprocess.Popen(
        [sys.executable, "-m", "harbor_api.cli", "serve"], env=environ, start_new_session=True
    )
    url = f"http://{settings.bind}"
    try:
        deadline = time.monotonic() + _START_S
        while not stop.wait(0.05):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SettingsError("the service did not start; its own lines above say why")
            try:
                if httpx.get(f"{url}/health/ready", timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                continue
        yield url
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environ(settings: Settings) -> Mapping[str, str]:
    if settings.bind.startswith("unix:"):
        raise SettingsError("the demo needs HARBOR_BIND to be a host and a port")
    assert settings.database_url is not None
    assert settings.tracker_master_key is not None
    return {
        "HARBOR_DATABASE_URL": settings.database_url,
        "HARBOR_TRACKER_MASTER_KEY": base64.b64encode(settings.tracker_master_key).decode(),
        "HARBOR_LOG_LEVEL": os.environ.get("HARBOR_LOG_LEVEL", "warning"),
    }


def _welcome(url: str, api_key: str) -> str:
    return f"""
  Twelve vessels are under way.

  Docs     {url}/docs   (press Authorize and paste the key)
  API key  {api_key}

  curl -s -H 'Authorization: Bearer {api_key}' {url}/api/v1/vessels

  Ctrl-C ends all of it; the next run goes on where this one stopped.
"""


def _recall(file: Path) -> _Secrets:
    if not file.exists():
        return _Secrets(secrets.token_bytes(MASTER_KEY_BYTES))
    kept = json.loads(file.read_text())
    return _Secrets(base64.b64decode(kept["tracker_master_key"]), kept["api_key"])


def _remember(file: Path, known: _Secrets) -> None:
    kept = {
        "tracker_master_key": base64.b64encode(known.master_key).decode(),
        "api_key": known.api_key,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(json.dumps(kept))
