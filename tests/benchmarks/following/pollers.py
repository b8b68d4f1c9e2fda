"""Hundreds of clients that ask for changes again and again, in one process, and when each learned what.

Each begins now, and goes on from `next` after a pause. It knows nothing of the service besides.
``polls.py`` starts it, and says on its standard input when that is enough.

    python -m tests.benchmarks.following.pollers PORT WAIT_S PAUSE_S SECRET,... QUERY...
"""

import heapq
import json
import re
import select
import socket
import sys
import threading
import time
from itertools import cycle

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_RECORDED = re.compile(rb'"recorded_at":"([^"]+)"')
_NEXT = re.compile(rb'"next":"([^"]+)"')
_PATIENCE_S = 120


class _Poller:
    """One client, its connection, and what it knows."""

    def __init__(self, port: int, secret: str, query: str) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        self._head = f"Host: harbor\r\nAuthorization: Bearer {secret}\r\n\r\n"
        self._query, self._place = query, "from=now"
        self._held = b""
        self.arrivals: list[tuple[str, float]] = []

    def ask(self, wait_s: str = "0") -> None:
        path = f"/api/v1/positions?{self._place}&wait={wait_s}&{self._query}"
        self.connection.sendall(f"GET {path} HTTP/1.1\r\n{self._head}".encode())

    def read(self) -> bool:
        """Take what came; return whether an answer is whole."""
        part = self.connection.recv(1 << 18)
        at = time.monotonic()
        self._held += part
        head, end, body = self._held.partition(b"\r\n\r\n")
        if not part or (end and not head.startswith(b"HTTP/1.1 200")):
            raise SystemExit(f"not answered: {self._held[:500]!r}")
        length = _LENGTH.search(head)
        if not end or length is None or len(body) < int(length[1]):
            return False
        self.arrivals += [(each.decode(), at) for each in _RECORDED.findall(body)]
        following = _NEXT.search(body)
        assert following is not None, body
        self._place, self._held = f"cursor={following[1].decode()}", b""
        return True


def main() -> None:
    """Have all answered once, say ``ready``, go on until the input has a line, and print what was seen."""
    port, wait_s, pause_s, secrets, *queries = sys.argv[1:]
    secret, query = cycle(secrets.split(",")), cycle(queries)
    pollers = [_Poller(int(port), next(secret), next(query)) for _ in range(len(queries))]
    poll, over = select.epoll(), threading.Event()
    for each in pollers:
        each.ask()
        while not each.read():
            pass
        each.arrivals.clear()
        poll.register(each.connection.fileno(), select.EPOLLIN)
    by_number = {each.connection.fileno(): each for each in pollers}
    print(json.dumps("ready"), flush=True)

    def obey() -> None:
        sys.stdin.readline()
        over.set()

    threading.Thread(target=obey, daemon=True).start()
    # Spread over the pause, as those are that know nothing of each other.
    now, pause = time.monotonic(), float(pause_s)
    due = [(now + pause * n / len(pollers), number) for n, number in enumerate(by_number)]
    answers = 0
    while not over.is_set():
        while due and due[0][0] <= time.monotonic():
            by_number[heapq.heappop(due)[1]].ask(wait_s)
        for number, _ in poll.poll(0.01 if due else 0.1):
            if by_number[number].read():
                answers += 1
                heapq.heappush(due, (time.monotonic() + pause, number))
    print(json.dumps({"answers": answers, "arrivals": [each.arrivals for each in pollers]}), flush=True)


if __name__ == "__main__":
    main()
