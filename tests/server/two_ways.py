"""The same bytes through a worker that answers plain requests itself, and one that leaves all to gunicorn."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from gunicorn.config import Config
from tests.canaries.gunicorn_parts import Quiet

from harbor_api.server.connections import Bounds, Connection, Phase
from harbor_api.server.plain_requests import PlainRequest, PlainRequests
from harbor_api.server.shares import Board
from harbor_api.server.worker import AnswersPlainly, DemandsHost, EndsSoon, KeepsInStep, TellsProblems

# What the service sets of gunicorn, as far as it says how a request is read and answered.
SERVICE = {
    "keepalive": 75,
    "sendfile": False,
    "limit_request_line": 40_960,
    "forwarder_headers": [],
    "forwarded_allow_ips": [],
    "secure_scheme_headers": {},
}
# gunicorn's own, which believe a proxy on this machine.
BELIEVING = {"keepalive": 75, "sendfile": False}
TCP, UNIX = ("127.0.0.1", 8000), "/run/harbor.sock"
_CHANGES = re.compile(
    rb"(?<=\r\nDate: )[^\r]+|(?<=\r\nX-Request-Id: )[0-9a-f]{32}|(?<=\"request_id\":\")[0-9a-f]{32}"
)


class Seen(NamedTuple):
    """What became of a stream of bytes."""

    # What the application was given, and what it read, by request.
    environs: list[dict[str, Any]]
    bodies: list[bytes]
    # What the client got, but for dates and request ids.
    sent: bytes
    # How many bytes of the client nobody has asked for.
    left: int
    is_open: bool
    # What the connection was said to be doing, and how many bytes it held, whenever it received or sent.
    steps: list[tuple[str, Phase, int]]


class GunicornsWay(EndsSoon, DemandsHost, KeepsInStep, TellsProblems):
    """The worker without a plain way."""


class PlainWay(GunicornsWay, AnswersPlainly):
    """The worker with it."""


class Wire:
    """A socket of which each piece is received by itself, as far as it is asked for."""

    family = 1

    def __init__(self, pieces: Sequence[bytes], step: Callable[[str], None]) -> None:
        self._step = step
        self._pieces = [each for each in reversed(pieces) if each]
        self.sent: list[bytes] = []
        self.is_open = True

    def recv(self, size: int) -> bytes:
        self._step("recv")
        if not self._pieces:
            return b""
        piece = self._pieces.pop()
        if len(piece) > size:
            self._pieces.append(piece[size:])
        return piece[:size]

    def send(self, data: Any) -> int:
        self._step("send")
        if not self.is_open:
            raise BrokenPipeError(32, "closed")
        self.sent.append(bytes(data))
        return len(data)

    @property
    def left(self) -> int:
        return sum(map(len, self._pieces))

    def close(self) -> None:
        self.is_open = False

    def shutdown(self, how: int) -> None:
        self.is_open = self.is_open and how == 0

    def setblocking(self, _: Any) -> None:
        pass


class _Listener:
    def __init__(self, address: Any) -> None:
        self._address = address

    def getsockname(self) -> Any:
        return self._address


class _App:
    bounds = Bounds()
    board = Board()


class Way:
    """One of the two, with some settings of gunicorn's."""

    def __init__(self, kind: type[GunicornsWay], settings: Mapping[str, Any]) -> None:
        config = Config()
        for name, value in settings.items():
            config.set(name, ",".join(value) if isinstance(value, list) else value)
        config.__dict__.update({name: setting.get() for name, setting in config.settings.items()})
        self.worker = kind(1, 1, [], _App, 30, config, Quiet(config))
        self.worker.tmp.close()

    def run(
        self,
        pieces: Sequence[bytes],
        application: Callable[..., Any],
        *,
        client: Any = ("192.0.2.1", 4711),
        server: Any = TCP,
    ) -> Seen:
        """Return what becomes of pieces that come one after the other, and then nothing more."""
        environs, bodies, steps = [], [], []

        def noting(environ: dict[str, Any], start_response: Any) -> Any:
            environs.append(dict(environ))
            bodies.append(b"")

            def read(body: bytes) -> bytes:
                bodies[-1] += body
                return body

            return application(environ, start_response, read)

        def step(name: str) -> None:
            [connection] = self.worker.connections._all
            steps.append((name, connection.phase, connection.holds))

        self.worker.wsgi = noting
        wire = Wire(pieces, step)
        self.worker.handle(_Listener(server), wire, client)
        # It holds what it was given.
        self.worker.wsgi = None
        sent = _CHANGES.sub(b"*", b"".join(wire.sent))
        return Seen([_comparable(each) for each in environs], bodies, sent, wire.left, wire.is_open, steps)


def _comparable(environ: dict[str, Any]) -> dict[str, Any]:
    """Return an environ with the kinds of those objects that are made anew for each request."""
    assert isinstance(environ["gunicorn.socket"], Connection)
    assert callable(environ["wsgi.early_hints"])
    assert hasattr(environ["wsgi.input"], "readlines")
    return {
        **environ,
        "wsgi.input": None,
        "wsgi.errors": type(environ["wsgi.errors"]),
        "gunicorn.socket": None,
        "wsgi.early_hints": None,
    }


@contextmanager
def counted() -> Iterator[list[PlainRequest]]:
    """Yield a list of the requests that go the plain way."""
    requests: list[PlainRequest] = []
    serve = PlainRequests._serve

    def noting(self: PlainRequests, request: PlainRequest, environ: dict[str, Any]) -> bool:
        requests.append(request)
        return serve(self, request, environ)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlainRequests, "_serve", noting)
        yield requests
