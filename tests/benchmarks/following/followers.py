"""Thousands of clients that follow the stream, in one process, and when each of them learned what.

It asks as many times as it is told, reads whatever comes, and looks into what some of them get. It knows
nothing of the service, so that it is there at once. ``job.py`` starts it, and says on its standard input when
to look and when that is enough.

    python -m tests.benchmarks.following.followers PORT FOLLOWERS LOOKED_AT SILENT SECRET QUERY...

Or all of them resume at once, and it tells how long it takes until each has so many positions:

    python -m tests.benchmarks.following.followers resume PORT FOLLOWERS POSITIONS SECRET QUERY
"""

import json
import re
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from itertools import cycle

_RECORDED = re.compile(rb'"recorded_at":"([^"]+)"')
_HELLO, _POSITION = b"event: hello", b"event: position"
# So many are opened at once: the kernel's queue of those that nobody has accepted yet is no longer.
_AT_ONCE = 200
_PATIENCE_S = 120


class _Follower:
    __slots__ = ("is_silent", "received", "socket")

    def __init__(self, connection: socket.socket, *, is_silent: bool) -> None:
        self.socket = connection
        self.is_silent = is_silent
        # What came when, of one that is looked at.
        self.received: list[tuple[float, bytes]] | None = None


def _open(port: int, requests: Iterator[bytes], many: int, *, silent: int) -> list[_Follower]:
    """Return followers that have been greeted; the last ones will read nothing more."""
    opened: list[_Follower] = []
    while len(opened) < many:
        wave = []
        for _ in range(min(_AT_ONCE, many - len(opened))):
            connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
            connection.sendall(next(requests))
            wave.append(connection)
        for connection in wave:
            greeting = b""
            while _HELLO not in greeting:
                part = connection.recv(65_536)
                if not part or b"HTTP/1.1 200" not in (greeting or part):
                    raise SystemExit(f"not greeted: {(greeting + part)[:500]!r}")
                greeting += part
            connection.setblocking(False)
            opened.append(_Follower(connection, is_silent=len(opened) >= many - silent))
    return opened


def _read(followers: list[_Follower], over: threading.Event) -> dict[str, int]:
    """Read what comes until it is over."""
    poll = select.epoll()
    by_number = {}
    for each in followers:
        if not each.is_silent:
            poll.register(each.socket.fileno(), select.EPOLLIN)
            by_number[each.socket.fileno()] = each
    buffer = memoryview(bytearray(1 << 20))
    counted = {"bytes": 0, "ended": 0}
    while not over.is_set():
        for number, _ in poll.poll(0.1):
            follower = by_number[number]
            try:
                many = follower.socket.recv_into(buffer)
            except BlockingIOError:
                continue
            if not many:
                counted["ended"] += 1
                poll.unregister(number)
                continue
            counted["bytes"] += many
            if follower.received is not None:
                follower.received.append((time.monotonic(), bytes(buffer[:many])))
    return counted


def _resume(port: int, request: bytes, many: int, positions: int) -> dict[str, float]:
    """Return when the first and when the last follower had all, and how many have more or fewer."""
    began = time.monotonic()
    poll, counted, tails = select.epoll(), {}, {}
    sockets = []
    for _ in range(many):
        connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        connection.sendall(request)
        connection.setblocking(False)
        poll.register(connection.fileno(), select.EPOLLIN)
        sockets.append(connection)
        counted[connection.fileno()], tails[connection.fileno()] = 0, b""
    by_number = {each.fileno(): each for each in sockets}
    first, whole = 0.0, set()
    while len(whole) < many and time.monotonic() - began < _PATIENCE_S:
        for number, _ in poll.poll(1):
            part = by_number[number].recv(1 << 18)
            if not part:
                poll.unregister(number)
                continue
            # The mark may come in two parts.
            held = tails[number] + part
            counted[number] += held.count(_POSITION)
            tails[number] = held[-len(_POSITION) + 1 :]
            if counted[number] >= positions:
                whole.add(number)
                first = first or time.monotonic() - began
    wrong = sum(each != positions for each in counted.values())
    return {"first_s": first, "last_s": time.monotonic() - began, "wrong": wrong}


def _arrivals(follower: _Follower) -> Iterator[tuple[str, float]]:
    """Yield what a follower was told, and when the last of it was there."""
    held = b""
    for at, part in follower.received or ():
        *whole, held = (held + part).split(b"\n\n")
        for frame in whole:
            found = _RECORDED.search(frame)
            if found is not None and b"event: position" in frame:
                yield found[1].decode(), at


def _request(secret: str, query: str) -> bytes:
    head = f"Host: harbor\r\nAuthorization: Bearer {secret}\r\nAccept: text/event-stream\r\n"
    return f"GET /api/v1/positions/stream?{query} HTTP/1.1\r\n{head}\r\n".encode()


def main() -> None:
    """Open, say ``ready``, look from the first line of the input to the second, and print what was seen."""
    if sys.argv[1] == "resume":
        port, many, positions = (int(each) for each in sys.argv[2:5])
        print(json.dumps(_resume(port, _request(*sys.argv[5:7]), many, positions)), flush=True)
        return
    port, many, looked_at, silent = (int(each) for each in sys.argv[1:5])
    secret, *queries = sys.argv[5:]
    requests = cycle([_request(secret, query) for query in queries])
    began = time.monotonic()
    followers = _open(port, requests, many, silent=silent)
    print(json.dumps({"opened_s": time.monotonic() - began}), flush=True)
    over = threading.Event()

    def obey() -> None:
        sys.stdin.readline()
        step = max(1, (many - silent) // looked_at)
        for each in followers[: many - silent : step]:
            each.received = []
        sys.stdin.readline()
        over.set()

    threading.Thread(target=obey, daemon=True).start()
    counted = _read(followers, over)
    arrivals = [list(_arrivals(each)) for each in followers if each.received is not None]
    print(json.dumps({**counted, "spent_s": time.process_time(), "arrivals": arrivals}), flush=True)


if __name__ == "__main__":
    main()
