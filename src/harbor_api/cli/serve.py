"""harbor-api serve: gunicorn with gevent workers, in this process.

This module must not import psycopg or SQLAlchemy: gevent patches a worker after the fork, and psycopg
chooses how it waits when it is imported.
"""

import os
from dataclasses import replace
from typing import Any

import click
import structlog
from gunicorn.app.base import BaseApplication

from harbor_api import embedded, logs
from harbor_api.settings import Settings

log = structlog.get_logger(__name__)


class _Service(BaseApplication):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        options: dict[str, Any] = {
            "bind": settings.bind,
            "workers": settings.workers,
            "worker_class": "harbor_api.cli.gunicorn_worker.Worker",
            "proc_name": "harbor-api",
            "loglevel": settings.log_level,
            # The application logs requests itself, with their ids; a second line would cost twice.
            "accesslog": None,
            "errorlog": "-",
            "logger_class": "harbor_api.cli.gunicorn_logging.StructuredLogger",
            # A slow client is gevent's to wait for, not a reason to kill the worker.
            "timeout": 60,
            "graceful_timeout": 20,
            "keepalive": 75,
            "control_socket_disable": True,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        # Imported in the worker, once gevent has patched it.
        from harbor_api.app import create_app  # noqa: PLC0415 - see the top

        return create_app(self._settings)


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
    _Service(settings).run()
