"""The service under gunicorn: its options, and what its connections may take.

This module must not import psycopg or SQLAlchemy: gevent patches a worker after the fork, and psycopg
chooses how it waits when it is imported.
"""

import resource
from dataclasses import replace
from typing import Any

from gunicorn.app.base import BaseApplication

from harbor_api.server.connections import Bounds
from harbor_api.settings import Settings

# Beside connections a worker opens its log, those to PostgreSQL and Redis, and files of the docs page.
_OTHER_FILES = 256
_MOST_FILES = 1 << 16


class Service(BaseApplication):
    """The service under gunicorn, as its settings say."""

    def __init__(self, settings: Settings, *, bounds: Bounds | None = None) -> None:
        self._settings = settings
        # Workers find it here.
        self.bounds = bounds or _bounds(settings)
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        options: dict[str, Any] = {
            "bind": settings.bind,
            "workers": settings.workers,
            "worker_class": "harbor_api.server.worker.Worker",
            "proc_name": "harbor-api",
            "loglevel": settings.log_level,
            # The application logs requests itself, with their ids; a second line would cost twice.
            "accesslog": None,
            "errorlog": "-",
            "logger_class": "harbor_api.server.logger.StructuredLogger",
            # A slow client is gevent's to wait for, not a reason to kill the worker.
            "timeout": 60,
            "graceful_timeout": 20,
            # Not how long a connection is kept, which `bounds` says: only that it is.
            "keepalive": 75,
            # Room for those that are being closed to make room.
            "worker_connections": self.bounds.connections + _OTHER_FILES // 2,
            # An answer is sent piece by piece, so that it shows how fast a client reads.
            "sendfile": False,
            "control_socket_disable": True,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        # Imported in the worker, once gevent has patched it.
        from harbor_api.app import create_app  # noqa: PLC0415 - see the top

        return create_app(self._settings)


def _bounds(settings: Settings) -> Bounds:
    """Return what connections may take, with as many as this machine lets a process open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MOST_FILES if most == resource.RLIM_INFINITY else min(most, _MOST_FILES)
    # What a shell gives is often 1,024, which is for programs that use select().
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    usual = Bounds()
    return replace(
        usual,
        connections=max(16, min(usual.connections, files - _OTHER_FILES)),
        connections_per_address=None if settings.trusted_proxies else usual.connections_per_address,
    )
