"""A service that does what a script says, byte by byte: what it is that fails is the client's."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import parse_headers
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

# What one connection answers, piece by piece. None keeps it open, and silent, until the client goes.
Act = list[bytes | None]
NOT_KNOWN = "no such key"


@dataclass(frozen=True)
class Asked:
    """One request of the client."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def begins(self) -> str | None:
        """Return where it wants to go on, whichever way it says so."""
        return self.headers.get("last-event-id") or self.query.get("cursor")


@dataclass
class Scripted:
    """Answers one act a connection, and 401 when there is none left: nobody goes on after that."""

    script: list[Act] | Callable[[Asked], Act]
    base_url: str = ""
    asked: list[Asked] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def act(self, asked: Asked) -> Act:
        self.asked.append(asked)
        if callable(self.script):
            return self.script(asked)
        turn = len(self.asked) - 1
        return self.script[turn] if turn < len(self.script) else refusal(401, detail=NOT_KNOWN)


def frame(kind: str, data: Any, cursor: str | None = None) -> bytes:
    """Return a block of the stream as the service writes it."""
    head = "" if cursor is None else f"id: {cursor}\n"
    return f"{head}event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def hello(cursor: str | None = "c0", heartbeat_s: float = 20) -> bytes:
    return b"retry: 4000\n" + frame("hello", {"cursor": cursor, "heartbeat_s": heartbeat_s}, cursor)


def position(number: int) -> bytes:
    return frame("position", {"op": "upsert", "id": number}, f"c{number}")


def stream(*frames: bytes, ends: bool = True, stays: bool = False) -> Act:
    """Return an answer of chunks, a chunk a frame; one that does not end is cut."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = [b"%x\r\n%s\r\n" % (len(each), each) for each in frames]
    return [head, *chunks, *([None] if stays else [b"0\r\n\r\n"] if ends else [])]


def refusal(status: int, *headers: str, **members: Any) -> Act:
    body = json.dumps({"status": status, **members}).encode()
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: application/problem+json",
        *headers,
    ]
    return ["\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body]


@contextmanager
def performing(script: list[Act] | Callable[[Asked], Act]) -> Iterator[Scripted]:
    """Run a script on a free port of the loopback interface until the block ends."""
    service = Scripted(script)

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline().decode()
            if not line:
                return
            target = urlsplit(line.split()[1])
            headers = {name.lower(): value for name, value in parse_headers(self.rfile).items()}
            with suppress(ConnectionError):
                for piece in service.act(Asked(target.path, dict(parse_qsl(target.query)), headers)):
                    if piece is None:
                        self.connection.settimeout(0.05)
                        while not service.over.is_set():
                            with suppress(TimeoutError):
                                if not self.connection.recv(1):
                                    return
                    else:
                        self.connection.sendall(piece)

    class Server(ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        service.base_url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield service
        finally:
            service.over.set()
            server.shutdown()
