"""gevent: what a wait on a socket ends with that somebody else shuts down, and how a server accepts."""

import functools

import gevent
from gevent import socket
from gevent.server import StreamServer
from tests.canaries.relied_on import relied_on

relied = functools.partial(relied_on, "gevent")


@relied(
    "shutdown ends a wait in recv with no bytes or an OSError",
    by="server/connections.py cuts connections so, and tells by it who was cut",
)
def test_shutdown_ends_a_wait_for_bytes():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ends = []

        def wait():
            try:
                ends.append(ours.recv(1))
            except OSError as error:
                ends.append(error)

        waiting = gevent.spawn(wait)
        gevent.sleep(0)
        ours.shutdown(socket.SHUT_RD)
        waiting.join(timeout=5)
        assert len(ends) == 1
        assert ends == [b""] or isinstance(ends[0], OSError)


@relied(
    "shutdown ends a wait in send with an OSError",
    by="server/connections.py gives up a client that does not read so",
)
def test_shutdown_ends_a_wait_for_a_reader():
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def fill():
            while True:
                ours.send(b"a" * 65_536)

        waiting = gevent.spawn(_raised, fill)
        gevent.sleep(0.01)
        assert not waiting.ready()
        ours.shutdown(socket.SHUT_RDWR)
        waiting.join(timeout=5)
        assert isinstance(waiting.value, OSError)


def _raised(call):
    try:
        call()
    except OSError as error:
        return error
    return None


@relied(
    "a server asks do_read for each connection, and takes none where that returns nothing",
    by="server/shares.py lets another worker take it",
)
def test_what_do_read_leaves_stays():
    class Leaving(StreamServer):
        left = 3

        def do_read(self):
            self.left -= 1
            return None if self.left >= 0 else super().do_read()

    served = []
    server = Leaving(("127.0.0.1", 0), handle=lambda sock, address: served.append(address))
    server.start()
    try:
        with socket.create_connection(server.address) as client:
            assert client.recv(1) == b""
            assert served == [client.getsockname()]
            assert server.left < 0
    finally:
        server.stop()


@relied("a server that stopped accepting takes what came meanwhile once it starts", by="server/shares.py")
def test_what_comes_meanwhile_waits():
    served = []
    server = StreamServer(("127.0.0.1", 0), handle=lambda sock, address: served.append(address))
    server.start()
    try:
        server.stop_accepting()
        with socket.create_connection(server.address) as client:
            gevent.sleep(0.01)
            assert served == []
            server.start_accepting()
            assert client.recv(1) == b""
            assert served == [client.getsockname()]
    finally:
        server.stop()
