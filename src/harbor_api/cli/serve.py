"""harbor-api serve: gunicorn with gevent workers, in this process.

This module must not import psycopg or SQLAlchemy: gevent patches a worker after the fork, and psycopg
chooses how it waits when it is imported.
"""

import os
from dataclasses import replace

import click
import structlog

from harbor_api.domain.errors import WrongMasterKey
from harbor_api.domain.signatures import check_value
from harbor_api.postgres import embedded, first_look
from harbor_api.server.service import Service
from harbor_api.settings import Settings
from harbor_api.telemetry import logs

log = structlog.get_logger(__name__)


@click.command(name="serve")
def command() -> None:
    """Run the service until SIGTERM or Ctrl-C; requests that are under way are answered first."""
    settings = Settings.from_environ(os.environ)
    settings.require_master_key()
    logs.configure(settings.log_level)
    if settings.database_url is None:
        settings = replace(settings, database_url=embedded.start(settings.data_dir))
    _look_first(settings)
    if settings.workers > 1 and settings.redis_url is None:
        log.warning(
            "limits_are_counted_by_each_worker",
            meaning=f"a caller may make up to {settings.workers} times the requests of its limit; "
            "set HARBOR_REDIS_URL to count together",
        )
    Service(settings).run()


def _look_first(settings: Settings) -> None:
    """Raise WrongMasterKey where it is; what may mend itself, or be mended meanwhile, is only logged."""
    assert settings.database_url is not None
    value = check_value(settings.require_master_key())
    seen = first_look.look(settings.database_url, timeout_ms=settings.database_timeout_ms, check_value=value)
    if seen.cause is not None:
        log.warning("database_does_not_answer", cause=seen.cause)
    elif seen.revision is None:
        log.warning("database_is_empty", cause="the database has no tables yet: run harbor-api migrate")
    elif seen.check_value not in {None, value.hex()}:
        raise WrongMasterKey
