"""The service under gunicorn: its options, and what its connections may take.

This module must not import psycopg or SQLAlchemy: gevent patches a worker after the fork, and psycopg
chooses how it waits when it is imported.
"""

import os
import resource
import signal
import socket
from dataclasses import replace
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.http import message

from harbor_api.server.arbiter import Arbiter
from harbor_api.server.connections import Bounds
from harbor_api.server.exporting import Exporting
from harbor_api.server.listening import is_activated, listen
from harbor_api.server.shares import Board
from harbor_api.settings import Settings

# Beside connections a worker opens its log, those to PostgreSQL and Redis, and files of the docs page.
_OTHER_FILES = 256
_MOST_FILES = 1 << 16
# Partners ask for a thousand vessels at once, by id, IMO number and MMSI, and most clients write the commas
# between them as %2C: that makes 35,000 bytes. gunicorn takes no more than this number of its own says.
_LONGEST_LINE = 40_960
message.MAX_REQUEST_LINE = _LONGEST_LINE


class Service(BaseApplication):
    """The service under gunicorn, as its settings say."""

    def __init__(
        self,
        settings: Settings,
        *,
        bounds: Bounds | None = None,
        listener: socket.socket | None = None,
        metrics_listener: socket.socket | None = None,
    ) -> None:
        """Prepare to serve on ``listener``, or on what the settings say; SettingsError where nobody can.

        So with ``metrics_listener``, where the settings ask for metrics.
        """
        self._settings = settings
        # gunicorn would try five times, with two lines each, where an address is taken. It closes this one.
        self._listener = (listener or listen(settings.bind)).detach()
        self.is_activated = is_activated(os.environ)
        self._ends_with_terminal = _has_terminal() and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
        files = _files()
        # Those who follow take a file each and are no connections of the worker's, which get half at least.
        left = max(0, files - _OTHER_FILES)
        self._streams = min(settings.streams, left - min(left // 2, Bounds().connections))
        # Workers find it here.
        self.bounds = bounds or _bounds(settings, files - self._streams)
        self.board = Board()
        self.exporting: Exporting | None = None
        if settings.metrics_bind is not None:
            metrics_listener = metrics_listener or listen(
                settings.metrics_bind, setting="HARBOR_METRICS_BIND"
            )
            self.exporting = Exporting(settings, metrics_listener, self.board)
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        options: dict[str, Any] = {
            "bind": f"fd://{self._listener}",
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
            "limit_request_line": _LONGEST_LINE,
            # Room for those that are being closed to make room.
            "worker_connections": self.bounds.connections + _OTHER_FILES // 2,
            # An answer is sent piece by piece, so that it shows how fast a client reads.
            "sendfile": False,
            "control_socket_disable": True,
            "on_reload": self._hung_up,
            # What a proxy says is for the application to believe, which knows how many there are; gunicorn
            # would take the path and the scheme from whoever calls from this machine.
            "forwarder_headers": "",
            "forwarded_allow_ips": "",
            "secure_scheme_headers": {},
            **({} if self.exporting is None else self.exporting.hooks),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def _hung_up(self, _arbiter: Any) -> None:
        """End where the terminal that this began in was closed; else workers are made anew."""
        if self._ends_with_terminal:
            # As SIGTERM does.
            raise StopIteration

    def run(self) -> None:
        """Serve until the process is told to end."""
        Arbiter(self).run()

    def load(self) -> Any:
        # Imported in the worker, once gevent has patched it.
        from harbor_api.app import create_app  # noqa: PLC0415 - see the top

        return create_app(replace(self._settings, streams=self._streams))


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _files() -> int:
    """Return how many files this machine lets a process open, and let it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MOST_FILES if most == resource.RLIM_INFINITY else min(most, _MOST_FILES)
    # What a shell gives is often 1,024, which is for programs that use select().
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    return files


def _bounds(settings: Settings, files: int) -> Bounds:
    """Return what connections may take, of which each takes a file."""
    usual = Bounds()
    return replace(
        usual,
        connections=max(16, min(usual.connections, files - _OTHER_FILES)),
        connections_per_address=None if settings.trusted_proxies else usual.connections_per_address,
    )
