"""The connections of a worker: how long each may keep others waiting, and which go when it gets crowded.

A socket costs a stranger nothing and a worker a place, so nothing that is waited for is waited for without
end: neither the head of a request, nor its body, nor that a client reads its answer. One greenlet looks at
all connections a few times a second and cuts those whose time is over; there is no timer for each request.

A new connection is never refused. When an address, or all together, hold more than they may, room is made by
cutting what loses least: first those that are idle between two requests, then those that have been waited
for longest. What the application is busy with is never cut.

A connection may be handed over once its answer has begun, to whoever sends the rest of it: then it is none
of these any more, and takes no greenlet.

The bytes that are held for a caller who is not known yet (unfinished heads and bodies), and those
of answers that nobody reads, are bounded for the whole worker in the same way. Many answers may be the same
bytes, as the fleet's are: they are held once. Who reads is never cut because others do, or do not.
"""

import errno
import math
import select
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import gevent
import structlog
from gevent import monkey

from harbor_api.domain import addresses, errors

_LOOK_EVERY_S = 0.25
# How much of an answer is handed to the kernel at once: so much is moved between two looks at a slow reader.
_PIECE = 256 * 1024
# How long, and for how much, a client whose body is left unread is listened to, so that it reads why: a
# socket that is closed with bytes unread takes the answer back.
_LINGER_S = 2.0
_LINGER_BYTES = 1 << 20
_NO_LINGER = struct.pack("ii", 1, 0)
_TELL_EVERY_S = 10

log = structlog.get_logger(__name__)


class Phase(IntEnum):
    """What a connection is doing; what comes first is cut first where room is needed."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    ANSWER = 3


# The kernel is asked, without a turn for anybody else.
_poll = monkey.get_original("select", "poll")
# What a poll is asked for that waits for nothing to read: not every kernel tells of one that sends no more.
_HUNG_UP = getattr(select, "POLLRDHUP", 0)
# One that gevent does not watch: it costs a few hundred bytes.
_PlainSocket = monkey.get_original("socket", "socket")
# What the kernel may hold for a client that follows: there may be thousands that do not read.
_FOLLOWER_BUFFER_BYTES = 32 * 1024
# After how long a client counts as gone that acknowledges nothing.
_VANISHED_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How long one phase may take: some seconds, and one more for so many bytes that were moved.

    It may stand still for no longer than the first: what the kernel takes of an answer counts as moved.
    """

    seconds: float
    bytes_per_second: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the connections of a worker may take together and each."""

    idle: Allowance = Allowance(seconds=75)
    head: Allowance = Allowance(seconds=10)
    # A tracker at 9.6 kbit/s, the slowest satellite modem in use, moves 1,200 bytes a second.
    body: Allowance = Allowance(seconds=30, bytes_per_second=1_000)
    answer: Allowance = Allowance(seconds=30, bytes_per_second=8_000)
    # Once the worker is told to end: for how long each of the above may still go on.
    ending_s: float = 5
    # An idle connection is let go at once then, unless a request is likely to be on its way just now.
    idle_while_ending_s: float = 0.5
    # One on which nothing was asked yet is not idle: whoever has connected is about to ask.
    new_while_ending_s: float = 2.0
    # A younger phase is not cut to make room: an honest request is over by then.
    grace_s: float = 1.0
    connections: int = 4_000
    # None where all come from a proxy, which bounds its own callers.
    connections_per_address: int | None = 256
    unfinished_bytes: int = 16 << 20
    unread_bytes: int = 64 << 20


class _Budget:
    """The bytes that connections hold together, and when to look whether that is too much."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._held = 0
        # All connections have to be looked at for it: not again before there is a good deal more.
        self._look_above = most

    def note(self, many: int) -> bool:
        """Note bytes that are held now, or with a minus not any more; return whether to look."""
        self._held += many
        if self._held <= self.most:
            self._look_above = self.most
        if many <= 0 or self._held <= self._look_above:
            return False
        self._look_above = self._held + self.most // 16
        return True

    @property
    def is_exceeded(self) -> bool:
        """Whether more is held than may be."""
        return self._held > self.most


class Connections:
    """All connections of a worker, and what they hold together."""

    def __init__(
        self,
        bounds: Bounds,
        *,
        tell: Callable[[int], None] = lambda _: None,
        tell_cut: Callable[[Phase], None] = lambda _: None,
    ) -> None:
        """Bound connections; ``tell`` is told how many there are whenever that changes.

        ``tell_cut`` is told of each that is cut in what phase it was.
        """
        self.bounds = bounds
        self._tell = tell
        self._tell_cut = tell_cut
        self._ending_since: float | None = None
        self._many_cut = 0
        self._told_at = -math.inf
        self._all: set[Connection] = set()
        self._of_address: defaultdict[str, set[Connection]] = defaultdict(set)
        self._unfinished = _Budget(bounds.unfinished_bytes)
        self._unread = _Budget(bounds.unread_bytes)
        # Who is being sent some bytes, by the identity of these.
        self._readers: defaultdict[int, set[Connection]] = defaultdict(set)
        self._allowances = {
            Phase.IDLE: bounds.idle,
            Phase.HEAD: bounds.head,
            Phase.BODY: bounds.body,
            Phase.ANSWER: bounds.answer,
        }

    def add(self, sock: Any, address: Any) -> "Connection":
        """Take in an accepted socket, and make room for it where it gets crowded."""
        # A Unix socket's peer has no address.
        host = addresses.caller(address[0]) if isinstance(address, tuple) else ""
        connection = Connection(self, sock, host)
        self._all.add(connection)
        self._tell(len(self._all))
        neighbours = self._of_address[host]
        neighbours.add(connection)
        most = self.bounds.connections_per_address
        if most is not None and host and len(neighbours) > most:
            self._make_room(neighbours, len(neighbours) - most)
        excess = len(self._all) - self.bounds.connections
        if excess > 0:
            # Several at once, as all of them have to be looked at for it.
            self._make_room(self._all, excess + self.bounds.connections // 16)
        return connection

    def remove(self, connection: "Connection") -> None:
        """Forget a connection that is closed."""
        self._all.discard(connection)
        self._tell(len(self._all))
        neighbours = self._of_address[connection.host]
        neighbours.discard(connection)
        if not neighbours:
            del self._of_address[connection.host]

    def end(self) -> None:
        """Let go of all that waits, as soon as it may be: the worker is told to end."""
        self._ending_since = time.monotonic()

    def watch(self) -> None:
        """Cut what takes too long, for ever; to be run in a greenlet of its own."""
        while True:
            gevent.sleep(_LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """Cut what takes too long."""
        now = time.monotonic()
        for connection in list(self._all):
            if connection.is_waited_for and self._is_over(connection, now):
                self._cut(connection)
        if self._unread.is_exceeded:
            # Who was reading when the last of it was added may have fallen asleep.
            self._cut_sleepers()
        if self._many_cut and now - self._told_at > _TELL_EVERY_S:
            # One line for all: an attack must not fill the log.
            log.warning("connections_cut", many=self._many_cut, open=len(self._all))
            self._many_cut, self._told_at = 0, now

    def note_held(self, many: int) -> None:
        """Note bytes that are held of what is sent to us, and cut the slowest where that is too much."""
        if self._unfinished.note(many):
            self._cut_slowest()

    def note_reader(self, connection: "Connection", data: bytes) -> None:
        """Note that a client is being sent bytes, and cut who does not read where too many are held."""
        readers = self._readers[id(data)]
        readers.add(connection)
        if len(readers) == 1 and self._unread.note(len(data)):
            self._cut_sleepers()

    def forget_reader(self, connection: "Connection", data: bytes) -> None:
        """Note that it is not any more: it has all of them, or is gone."""
        readers = self._readers[id(data)]
        readers.discard(connection)
        if not readers:
            del self._readers[id(data)]
            self._unread.note(-len(data))

    def _cut(self, connection: "Connection") -> None:
        phase = connection.phase
        if connection.cut():
            self._tell_cut(phase)
            self._many_cut += phase is not Phase.IDLE

    def _is_over(self, connection: "Connection", now: float) -> bool:
        age = now - connection.since
        if self._ending_since is not None:
            if connection.is_new:
                return min(age, now - self._ending_since) > self.bounds.new_while_ending_s
            if connection.phase is Phase.IDLE:
                return age > self.bounds.idle_while_ending_s
            if now - self._ending_since > self.bounds.ending_s:
                return True
        allowed = self._allowances[connection.phase]
        stands_still = now - connection.moved_at > allowed.seconds
        return stands_still or age > allowed.seconds + connection.moved / allowed.bytes_per_second

    def _make_room(self, crowd: Iterable["Connection"], many: int) -> None:
        now = time.monotonic()
        idle_s = self.bounds.idle_while_ending_s
        # What stands still goes before what is slow but moves.
        expendable = [
            each
            for each in crowd
            if each.is_waited_for
            and now - each.moved_at > (idle_s if each.phase is Phase.IDLE else self.bounds.grace_s)
        ]
        expendable.sort(key=lambda each: (each.phase is not Phase.IDLE, each.moved_at))
        for each in expendable[:many]:
            self._cut(each)

    def _cut_slowest(self) -> None:
        now, most = time.monotonic(), self.bounds.unfinished_bytes
        # What the application is busy with holds bytes, too, but not for long and of callers it knows.
        holding = [each for each in self._all if each.is_waited_for and each.holds]
        # Who has had much held for long goes first: a large body that fell silent or drips before a small one
        # on a slow line that moves, and of two that move the one that holds more.
        grace_s = self.bounds.grace_s
        holding.sort(key=lambda each: each.holds * (now - each.moved_at + grace_s), reverse=True)
        held = sum(each.holds for each in holding)
        if held <= most:
            return
        for each in holding:
            if held <= most * 7 // 8:
                return
            held -= each.holds
            self._cut(each)

    def _cut_sleepers(self) -> None:
        now, most = time.monotonic(), self.bounds.unread_bytes
        # Bytes are free again when the last who is being sent them is gone: so all or none of them are cut.
        shared = [list(readers) for readers in self._readers.values()]
        held = sum(readers[0].unread for readers in shared)
        asleep = [readers for readers in shared if all(self._is_asleep(each, now) for each in readers)]
        asleep.sort(key=lambda each: each[0].unread * (now - max(reader.moved_at for reader in each)))
        while asleep and held > most * 7 // 8:
            readers = asleep.pop()
            held -= readers[0].unread
            for each in readers:
                self._cut(each)

    def _is_asleep(self, connection: "Connection", now: float) -> bool:
        """Return whether a client does not read its answer, or so slowly that it will not have it in time."""
        stands_still = now - connection.moved_at > self.bounds.grace_s
        age = now - connection.since
        is_slow = connection.rest * age > connection.moved * self.bounds.answer.seconds
        # Where it is this process that is late, the client is not.
        return connection.is_waited_for and (stands_still or is_slow) and not connection.is_ready


class _Nobody:
    """What stands in place of a socket that was handed over: all is taken, and nothing comes."""

    def recv(self, _: int) -> bytes:
        return b""

    def send(self, data: bytes) -> int:
        return len(data)

    def fileno(self) -> int:
        return -1

    def setsockopt(self, *_: Any) -> None:
        """Do nothing."""

    def shutdown(self, _: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def _leave(data: bytes) -> bytes:
    return data


class Connection:
    """A socket that knows what is waited for on it, and since when.

    It is what gunicorn reads requests from and writes answers to.
    """

    __slots__ = (
        "_head",
        "_is_begun",
        "_is_cut",
        "_is_reset",
        "_reads",
        "_sock",
        "answer_first",
        "connections",
        "holds",
        "host",
        "is_last",
        "is_new",
        "is_waited_for",
        "lingers",
        "moved",
        "moved_at",
        "phase",
        "rest",
        "since",
    )

    def __init__(self, connections: Connections, sock: Any, host: str) -> None:
        self.connections = connections
        self.host = host
        self.phase = Phase.IDLE
        # Whether nothing has come on it yet.
        self.is_new = True
        self.since = self.moved_at = time.monotonic()
        # Bytes that were moved since the phase began, those of a request that are held, and those of what is
        # being sent that the kernel has not taken yet.
        self.moved = 0
        self.holds = 0
        self.rest = 0
        self.is_waited_for = False
        # Is given what begins a request, and returns what is left of it for gunicorn; nothing where that was
        # answered.
        self.answer_first: Callable[[bytes], bytes] = _leave
        # Whether nothing comes after the answer to this request.
        self.is_last = False
        # Whether the client may be sending still when this is closed.
        self.lingers = False
        self._sock = sock
        # Whether what is waited for has been ended, and whether nothing more can be sent.
        self._is_cut = False
        self._is_reset = False
        self._head: bytes | None = None
        self._is_begun = False
        self._reads: bytes | None = None

    @property
    def unread(self) -> int:
        """How many bytes are held for as long as the rest of them is not sent: all that it is a part of."""
        return 0 if self._reads is None else len(self._reads)

    @property
    def is_ready(self) -> bool:
        """Whether the kernel would take more of the answer now."""
        asked = _poll()
        asked.register(self._sock.fileno(), select.POLLOUT)
        return bool(asked.poll(0))

    def begin_request(self) -> None:
        """A whole head has come: what is received from here on is its body."""
        self._enter(Phase.BODY)
        self._is_begun, self._head = False, None

    def end_request(self, *, is_followed: bool) -> None:
        """The answer is sent: what is received from here on is the next request.

        ``is_followed`` tells that a part of that has come already.
        """
        # One that has no body is a head alone.
        self._send_head()
        self._enter(Phase.HEAD if is_followed else Phase.IDLE)

    def recv(self, size: int) -> bytes:
        """Receive up to so many bytes; RequestTimeout where the client takes too long to send them.

        Of a request that is answered elsewhere (``answer_first``) nothing is seen here.
        """
        if self.phase is not Phase.IDLE:
            return self._recv(size)
        while data := self._recv(size):
            if left := self.answer_first(data):
                return left
        return b""

    def sendall(self, data: bytes) -> None:
        """Send all of it, the head of an answer together with the first of its body.

        gunicorn sends them one after the other: two system calls here, two packets and two wake-ups there.
        """
        if not self._is_begun:
            self._is_begun, self._head = True, data
            return
        if len(data) > _PIECE:
            # A large one is not copied for it.
            self._send_head()
        head, self._head = self._head, None
        self._send(data if head is None else head + data)

    def send(self, data: bytes) -> int:
        """Send what comes before an answer (100 Continue)."""
        sent: int = self._sock.send(data)
        return sent

    def refuse(self, answer: bytes) -> None:
        """Send the whole answer to what was no request, before this is closed."""
        self._send(answer)
        self.lingers = True

    def cut(self) -> bool:
        """End what is waited for, and return whether that had to be done; whoever waits here is told."""
        if self._is_cut:
            return False
        self._is_cut = True
        # The client may have gone by itself.
        with suppress(OSError):
            if self.phase is Phase.ANSWER:
                # What the kernel still holds for a client that does not read is given up, too.
                self._is_reset = True
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                self._sock.shutdown(socket.SHUT_RDWR)
            else:
                self._sock.shutdown(socket.SHUT_RD)
        return True

    def is_gone(self) -> bool:
        """Return whether the client has gone, or says that it sends no more; nothing is waited for."""
        asked = _poll()
        asked.register(self._sock.fileno(), _HUNG_UP)
        return bool(asked.poll(0))

    def end_with_answer(self) -> None:
        """Let nothing come after the answer to this request, which does not know how long it will be.

        To be said before it begins, as its head tells the client.
        """
        self.is_last = True

    def hand_over(self) -> Any:
        """Return the socket, which does not block, for somebody else to send the rest of the answer.

        To be asked for once the answer has begun, and ``end_with_answer``. Nothing that is done here from
        then on has an effect on the socket: gunicorn's end of the answer is taken and goes nowhere.
        """
        self._send_head()
        sock, self._sock = self._sock, _Nobody()
        self._release()
        self.connections.remove(self)
        plain = _PlainSocket(sock.family, sock.type, sock.proto, sock.detach())
        plain.setblocking(False)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _FOLLOWER_BUFFER_BYTES)
        if plain.family != socket.AF_UNIX:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _VANISHED_MS)
        return plain

    def close(self) -> None:
        """Close it; a client that may be sending still is listened to for a moment first."""
        # Or what it refers to would refer to it, and stay until the garbage is collected.
        self.answer_first = _leave
        self._release()
        if self.lingers and not self._is_reset:
            self._linger()
        self.connections.remove(self)
        self._sock.close()

    def shutdown(self, how: int) -> None:
        # An answer that broke is not begun.
        self._head = None
        self._sock.shutdown(how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def _recv(self, size: int) -> bytes:
        data: bytes = self._wait(self._sock.recv, size)
        if self._is_cut:
            if self.phase is Phase.IDLE:
                # Nobody is told: nothing was asked.
                return b""
            self._is_cut = False
            raise errors.RequestTimeout
        if self.phase is Phase.IDLE and data:
            self._enter(Phase.HEAD)
        self._move(len(data))
        self.holds += len(data)
        self.connections.note_held(len(data))
        return data

    def _linger(self) -> None:
        # Cut like an idle one where room is needed.
        self._enter(Phase.IDLE)
        unread = _LINGER_BYTES
        with suppress(OSError), gevent.Timeout(_LINGER_S, exception=False):
            self._sock.shutdown(socket.SHUT_WR)
            while unread > 0 and (received := self._wait(self._sock.recv, 65_536)):
                unread -= len(received)

    def _send_head(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            self._send(head)

    def _send(self, data: bytes) -> None:
        if self.phase is not Phase.ANSWER:
            self._enter(Phase.ANSWER)
        sent = self._wait(self._sock.send, data)
        self._move(sent)
        if sent == len(data):
            return
        rest = memoryview(data)[sent:]
        self._reads, self.rest = data, len(rest)
        self.connections.note_reader(self, data)
        try:
            while rest:
                sent = self._wait(self._sock.send, rest[:_PIECE])
                self._move(sent)
                rest = rest[sent:]
                self.rest = len(rest)
        finally:
            self._reads, self.rest = None, 0
            self.connections.forget_reader(self, data)

    def _wait(self, call: Callable[[Any], Any], argument: Any) -> Any:
        self.is_waited_for = True
        try:
            return call(argument)
        except OSError:
            # gevent says it of whoever waits on a socket that is shut down.
            if self._is_reset:
                raise BrokenPipeError(errno.EPIPE, "the client does not read") from None
            if self._is_cut:
                return b""
            raise
        finally:
            self.is_waited_for = False

    def _enter(self, phase: Phase) -> None:
        self._release()
        self.phase, self.is_new = phase, False
        self.since = self.moved_at = time.monotonic()
        self.moved = 0

    def _move(self, many: int) -> None:
        self.moved += many
        self.moved_at = time.monotonic()

    def _release(self) -> None:
        if self.holds:
            held, self.holds = self.holds, 0
            self.connections.note_held(-held)
