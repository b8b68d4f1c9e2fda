"""A client of the stream on a plain socket, which a test lets read or not, and cuts where it likes."""

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

STREAM = "/api/v1/positions/stream"
_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Event:
    name: str
    data: Any
    id: str | None


def events_in(text: str) -> Iterator[Event]:
    """Yield the whole events of a body, as WHATWG HTML says (9.2.6), but for what we never send."""
    for block in text.split("\n\n")[:-1]:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(": ")
            assert name in {"id", "event", "data", "retry"}, block
            fields[name] = value
        if "data" in fields:
            yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))


class StreamClient:
    """One connection with a stream on it."""

    def __init__(
        self,
        port: int,
        bearer: Mapping[str, str],
        *,
        last_seen: str | None = None,
        http: str = "1.1",
        method: str = "GET",
        receive_buffer: int | None = None,
        address: str = "127.0.0.1",
        behind: bytes = b"",
        **query: Any,
    ) -> None:
        """Ask for a stream, with `begin` for `from`; what is sent ``behind`` the request goes with it."""
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(_PATIENCE_S)
        self.socket.connect((address, port))
        text = urlencode({"from" if name == "begin" else name: value for name, value in query.items()})
        sent = {"Host": "harbor", **bearer} | ({} if last_seen is None else {"Last-Event-ID": last_seen})
        head = [
            f"{method} {STREAM}?{text} HTTP/{http}",
            *(f"{name}: {value}" for name, value in sent.items()),
        ]
        self.socket.sendall("\r\n".join((*head, "", "")).encode() + behind)
        self.events: list[Event] = []
        self.head = b""
        self.is_over = False
        self._raw = b""
        self._text = b""

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    @property
    def last_id(self) -> str | None:
        return next((each.id for each in reversed(self.events) if each.id is not None), None)

    @property
    def items(self) -> list[Any]:
        return [each.data for each in self.events if each.name == "position"]

    def until(self, is_so: Callable[["StreamClient"], bool]) -> "StreamClient":
        """Read until something is so; AssertionError where it is not in time, or the stream ends before."""
        deadline = time.monotonic() + _PATIENCE_S
        while not is_so(self):
            assert not self.is_over, self.events[-3:]
            assert time.monotonic() < deadline, self.events[-3:]
            self.read()
        return self

    def until_event(self, name: str) -> Event:
        """Read until an event has come, and return the last one of its name."""
        self.until(lambda stream: any(each.name == name for each in stream.events))
        return next(each for each in reversed(self.events) if each.name == name)

    def until_over(self) -> "StreamClient":
        """Read all that comes until the service ends it."""
        while not self.is_over:
            self.read()
        return self

    def read(self) -> None:
        """Read once."""
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            self.is_over = True
            return
        self._raw += data
        if not self.head:
            head, end, rest = self._raw.partition(b"\r\n\r\n")
            if not end:
                return
            self.head, self._raw = head, rest
        self._take_chunks()
        text, end, self._text = self._text.rpartition(b"\n\n")
        self.events += events_in((text + end).decode())

    def _take_chunks(self) -> None:
        if b"transfer-encoding: chunked" not in self.head.lower():
            self._text, self._raw = self._text + self._raw, b""
            return
        while True:
            size, end, rest = self._raw.partition(b"\r\n")
            if not end or len(rest) < int(size, 16) + 2:
                return
            assert rest[int(size, 16) :][:2] == b"\r\n"
            self._text += rest[: int(size, 16)]
            self._raw = rest[int(size, 16) + 2 :]

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "StreamClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
