"""Crowds: many sockets at once in one process, each of which begins with something and then does little."""

import re
import select
import socket
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from tests.neighbours.scene import HOST, Outcome, Scene, address

_TURN_S = 0.02
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
_STATUS_BYTES = len("HTTP/1.1 200 OK")
_GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


@dataclass(frozen=True)
class Habit:
    """What each socket of a crowd does, once it is connected."""

    # What the socket of a number begins with; and what it goes on with, every so often.
    opening: Callable[[int], bytes]
    drip: bytes = b""
    every_s: float = 5
    # All that comes, a byte every so often, or nothing.
    reads: Literal["all", "slowly", "nothing"] = "all"
    # Whether the opening is sent again for as long as the service takes it.
    goes_on: bool = False
    receive_buffer: int | None = None
    opens_a_second: float = 1_000

    @property
    def awaits(self) -> int:
        """The events that a socket waits for which has sent what it had to send."""
        return select.EPOLLRDHUP | (select.EPOLLIN if self.reads == "all" else 0)


class _Member:
    """One socket."""

    __slots__ = ("made_at", "opening", "sock", "status", "unsent")

    def __init__(self, sock: socket.socket, opening: bytes) -> None:
        self.sock = sock
        self.opening = opening
        self.unsent = memoryview(opening)
        # None until it is connected.
        self.made_at: float | None = None
        self.status = ""


class _Crowd:
    """Keeps as many sockets open as it can, and counts what becomes of them."""

    def __init__(self, scene: Scene, habit: Habit) -> None:
        self._scene = scene
        self._habit = habit
        self._many = scene.sockets
        self._poll = select.epoll()
        self._members: dict[int, _Member] = {}
        # Whose turn it is to drip or to read, and when; the same wait for all keeps them in order.
        self._turns: deque[tuple[float, _Member]] = deque()
        self._next_open_at = 0.0
        self._tried = self._opened = self._unreached = 0
        self._statuses: Counter[str] = Counter()
        self._ages: list[float] = []

    def work(self) -> None:
        until = time.monotonic() + self._scene.seconds
        while (now := time.monotonic()) < until:
            self._open_some(now)
            for number, event in self._poll.poll(_TURN_S):
                if number in self._members:
                    self._handle(self._members[number], event)
            self._take_turns(time.monotonic())

    def outcome(self) -> Outcome:
        now = time.monotonic()
        made = [now - each.made_at for each in self._members.values() if each.made_at is not None]
        ages = self._ages
        return Outcome(
            statuses=dict(self._statuses),
            opened=self._opened,
            unreached=self._unreached + len(self._members) - len(made),
            cut=len(ages),
            cut_after_s=[min(ages), statistics.median(ages), max(ages)] if ages else [],
            held=len(made),
            oldest_s=max(made, default=0),
        )

    def close(self) -> None:
        for member in self._members.values():
            member.sock.close()
        self._poll.close()

    def _open_some(self, now: float) -> None:
        while len(self._members) < self._many and self._next_open_at <= now:
            pace = self._habit.opens_a_second
            if self._tried >= self._many:
                pace = min(pace, self._scene.comes_back_a_second)
            self._next_open_at = max(self._next_open_at, now - _TURN_S) + 1 / pace
            self._open()

    def _open(self) -> None:
        self._tried += 1
        sock = socket.socket()
        sock.setblocking(False)
        if self._habit.receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._habit.receive_buffer)
        try:
            sock.bind(address(self._scene, self._tried))
            sock.connect((HOST, self._scene.port))
        except BlockingIOError:
            pass
        except OSError:
            self._unreached += 1
            sock.close()
            return
        self._members[sock.fileno()] = _Member(sock, self._habit.opening(self._tried))
        self._poll.register(sock, select.EPOLLOUT)

    def _handle(self, member: _Member, event: int) -> None:
        if member.made_at is None:
            if member.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._unreached += 1
                self._close(member)
                return
            self._opened += 1
            member.made_at = time.monotonic()
            self._turns.append((member.made_at + self._habit.every_s, member))
        if event & _GONE or (event & select.EPOLLIN and not self._receive(member, 65_536)):
            self._lose(member)
        elif event & select.EPOLLOUT:
            self._send(member)

    def _send(self, member: _Member) -> None:
        try:
            member.unsent = member.unsent[member.sock.send(member.unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._lose(member)
            return
        if not member.unsent and self._habit.goes_on:
            member.unsent = memoryview(member.opening)
        more = select.EPOLLOUT if member.unsent else 0
        self._poll.modify(member.sock, self._habit.awaits | more)

    def _receive(self, member: _Member, most: int) -> bool:
        """Take what has come, and tell whether the connection is still there."""
        try:
            data = member.sock.recv(most)
        except BlockingIOError:
            return True
        except OSError:
            return False
        for status in _STATUS.findall(data):
            member.status = status.decode()
            self._statuses[member.status] += 1
        return bool(data)

    def _take_turns(self, now: float) -> None:
        while self._turns and self._turns[0][0] <= now:
            _, member = self._turns.popleft()
            if member.sock.fileno() < 0:
                continue
            self._turns.append((now + self._habit.every_s, member))
            if self._habit.reads == "slowly":
                # The first time, the status: in bytes it would be told after a quarter of a minute.
                if not self._receive(member, 1 if member.status else _STATUS_BYTES):
                    self._lose(member)
            elif self._habit.drip and not member.unsent:
                member.unsent = memoryview(self._habit.drip)
                self._send(member)

    def _lose(self, member: _Member) -> None:
        """Count a connection that the service has ended, with the answer that came before its end."""
        if not member.status:
            self._receive(member, 65_536)
        assert member.made_at is not None
        self._ages.append(time.monotonic() - member.made_at)
        self._close(member)

    def _close(self, member: _Member) -> None:
        del self._members[member.sock.fileno()]
        # Closed, it is taken out of the poll by the kernel.
        member.sock.close()


def crowd(scene: Scene, habit: Habit) -> Outcome:
    """Let a crowd do what its habit is, and return what it got."""
    with closing(_Crowd(scene, habit)) as gathered:
        gathered.work()
        return gathered.outcome()
