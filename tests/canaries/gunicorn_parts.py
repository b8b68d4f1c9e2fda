"""gunicorn's own parser and worker over a pair of sockets, for the canaries."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gunicorn import http
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.ggevent import GeventWorker

PEER = ("192.0.2.1", 4711)


class Quiet(Logger):
    """A logger that opens nothing."""

    def setup(self, cfg: Any) -> None:
        self.error_log.setLevel(logging.CRITICAL)


class Source:
    """A socket of which a reader finds nothing but ``recv``, as with server/connections.py."""

    __slots__ = ("_sock", "asked")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.asked = 0

    def recv(self, size: int) -> bytes:
        self.asked += 1
        return self._sock.recv(size)


class Watched:
    """A whole socket that notes what is done to it, and hands all else on."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.done: list[Any] = []

    def sendall(self, data: bytes) -> None:
        self.done.append(("sendall", data))
        self._sock.sendall(data)

    def send(self, data: bytes) -> int:
        self.done.append(("send", data))
        return self._sock.send(data)

    def shutdown(self, how: int) -> None:
        self.done.append("shutdown")
        self._sock.shutdown(how)

    def close(self) -> None:
        self.done.append("close")
        self._sock.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@contextmanager
def requests(sent: bytes, *, then: bytes | None = None) -> Iterator[tuple[Any, Callable[[bytes], None]]]:
    """Yield gunicorn's parser over what a client has sent, and a function by which it sends more.

    With ``then`` the client sends that as well, and nothing more.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        theirs.sendall(sent)
        if then is not None:
            theirs.sendall(then)
            theirs.shutdown(socket.SHUT_WR)
        yield http.get_parser(_config(), Source(ours), PEER), theirs.sendall


@contextmanager
def handled(
    sent: bytes, application: Callable[..., Any], *, worker: type[GeventWorker] = GeventWorker
) -> Iterator[tuple[Any, Watched, bytes]]:
    """Yield the worker, the socket, and what came back, once it has handled what a client sent."""
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listener:
        theirs.settimeout(5)
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        config = _config()
        made = worker(1, 1, [], None, 30, config, Quiet(config))
        try:
            made.wsgi = application
            watched = Watched(ours)
            made.handle(listener, watched, PEER)
        finally:
            made.tmp.close()
        received = b""
        while data := theirs.recv(65_536):
            received += data
        yield made, watched, received


def _config() -> Config:
    config = Config()
    config.set("keepalive", 5)
    config.set("sendfile", False)
    return config
