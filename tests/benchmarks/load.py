"""The load: requests that were made and signed beforehand, sent over connections that stay open.

One process and one epoll loop, which does nothing but send, receive and count. ``python -m
tests.benchmarks.load PORT`` is a server that does nothing at all; what the load reaches against it is
the load's own ceiling.
"""

import asyncio
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field

_PATIENCE_S = 60
# Connections come one by one, as trackers' do; all at once, one worker of several would accept the most.
_BETWEEN_CONNECTIONS_S = 0.01
_LENGTH = b"\r\ncontent-length:"
_LONGEST_HEAD = 1 << 16
_WITHOUT_BODY = (204, 304)


# Gets the status and the body of an answer.
CountedIn = Callable[[int, memoryview], int]


@dataclass
class Outcome:
    """What came back, the warm-up included; ``rate`` and ``latencies_ms`` are of the measured time only."""

    counted: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    refusal: str = ""
    rate: float = 0
    measured_s: float = 0
    latencies_ms: list[float] = field(default_factory=list)


class _Connection:
    """One request under way at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.sent_at = 0.0
        self._buffer = bytearray(_LONGEST_HEAD)
        self._filled = self._whole = self._body_at = self._status = 0
        self._unsent = memoryview(b"")

    def send(self, request: bytes | memoryview) -> bool:
        """Send a request, or more of it; tell whether all of it is on its way."""
        try:
            sent = self.socket.send(request)
        except BlockingIOError:
            sent = 0
        self._unsent = memoryview(request)[sent:]
        return not self._unsent

    def send_more(self) -> bool:
        return self.send(self._unsent)

    def receive(self) -> tuple[int, memoryview] | None:
        """Return the status and the body of an answer once all of it is there.

        The body is overwritten by the next answer: megabytes are not copied for one that is only counted.
        """
        received = self.socket.recv_into(memoryview(self._buffer)[self._filled :])
        if not received:
            raise ConnectionError(f"the server hung up after {self._buffer[: self._filled][:200]!r}")
        self._filled += received
        if not self._whole and not self._read_head():
            return None
        if self._filled < self._whole:
            return None
        body = memoryview(self._buffer)[self._body_at : self._whole]
        self._filled = self._whole = 0
        return self._status, body

    def _read_head(self) -> bool:
        """Learn from the head how much there is to come, and make room for it; tell whether it is there."""
        end = self._buffer.find(b"\r\n\r\n", 0, self._filled)
        if end < 0:
            return False
        head = bytes(self._buffer[:end]).lower()
        self._status, self._body_at = int(head[9:12]), end + 4
        _, found, length = head.partition(_LENGTH)
        if not found and self._status not in _WITHOUT_BODY:
            raise ValueError(f"an answer without Content-Length: {head!r}")
        bytes_of_body = 0 if self._status in _WITHOUT_BODY else int(length.partition(b"\r\n")[0])
        self._whole = self._body_at + bytes_of_body
        if self._whole > len(self._buffer):
            self._buffer = self._buffer.ljust(self._whole)
        return True


class _Load:
    """Keeps every connection busy, and counts."""

    def __init__(self, poll: select.epoll, requests: Iterable[bytes], counted_in: CountedIn) -> None:
        self.outcome = Outcome()
        self.last_answer = 0.0
        self._poll = poll
        self._requests = iter(requests)
        self._counted_in = counted_in
        self._idle: list[_Connection] = []
        self._busy: dict[int, _Connection] = {}

    @property
    def answers(self) -> int:
        return self.outcome.statuses.total()

    def add(self, connection: _Connection) -> None:
        self._poll.register(connection.socket, 0)
        self._idle.append(connection)

    def work(self, seconds: float) -> None:
        """Send requests for some time, or until there are no more."""
        until = time.perf_counter() + seconds
        while self._idle and self._send_next(self._idle[-1]):
            self._idle.pop()
        while self._busy and time.perf_counter() < until:
            for connection in self._answered(until - time.perf_counter()):
                self._send_next(connection)

    def finish(self) -> None:
        """Wait for the answers that are still to come."""
        while self._busy:
            self._answered(_PATIENCE_S)

    def _send_next(self, connection: _Connection) -> bool:
        request = next(self._requests, None)
        if request is None:
            return False
        connection.sent_at = time.perf_counter()
        whole = connection.send(request)
        self._poll.modify(connection.socket, select.EPOLLIN if whole else select.EPOLLIN | select.EPOLLOUT)
        self._busy[connection.socket.fileno()] = connection
        return True

    def _answered(self, patience: float) -> list[_Connection]:
        """Wait a while, and return the connections that have got their answer."""
        done = []
        events = self._poll.poll(patience)
        if not events and patience == _PATIENCE_S:
            raise TimeoutError(f"no answer for {_PATIENCE_S} s")
        for number, event in events:
            connection = self._busy.get(number)
            if connection is None:
                # The server has hung up between two requests; whoever sends the next one is told.
                self._poll.unregister(number)
                continue
            if event & select.EPOLLOUT and connection.send_more():
                self._poll.modify(number, select.EPOLLIN)
            answer = connection.receive() if event & ~select.EPOLLOUT else None
            if answer:
                self._count(connection, *answer)
                del self._busy[number]
                done.append(connection)
        return done

    def _count(self, connection: _Connection, status: int, body: memoryview) -> None:
        self.last_answer = time.perf_counter()
        self.outcome.latencies_ms.append((self.last_answer - connection.sent_at) * 1000)
        self.outcome.statuses[status] += 1
        counted = self._counted_in(status, body)
        self.outcome.counted += counted
        if not counted and not self.outcome.refusal:
            self.outcome.refusal = bytes(body[:500]).decode(errors="replace")


def replay(
    port: int,
    requests: Iterable[bytes],
    *,
    connections: int,
    warmup_s: float,
    seconds: float,
    counted_in: CountedIn,
    least: int = 0,
    at_edges: Callable[[], None] = lambda: None,
) -> Outcome:
    """Send requests until the time is over or all are sent, and wait for every answer.

    Where fewer than ``least`` have come by then, up to five times as long; then the warm-up, too, takes
    until each connection has had an answer, so that all workers have what they keep.

    ``counted_in`` tells from an answer what it counts for: a post for the fixes that it acknowledges, a read
    for one where it is as meant; ``rate`` is how many a second that was after the warm-up. ``at_edges`` is
    called when the measured time begins and when it is over.
    """
    with ExitStack() as stack:
        load = _Load(stack.enter_context(select.epoll()), requests, counted_in)
        for _ in range(connections):
            connection = _Connection(port)
            stack.callback(connection.socket.close)
            load.add(connection)
            time.sleep(_BETWEEN_CONNECTIONS_S)
        outcome = load.outcome
        began = time.perf_counter()
        load.work(warmup_s)
        while least and load.answers < connections and time.perf_counter() < began + 5 * seconds:
            load.work(seconds / 4)
        at_edges()
        outcome.latencies_ms.clear()
        began, counted_before, answers_before = time.perf_counter(), outcome.counted, load.answers
        load.work(seconds)
        while load.answers - answers_before < least and time.perf_counter() < began + 5 * seconds:
            load.work(seconds / 4)
        outcome.measured_s = max(load.last_answer - began, 1e-9)
        outcome.rate = (outcome.counted - counted_before) / outcome.measured_s
        at_edges()
        load.finish()
    return outcome


class _Nothing(asyncio.Protocol):
    """Answers every request alike, without reading it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Nothing, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
