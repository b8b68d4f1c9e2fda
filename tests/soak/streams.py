"""Very many who follow everything, in a process of their own, and whether each was told all of it in order.

Told its ``Order`` on the input's first line, it opens so many streams and says ``ready``. Each further line
is answered by one: ``tell`` by what was met since the line before, ``end COUNT`` by the whole, once all
streams have been told so many positions.

It has to be light, as it shares the machine with what is measured. So a few streams are read as soon as
something comes, and tell when; the others a part at a time, each twice a second: what comes meanwhile lies in
the kernel. All streams are told the same bytes, so an event is looked into once: the first stream that has it
notes its digest, and each other one has to have the same at this place.
"""

import json
import select
import socket
import ssl
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.soak.timing import Taken
from tests.support.urls import STREAM

_POSITION = b"\nevent: position\ndata: "
_KNOWN = {"hello", "heartbeat", "bye"}
# Looked at once in so many parts of a round, and a round takes so long.
_PARTS, _ROUND_S = 50, 0.5
_OPENED_AT_ONCE = 100
_PATIENCE_S = 60.0
_AGAIN_S = 1.0
# No address opens more: nginx lets one have a thousand requests at once, the service 256 connections.
_OF_AN_ADDRESS = 200


@dataclass(frozen=True)
class Order:
    """So many streams with these keys in turns; ``certificate`` is empty where there is no TLS.

    ``looked_at`` of them tell when they are told.
    """

    port: int
    certificate: str
    keys: list[str]
    streams: int
    looked_at: int


@dataclass
class Log:
    """What all are told, in order: of each position its digest, its vessel, and when it was recorded."""

    digests: list[int] = field(default_factory=list)
    fixes: list[tuple[int, str]] = field(default_factory=list)
    delays: Taken = field(default_factory=Taken)
    unexpected: Counter[str] = field(default_factory=Counter)
    told: int = 0
    connected_again: int = 0

    def is_next(self, place: int, data: bytes) -> bool:
        """Return whether this is what comes at a place; who comes there first says what it is."""
        if place < len(self.digests):
            return self.digests[place] == hash(data)
        item = json.loads(data)
        self.digests.append(hash(data))
        self.fixes.append((item["vessel_id"], item["recorded_at"]))
        if item["op"] != "upsert":
            self.unexpected[f"told of {item['op']}"] += 1
        return True


class Stream:
    """One that follows all; it comes again where it was told to go."""

    def __init__(self, number: int, order: Order, context: ssl.SSLContext | None, log: Log) -> None:
        self._number = number
        self._order = order
        self._context = context
        self._log = log
        self.place = 0
        self.is_greeted = False
        self.socket: socket.socket | None = None
        self._again_at = 0.0
        self._last_id: bytes | None = None
        self.connect()

    def connect(self) -> None:
        """Begin, or go on behind what was told last."""
        source = f"127.0.0.{2 + self._number // _OF_AN_ADDRESS}"
        self.socket = socket.create_connection(
            ("127.0.0.1", self._order.port), timeout=_PATIENCE_S, source_address=(source, 0)
        )
        self._tls: ssl.SSLObject | None = None
        self._held = b""
        self._is_head = True
        self._is_told_to_go = False
        query = "" if self._last_id else "?from=now"
        headers = {
            "Host": "localhost",
            "Authorization": f"Bearer {self._order.keys[self._number % len(self._order.keys)]}",
            "Accept": "text/event-stream",
        } | ({"Last-Event-ID": self._last_id.decode()} if self._last_id else {})
        # Without chunks: what comes is the events and nothing else.
        lines = [f"GET {STREAM}{query} HTTP/1.0", *(f"{name}: {value}" for name, value in headers.items())]
        request = "\r\n".join((*lines, "", "")).encode()
        if self._context is not None:
            self._incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = self._context.wrap_bio(self._incoming, outgoing, server_hostname="localhost")
            self._greet(self.socket, self._tls, outgoing)
            self._tls.write(request)
            request = outgoing.read()
        self.socket.sendall(request)
        self.socket.setblocking(False)

    def _greet(self, connection: socket.socket, tls: ssl.SSLObject, outgoing: ssl.MemoryBIO) -> None:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                self._incoming.write(connection.recv(1 << 16))
                continue
            connection.sendall(outgoing.read())
            return

    def read(self, buffer: memoryview, *, at: float | None = None) -> None:
        """Take what there is; ``at`` is the time, where it is to be noted how late each is."""
        if self.socket is None:
            if time.monotonic() >= self._again_at:
                self._log.connected_again += 1
                self.connect()
            return
        try:
            many = self.socket.recv_into(buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._leave(type(error).__name__)
            return
        if not many:
            self._leave("" if self._is_told_to_go else "a stream ended without a word")
            return
        self._held += self._decrypted(bytes(buffer[:many])) if self._tls else bytes(buffer[:many])
        if self._is_head and not self._take_head():
            return
        *events, self._held = self._held.split(b"\n\n")
        for each in events:
            self._take(each, at)

    def _decrypted(self, data: bytes) -> bytes:
        self._incoming.write(data)
        parts = []
        try:
            assert self._tls is not None
            while part := self._tls.read(1 << 16):
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            # The end comes with the connection's.
            pass
        return b"".join(parts)

    def _take_head(self) -> bool:
        head, end, rest = self._held.partition(b"\r\n\r\n")
        if not end:
            return False
        status = head.split(b" ", 2)[1].decode()
        if status != "200":
            self._leave("" if status == "429" else f"a stream was answered with {status}")
            return False
        self._is_head, self._held = False, rest
        return True

    def _take(self, event: bytes, at: float | None) -> None:
        head, is_position, data = event.partition(_POSITION)
        if is_position:
            if not self._log.is_next(self.place, data):
                self._log.unexpected["a stream was told something else than others"] += 1
            self.place += 1
            self._log.told += 1
            self._last_id = head.removeprefix(b"id: ")
            if at is not None:
                self._note_delay(data, at)
            return
        fields = dict(line.partition(b": ")[::2] for line in event.split(b"\n"))
        self._last_id = fields.get(b"id", self._last_id)
        name = fields.get(b"event", b"heartbeat").decode()
        if name == "hello":
            self.is_greeted = True
        elif name == "bye":
            self._is_told_to_go = True
        if name not in _KNOWN or (name == "bye" and json.loads(fields[b"data"])["reason"] != "rotation"):
            self._log.unexpected[f"a stream was told {event.decode()}"] += 1

    def _note_delay(self, data: bytes, at: float) -> None:
        # A tracker records a fix when it sends it.
        recorded = data[data.index(b'"recorded_at":"') + 15 :].partition(b'"')[0].decode()
        self._log.delays.add(at - datetime.fromisoformat(recorded).timestamp())

    def _leave(self, why: str) -> None:
        if why:
            self._log.unexpected[why] += 1
        assert self.socket is not None
        self.socket.close()
        self.socket = None
        self._again_at = time.monotonic() + (_AGAIN_S if why else 0)


class Crowd:
    """All of them."""

    def __init__(self, order: Order) -> None:
        context = ssl.create_default_context(cafile=order.certificate) if order.certificate else None
        self.log = Log()
        self._buffer = memoryview(bytearray(1 << 20))
        self._streams: list[Stream] = []
        while len(self._streams) < order.streams:
            first = len(self._streams)
            last = min(first + _OPENED_AT_ONCE, order.streams)
            self._streams += [Stream(number, order, context, self.log) for number in range(first, last)]
            self._await_greetings(self._streams[first:])
        step = max(1, order.streams // max(1, order.looked_at))
        self._looked_at = self._streams[::step]
        self._others = [each for number, each in enumerate(self._streams) if number % step]
        self._part = 0

    def _await_greetings(self, streams: list[Stream]) -> None:
        until = time.monotonic() + _PATIENCE_S
        while not all(each.is_greeted for each in streams):
            if time.monotonic() > until or self.log.unexpected:
                raise SystemExit(f"not all streams were greeted: {dict(self.log.unexpected)}")
            for each in streams:
                each.read(self._buffer)
            time.sleep(0.01)

    def read_for_a_while(self) -> bool:
        """Read until the next part of the others is due, and those; return whether a line was said."""
        until = time.monotonic() + _ROUND_S / _PARTS
        poll = select.poll()
        poll.register(sys.stdin, select.POLLIN)
        by_number = {each.socket.fileno(): each for each in self._looked_at if each.socket is not None}
        for number in by_number:
            poll.register(number, select.POLLIN)
        is_said = False
        while (left := until - time.monotonic()) > 0:
            for number, _ in poll.poll(left * 1000):
                if number == sys.stdin.fileno():
                    is_said = True
                    poll.unregister(sys.stdin)
                    continue
                stream = by_number[number]
                stream.read(self._buffer, at=time.time())
                if stream.socket is None:
                    poll.unregister(number)
        for each in self._looked_at:
            if each.socket is None:
                each.read(self._buffer)
        for each in self._others[self._part :: _PARTS]:
            each.read(self._buffer)
        self._part = (self._part + 1) % _PARTS
        return is_said

    def tell(self) -> dict[str, Any]:
        """Return what was met since it was asked last."""
        places = [each.place for each in self._streams]
        told = {
            "delay": self.log.delays.taken(),
            "told": self.log.told,
            "least": min(places),
            "most": max(places),
            "connected_again": self.log.connected_again,
            "unexpected": dict(self.log.unexpected),
            "cpu_s": time.process_time(),
        }
        self.log.told = 0
        self.log.unexpected.clear()
        return told

    def end(self, count: int) -> dict[str, Any]:
        """Read on until all have been told so many, and return what they were told."""
        until = time.monotonic() + _PATIENCE_S
        while any(each.place < count for each in self._streams) and time.monotonic() < until:
            self.read_for_a_while()
        return self.tell() | {
            "behind": sum(each.place != count for each in self._streams),
            "fixes": self.log.fixes,
        }


def main() -> None:
    """Do what is ordered until it is said to be enough."""
    crowd = Crowd(Order(**json.loads(sys.stdin.readline())))
    print("ready", flush=True)
    while True:
        if crowd.read_for_a_while():
            said, *values = sys.stdin.readline().split() or ["end", "0"]
            is_over = said == "end"
            print(json.dumps(crowd.end(int(values[0])) if is_over else crowd.tell()), flush=True)
            if is_over:
                return


if __name__ == "__main__":
    main()
