"""Nothing is waited for without end on a connection, and a stranger's sockets are nobody else's trouble.

The service has less patience here than as shipped (tests/support/quick_service.py); the rules are the same.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import gevent
import gevent.socket
import pytest
from tests.conftest import NewDatabase
from tests.support import sql
from tests.support.factories import a_fix
from tests.support.live_service import LiveService
from tests.support.quick_service import BOUNDS
from tests.support.signed_posts import head_of, send
from tests.support.urls import BATCH, POSITIONS

from harbor_api.server.connections import Bounds, Connection, Connections

LIVE = b"GET /health/live HTTP/1.1\r\nHost: harbor\r\n\r\n"
UNSIGNED = (
    b"POST /api/v1/positions HTTP/1.1\r\nHost: harbor\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
# Longer than anything but an idle connection may take, and than it takes to notice.
SOON_S = 4.0


@pytest.fixture(scope="module")
def service(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    log = tmp_path_factory.mktemp("connections") / "service.log"
    with LiveService(new_database(), log=log, module="tests.support.quick_service") as running:
        # A fleet that fills more than the kernel holds of an answer.
        sql.run(
            running.world.database,
            "INSERT INTO vessels (name, seq) "
            "SELECT 'Vessel ' || n, nextval('fleet_order') FROM generate_series(1, 6000) n",
        )
        yield running


def _open(service: LiveService, begin: bytes = b"", *, receive_buffer: int | None = None) -> socket.socket:
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(SOON_S + BOUNDS.idle.seconds)
    sock.connect(("127.0.0.1", service.port))
    sock.sendall(begin)
    return sock


def _rest(sock: socket.socket) -> bytes:
    """Return all that comes until the service closes; TimeoutError where it does not."""
    received = b""
    try:
        while data := sock.recv(65_536):
            received += data
    except ConnectionResetError:
        pass
    return received


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def _is_honest_served(service: LiveService) -> bool:
    return send(service.http, service.world.tracker().signed(a_fix(0))).status_code == 201


def _signed_head(service: LiveService, *, length: int) -> bytes:
    headers = service.world.tracker().signed(b"")["headers"]
    return head_of(BATCH, {"Content-Length": length, **headers})


class TestTime:
    @pytest.mark.parametrize(
        "begin", [LIVE[:-2], b"G", LIVE + LIVE[:-2]], ids=["whole lines", "a byte", "second"]
    )
    def test_a_head_that_does_not_end_is_told_so(self, service: LiveService, begin: bytes):
        began = time.monotonic()
        with _open(service, begin) as sock:
            answer = _rest(sock)
        assert time.monotonic() - began < SOON_S
        last = answer[answer.rindex(b"HTTP/1.1 ") :]
        assert _status(last) == 408
        problem = json.loads(last.partition(b"\r\n\r\n")[2])
        assert problem["code"] == "request_timeout"

    def test_bytes_now_and_then_give_a_head_no_more_time(self, service: LiveService):
        began = time.monotonic()
        with _open(service, b"GET / HTTP/1.1\r\nX: ") as sock:
            sock.settimeout(0.1)
            answer = b""
            while not answer and time.monotonic() - began < SOON_S:
                sock.sendall(b"a")
                try:
                    answer = sock.recv(100)
                except TimeoutError:
                    continue
        assert _status(answer) == 408

    def test_a_signed_body_that_stalls_is_told_so_and_stores_nothing(self, service: LiveService):
        began = time.monotonic()
        with _open(service, _signed_head(service, length=60_000) + b'{"fixes": [') as sock:
            answer = _rest(sock)
        assert BOUNDS.body.seconds < time.monotonic() - began < SOON_S
        assert _status(answer) == 408
        assert b"Connection: close" in answer

    def test_chunks_that_stall_are_told_so(self, service: LiveService):
        head = _signed_head(service, length=0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        with _open(service, head + b'10\r\n{"fixes"') as sock:
            assert _status(_rest(sock)) == 408

    def test_a_slow_but_steady_body_is_taken(self, service: LiveService):
        # Twice as long as a body may stall, at twice the least rate.
        tracker = service.world.tracker()
        body = json.dumps(a_fix(0)).encode() + b" " * 8_000
        request = tracker.signed(body)
        head = head_of(POSITIONS, {"Content-Length": len(body), **request["headers"]})
        with _open(service, head) as sock:
            for start in range(0, len(body), 400):
                sock.sendall(body[start : start + 400])
                time.sleep(0.2)
            assert _status(sock.recv(65_536)) == 201

    def test_a_client_that_does_not_read_is_let_go(self, service: LiveService):
        bearer = service.world.bearer()["Authorization"].encode()
        request = b"GET /api/v1/vessels HTTP/1.1\r\nHost: harbor\r\nAuthorization: " + bearer + b"\r\n\r\n"
        with _open(service, request, receive_buffer=4096) as sock:
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
            deadline = time.monotonic() + 3 * SOON_S
            while _connections(service) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert not _connections(service)
            # What is left in this end's buffer is far less than the fleet.
            assert len(_rest(sock)) < 1_000_000

    def test_an_idle_connection_is_closed_without_a_word(self, service: LiveService):
        with _open(service, LIVE) as sock:
            answer = _rest(sock)
        assert answer.count(b"HTTP/1.1 ") == 1


class TestHeadersBeforeBody:
    def test_whoever_did_not_sign_is_told_before_the_body_has_come(self, service: LiveService):
        began = time.monotonic()
        with _open(service, UNSIGNED % 60_000) as sock:
            answer = _rest(sock)
        assert time.monotonic() - began < BOUNDS.body.seconds
        assert _status(answer) == 401
        assert b"signature_missing" in answer
        assert b"Connection: close" in answer

    def test_the_answer_reaches_whoever_goes_on_sending(self, service: LiveService):
        with _open(service, UNSIGNED % 500_000) as sock:
            for _ in range(50):
                try:
                    sock.sendall(b"x" * 10_000)
                except OSError:
                    break
                time.sleep(0.002)
            assert _status(_rest(sock)) == 401

    def test_a_body_that_came_along_costs_no_connection(self, service: LiveService):
        with _open(service, UNSIGNED % 2 + b"{}" + LIVE) as sock:
            sock.settimeout(SOON_S)
            answers = b""
            while answers.count(b"HTTP/1.1 ") < 2:
                answers += sock.recv(65_536)
        assert b"Connection: close" not in answers

    def test_a_key_is_asked_for_before_the_body_has_come(self, service: LiveService):
        head = b"POST /api/v1/vessels HTTP/1.1\r\nHost: harbor\r\nContent-Type: application/json\r\n"
        with _open(service, head + b"Content-Length: 60000\r\n\r\n") as sock:
            assert _status(_rest(sock)) == 401


class TestCrowds:
    def test_an_address_makes_room_for_itself_and_idle_ones_go_first(self, service: LiveService):
        most = BOUNDS.connections_per_address
        assert most is not None
        with ExitStack() as stack:
            heads = [stack.enter_context(_open(service, LIVE[:-2])) for _ in range(3)]
            idle = [stack.enter_context(_open(service, LIVE)) for _ in range(most - 4)]
            for sock in idle:
                sock.recv(65_536)
            time.sleep(BOUNDS.idle_while_ending_s + 0.1)
            more = [stack.enter_context(_open(service, LIVE)) for _ in range(6)]
            assert all(_status(sock.recv(65_536)) == 200 for sock in more)
            time.sleep(0.1)
            gone = [_is_closed(sock) for sock in idle]
            assert any(gone)
            assert gone == sorted(gone, reverse=True), "the longest idle ones go first"
            assert not any(_is_closed(sock) for sock in heads)
        assert _is_honest_served(service)

    def test_more_sockets_than_a_worker_takes_leave_room_for_an_honest_client(self, service: LiveService):
        with ExitStack() as stack:
            for _ in range(3):
                for _ in range(BOUNDS.connections):
                    stack.enter_context(_open(service, b"G"))
                time.sleep(BOUNDS.grace_s)
                assert _is_honest_served(service)
            assert _connections(service) <= 2 * BOUNDS.connections

    def test_unsigned_bytes_are_bounded_and_the_slowest_are_let_go(self, service: LiveService):
        worker = service.worker()
        before = worker.memory_info().rss
        body = b"x" * (BOUNDS.unfinished_bytes // 10)
        with ExitStack() as stack:
            for _ in range(25):
                head = _signed_head(service, length=len(body) + 1)
                stack.enter_context(
                    _open(service, head.replace(b"positions/batch", b"positions") + body[:60_000])
                )
            for _ in range(25):
                stack.enter_context(_open(service, _signed_head(service, length=500_000) + body))
            time.sleep(0.5)
            grown = worker.memory_info().rss - before
            assert _is_honest_served(service)
        assert grown < 3 * BOUNDS.unfinished_bytes


def test_sigterm_waits_for_nobody_who_stalls(new_database: NewDatabase, tmp_path):
    with (
        LiveService(new_database(), log=tmp_path / "log", module="tests.support.quick_service") as service,
        ExitStack() as stack,
    ):
        for begin in (LIVE, LIVE[:-2], _signed_head(service, length=60_000), b""):
            stack.enter_context(_open(service, begin))
        time.sleep(0.2)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 6


def _connections(service: LiveService) -> int:
    return sum(each.status == "ESTABLISHED" for each in service.worker().net_connections("tcp"))


def _is_closed(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        sock.settimeout(SOON_S)


def test_an_answer_that_moves_may_take_long_and_is_cut_where_it_stands_still():
    """What the kernel takes at once has moved, too."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connections = Connections(Bounds())
        connection = connections.add(ours, "")
        connection.sendall(b"head, ")
        connection.sendall(b"first part, ")
        # An hour in which much was sent and all of it read, then the next part.
        connection.moved += 1 << 30
        connection.since -= 3_600
        connection.moved_at -= 3_600
        connection.sendall(b"next part")
        connection.is_waited_for = True
        connections.look()
        assert theirs.recv(100) == b"head, first part, next part"
        connection.moved_at -= 3_600
        connections.look()
        assert theirs.recv(100) == b""


def test_who_has_just_connected_when_the_worker_is_told_to_end_is_waited_for():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connections = Connections(Bounds())
        connection = connections.add(ours, "")
        connection.since -= 60
        connection.is_waited_for = True
        connections.end()
        connections.look()
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1)
        # Once something was asked on it, it is let go at once where nothing more comes.
        connection.begin_request()
        connection.end_request(is_followed=False)
        connection.since -= 1
        connections.look()
        assert ours.recv(1) == b""


def test_who_has_connected_and_asks_nothing_is_not_waited_for_long():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connections = Connections(Bounds(new_while_ending_s=0.01))
        connections.add(ours, "").is_waited_for = True
        connections.end()
        time.sleep(0.02)
        connections.look()
        ours.setblocking(False)
        assert ours.recv(1) == b""


class TestUnread:
    """Answers of 4 MB, where 8 MB may be unread."""

    MANY = 6

    @pytest.fixture
    def connections(self) -> Connections:
        return Connections(Bounds(unread_bytes=8 << 20))

    @pytest.fixture
    def pairs(self, connections: Connections) -> Iterator[list[tuple[Connection, gevent.socket.socket]]]:
        with ExitStack() as stack:
            pairs = [gevent.socket.socketpair() for _ in range(self.MANY)]
            for sock in (each for pair in pairs for each in pair):
                stack.enter_context(sock)
            yield [(connections.add(ours, ""), theirs) for ours, theirs in pairs]

    @pytest.mark.parametrize("is_shared", [True, False])
    def test_who_reads_is_not_cut_because_others_read(self, connections: Connections, pairs, is_shared: bool):
        answers = self._answers(is_shared=is_shared)
        sending = self._send(pairs, answers)
        connections.look()
        reading = [gevent.spawn(_read, theirs) for _, theirs in pairs]
        gevent.joinall(sending + reading, timeout=60, raise_error=True)
        assert [each.value for each in reading] == [len(each) for each in answers]
        assert not connections._unread._held

    def test_who_sleeps_is_cut_where_that_frees_bytes(self, connections: Connections, pairs):
        """What many are sent is held once, and until the last of them has it."""
        answers = self._answers(is_shared=False)
        answers[:3] = [answers[0]] * 3
        sending = self._send(pairs, answers)
        for connection, _ in pairs[1:]:
            connection.moved_at -= 10
        # The first of the three that share their bytes reads.
        connections.look()
        gevent.joinall(sending[3:], timeout=10)
        is_cut = [isinstance(each.exception, BrokenPipeError) for each in sending]
        assert is_cut == [False, False, False, True, True, True]
        gevent.killall(sending)
        assert not connections._unread._held

    def test_who_only_waits_for_this_process_does_not_sleep(self, connections: Connections, pairs):
        sending = self._send(pairs, self._answers(is_shared=False))
        for connection, theirs in pairs:
            connection.moved_at -= 10
            theirs.recv(4 << 20)
        connections.look()
        assert not any(each.ready() for each in sending)
        gevent.killall(sending)

    def _answers(self, *, is_shared: bool) -> list[bytes]:
        one = bytes(4 << 20)
        return [one if is_shared else bytes(4 << 20) for _ in range(self.MANY)]

    def _send(self, pairs, answers) -> list[gevent.Greenlet]:
        sending = []
        for (connection, _), answer in zip(pairs, answers, strict=True):
            connection.sendall(b"")
            sending.append(gevent.spawn(connection.sendall, answer))
        gevent.sleep(0)
        return sending


def _read(sock: gevent.socket.socket) -> int:
    many = 0
    while many < 4 << 20:
        many += len(sock.recv(1 << 20))
    return many
