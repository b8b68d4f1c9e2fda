"""The exporter: a process beside the workers that answers /metrics, and nothing else.

What it is asked takes it tens of milliseconds, in which a worker would answer nobody: so it is no worker. It
adds up what the processes of the service have counted (``telemetry/processes.py``), asks PostgreSQL on a
connection of its own, and answers while all workers are busy, hang or are dead. It ends with the process that
has started it.

It is started as ``python -m harbor_api.server.exporter SOCKET``, with what it needs to know as JSON on its
standard input: neither arguments nor the environment, where others could see the database's password.
"""

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from platform import python_version
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import InfoMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from harbor_api import __version__
from harbor_api.database import Database
from harbor_api.server.database_figures import DatabaseFigures
from harbor_api.telemetry import logs

PATH = "/metrics"
# Several Prometheus servers ask, and somebody looks; one that says nothing is let go.
_MOST_AT_ONCE = 16
_SILENT_S = 10.0
_LOOK_EVERY_S = 0.5
# How long PostgreSQL may take for a statement, at most; who asks waits for less.
_TIMEOUT_MS = 5_000

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Build(Collector):
    """Which release this is."""

    def collect(self) -> Iterable[InfoMetricFamily]:
        """Return the one series."""
        value = {"version": __version__, "python": python_version()}
        yield InfoMetricFamily("harbor_build", "The release that runs.", value=value)


def application(*collectors: Collector) -> Application:
    """Return the WSGI application that tells what some collectors find, in the format that is asked for."""
    registry = CollectorRegistry(auto_describe=False)
    for each in collectors:
        registry.register(each)
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == PATH:
            found: Iterable[bytes] = metrics(environ, start_response)
            return found
        status = HTTPStatus.NOT_FOUND
        text = f"There is nothing here but {PATH}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [text]

    return answer


class _Handler(WSGIRequestHandler):
    timeout = _SILENT_S

    def log_message(self, *_: Any) -> None:
        """Write no line: Prometheus knows how it went."""

    def address_string(self) -> str:
        """Return no name, which would have to be looked up."""
        return str(self.client_address[0])


class Server(ThreadingMixIn, WSGIServer):
    """A small server on a socket that listens already, a thread for each who asks."""

    daemon_threads = True
    timeout = _LOOK_EVERY_S

    def __init__(self, listener: socket.socket, application: Application) -> None:
        address = listener.getsockname()[:2]
        super().__init__(address, _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_name, self.server_port = address
        self.setup_environ()
        self.set_app(application)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - as it is called
        """Return whether there is room for one more."""
        return threading.active_count() <= _MOST_AT_ONCE

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let whoever is slow or goes away do so without a trace in the log."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def serve_while(self, is_to_go_on: Callable[[], bool]) -> None:
        """Answer for as long as that is so."""
        while is_to_go_on():
            self.handle_request()


def main(descriptor: int) -> None:
    """Serve on an open socket until whoever has started this is gone."""
    # Before anything that takes time: it may be gone by the end of that.
    parent = os.getppid()
    # A terminal sends them to all: that which has started this is told, and ends it last.
    for each in (signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    told = json.load(sys.stdin)
    logs.configure(told["log_level"])
    database = Database(
        told["database_url"],
        pool_size=1,
        timeout_ms=_TIMEOUT_MS,
        is_pooled=told["is_pooled"],
        replica_url=told["replica_url"],
    )
    answer = application(
        Build(), MultiProcessCollector(None, path=told["directory"]), DatabaseFigures(database)
    )
    with Server(socket.socket(fileno=descriptor), answer) as server:
        server.serve_while(lambda: os.getppid() == parent)


if __name__ == "__main__":
    main(int(sys.argv[1]))
