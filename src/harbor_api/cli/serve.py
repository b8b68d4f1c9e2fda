"""harbor-api serve: gunicorn with gevent workers, in this process.

This module must not import psycopg or SQLAlchemy: gevent patches a worker after the fork, and psycopg
chooses how it waits when it is imported.
"""

import importlib.util
import os
import signal
import socket
import threading
from dataclasses import replace

import click
import structlog

from harbor_api.domain.errors import WrongMasterKey
from harbor_api.domain.signatures import check_value
from harbor_api.postgres import embedded, first_look
from harbor_api.server.listening import handed_over, handed_over_for_metrics, listen
from harbor_api.server.service import Service
from harbor_api.settings import Settings, SettingsError
from harbor_api.telemetry import logs

log = structlog.get_logger(__name__)


@click.command(name="serve")
@click.option(
    "--listener", type=int, hidden=True, help="An open socket that listens, instead of HARBOR_BIND."
)
@click.option("--while-stdin-is-open", is_flag=True, hidden=True, help="End with whoever started this.")
def command(listener: int | None, while_stdin_is_open: bool) -> None:
    """Run the service until SIGTERM or Ctrl-C; requests that are under way are answered first."""
    settings = Settings.from_environ(os.environ)
    settings.require_master_key()
    _demand_extras(settings)
    logs.configure(settings.log_level)
    # First of all: a second service that was started by mistake does nothing to anything.
    bound = handed_over(os.environ)
    if bound is None:
        bound = listen(settings.bind) if listener is None else socket.socket(fileno=listener)
    metrics_bound = handed_over_for_metrics(os.environ)
    if settings.metrics_bind is not None and metrics_bound is None:
        metrics_bound = listen(settings.metrics_bind, setting="HARBOR_METRICS_BIND")
    if while_stdin_is_open:
        threading.Thread(target=_end_when_stdin_closes, daemon=True).start()
    if settings.database_url is None:
        settings = replace(settings, database_url=embedded.start(settings.data_dir))
    _look_first(settings)
    if settings.is_pooled and settings.database_direct_url is None:
        log.warning(
            "no_direct_connection",
            meaning="followers learn of what happens within a second, not at once; "
            "set HARBOR_DATABASE_DIRECT_URL to hear of it from PostgreSQL itself",
        )
    if settings.workers > 1 and settings.redis_url is None:
        log.warning(
            "limits_are_counted_by_each_worker",
            meaning=f"a caller may make up to {settings.workers} times the requests of its limit; "
            "set HARBOR_REDIS_URL to count together",
        )
    Service(settings, listener=bound, metrics_listener=metrics_bound).run()


def _demand_extras(settings: Settings) -> None:
    """Raise SettingsError where what a setting needs is not installed."""
    for variable, value, extra, package in (
        ("HARBOR_TRACES_URL", settings.traces_url, "traces", "opentelemetry.exporter"),
        ("HARBOR_SENTRY_DSN", settings.sentry_dsn, "sentry", "sentry_sdk"),
    ):
        if value is not None and not _is_installed(package):
            raise SettingsError(f"{variable} needs what is not installed: pip install 'harbor-api[{extra}]'")


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        # The one that it is a part of.
        return False


def _look_first(settings: Settings) -> None:
    """Raise WrongMasterKey where it is; what may mend itself, or be mended meanwhile, is only logged."""
    assert settings.database_url is not None
    value = check_value(settings.require_master_key())
    seen = first_look.look(
        settings.database_url,
        timeout_ms=settings.database_timeout_ms,
        check_value=value,
        is_pooled=settings.is_pooled,
    )
    if seen.cause is not None:
        log.warning("database_does_not_answer", cause=seen.cause)
    elif seen.revision is None:
        log.warning("database_is_empty", cause="the database has no tables yet: run harbor-api migrate")
    elif seen.check_value not in {None, value.hex()}:
        raise WrongMasterKey
    # By way of a pooler, these are not those that workers ask for.
    if seen.connections is not None and not settings.is_pooled:
        _compare(settings, seen.connections, seen.taken)


def _compare(settings: Settings, most: int, taken: int) -> None:
    """Say so where PostgreSQL has fewer connections than the workers may ask it for."""
    # One more each hears of commits while somebody follows.
    needed = settings.workers * (settings.database_pool + 1)
    if needed > most - taken:
        log.warning(
            "database_connections_may_run_short",
            needed=needed,
            most=most,
            taken=taken,
            meaning=f"{settings.workers} workers may ask for {needed} connections and PostgreSQL has {most}, "
            f"of which others hold {taken}: requests wait for each other's then. Raise its max_connections, "
            "or lower HARBOR_WORKERS or HARBOR_DATABASE_POOL",
        )


def _end_when_stdin_closes() -> None:
    # Whatever becomes of the process at the other end, kill -9 included, the kernel closes the pipe.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
