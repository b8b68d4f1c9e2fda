"""gevent: what a wait on a socket ends with that somebody else shuts down."""

import functools

import gevent
from gevent import socket
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
