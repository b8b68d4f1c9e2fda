"""harbor-api serve: gunicorn with gevent workers, in this process.

This module must not import psycopg or SQLAlchemy: gevent patches a worker after the fork, and psycopg
chooses how it waits when it is imported.
"""

import os
from dataclasses import replace

import click
import structlog

from harbor_api.postgres import embedded
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
    if settings.workers > 1 and settings.redis_url is None:
        log.warning(
            "limits_are_counted_by_each_worker",
            meaning=f"a caller may make up to {settings.workers} times the requests of its limit; "
            "set HARBOR_REDIS_URL to count together",
        )
    Service(settings).run()
