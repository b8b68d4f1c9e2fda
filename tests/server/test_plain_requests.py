"""The plain way of a request is gunicorn's, only shorter: given the same bytes, both do the same.

What is a request for gunicorn alone goes to gunicorn; what is one here has to be the same one there.
"""

import errno
import gc
import io
import itertools
import random
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gevent
import pytest
from tests.server import byte_streams
from tests.server.two_ways import BELIEVING, SERVICE, TCP, UNIX, GunicornsWay, PlainWay, Seen, Way, counted

from harbor_api.server.connections import Connection, Phase
from harbor_api.server.plain_requests import PlainAnswer, PlainForm, PlainRequest, PlainRequests
from harbor_api.server.service import Service
from harbor_api.settings import Settings

# Peers and addresses: one that gunicorn believes where it believes anybody, a stranger, and a Unix socket.
_PEERS = ((("127.0.0.1", 4711), TCP), (("192.0.2.1", 4711), TCP), ("", UNIX))
_SHORT, _LONG, _SHARDS = 1_500, 70_000, 32
HEAD = b"POST /api/v1/positions?a=%20 HTTP/1.1\r\nHost: harbor\r\nContent-Type: application/json\r\n"
POST = HEAD + b"Content-Length: 7\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: harbor\r\n\r\n"
NGINX = (
    b"X-Real-IP: 192.0.2.9\r\nX-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: https\r\n"
    b"X-Forwarded-Host: harbor.example\r\nConnection: keep-alive\r\n"
)


@pytest.fixture(scope="module")
def ways() -> list[tuple[Way, Way]]:
    return [(Way(PlainWay, settings), Way(GunicornsWay, settings)) for settings in (SERVICE, BELIEVING)]


@pytest.fixture(scope="module")
def both(ways) -> Callable[..., Seen]:
    """Return what becomes of some bytes in both ways, which has to be the same."""

    def run(pieces: list[bytes], application: Callable[..., Any], **where: Any) -> Seen:
        ours: Seen
        ours, gunicorns = (way.run(pieces, application, **where) for way in ways[0])
        assert ours == gunicorns
        return ours

    return run


def _application(environ: dict[str, Any], start_response: Any, read: Callable[[bytes], bytes]) -> list[bytes]:
    """Read all, a part or nothing of the body."""
    body = environ["wsgi.input"]
    how = len(environ["RAW_URI"]) + len(environ.get("CONTENT_TYPE", ""))
    if how % 4 == 0:
        read(body.read(5))
    elif how % 4 == 1:
        read(body.readline() + body.read())
    elif how % 4 == 2:
        read(body.read())
    start_response("200 OK", [("Content-Length", "2")])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"ok"]


def _reading(environ: dict[str, Any], start_response: Any, read: Callable[[bytes], bytes]) -> list[bytes]:
    body = read(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def _compare(ways, *, seed: int, many: int) -> tuple[int, int]:
    """Return how many requests were answered, and how many of them in the plain way."""
    chance, answered = random.Random(seed), 0
    with counted() as plain:
        for _ in range(many):
            pieces = byte_streams.stream(chance)
            ours, gunicorns = chance.choice(ways)
            client, server = chance.choice(_PEERS)
            expected = gunicorns.run(pieces, _application, client=client, server=server)
            assert ours.run(pieces, _application, client=client, server=server) == expected, pieces
            answered += len(expected.environs)
        return answered, len(plain)


class TestReading:
    def test_streams_of_bytes_are_the_same_requests_in_both_ways(self, ways):
        answered, plain = _compare(ways, seed=15, many=_SHORT)
        assert answered > _SHORT // 2
        assert plain > answered // 4

    @pytest.mark.slow
    @pytest.mark.parametrize("shard", range(_SHARDS))
    def test_millions_of_streams_are_the_same_requests_in_both_ways(self, ways, shard: int):
        answered, plain = _compare(ways, seed=1_500 + shard, many=_LONG)
        print(f"{_LONG} streams, seed {1_500 + shard}: {answered} requests, {plain} of them plain")

    @pytest.mark.parametrize(
        "made", [POST + b'{"a":1}' + GET, GET + POST + b'{"a":1}'], ids=["body first", "last"]
    )
    def test_where_a_stream_is_cut_makes_no_difference(self, both, made: bytes):
        for pieces in byte_streams.split_once(made):
            seen = both(pieces, _reading)
            assert len(seen.environs) == 2
            assert seen.sent.count(b"HTTP/1.1 200 OK") == 2

    @pytest.mark.parametrize(
        ("made", "is_plain"),
        [
            (GET, True),
            (POST + b'{"a":1}', True),
            (POST, True),
            (HEAD + NGINX + b"Content-Length: 2\r\n\r\n{}", True),
            (GET[:-2] + NGINX + b"\r\n", True),
            (GET[:-2] + b"Connection: close\r\n\r\n", True),
            (GET[:-2] + b"Host: harbor\r\n\r\n", False),
            (GET[:-2] + b"A: 1\r\na: 1\r\n\r\n", False),
            (GET[:-2] + b"A_B: 1\r\n\r\n", False),
            (GET[:-2] + b"A: \t1\r\n\r\n", False),
            (GET[:-2] + b"A: 1 \r\n\r\n", False),
            (GET[:-2] + b"A: \xe9\r\n\r\n", False),
            (GET[:-2] + b"A: 1\n\r\n", False),
            (GET[:-2] + b"Expect: 100-continue\r\n\r\n", False),
            (GET[:-2] + b"Upgrade: h2c\r\n\r\n", False),
            (GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False),
            (GET[:-2] + b"Content-Length: +1\r\n\r\n1", False),
            (GET[:-2] + b"Content-Length: 0, 0\r\n\r\n", False),
            (GET.replace(b"harbor", b"a b"), False),
            (GET.replace(b"1.1", b"1.0"), False),
            (GET.replace(b"/a", b"//a"), False),
            (GET.replace(b"/a", b"/%41"), False),
            (GET.replace(b"/a", b"/a#b"), False),
            (GET.replace(b"/a", b"/" + b"a" * 4_000), False),
            (GET.replace(b"/a", b"http://harbor/a"), False),
            (GET.replace(b"GET", b"OPTIONS"), False),
            (GET.replace(b"GET", b"POST"), False),
            (GET[:-2], False),
            (b"\r\n" + GET, False),
            (GET[:-2] + b"".join(b"A%d: 1\r\n" % number for number in range(99)) + b"\r\n", True),
            (GET[:-2] + b"".join(b"A%d: 1\r\n" % number for number in range(100)) + b"\r\n", False),
        ],
    )
    def test_only_the_plainest_form_is_read_here(self, both, made: bytes, is_plain: bool):
        with counted() as plain:
            both([made], _application)
        assert len(plain) == is_plain

    @pytest.mark.parametrize(("client", "server"), _PEERS)
    @pytest.mark.parametrize(
        "field", ["X-Forwarded-Proto: https", "X-Forwarded-Ssl: on", "X-Forwarded-For: ::1"]
    )
    def test_what_a_proxy_says_means_what_gunicorn_is_told_to_make_of_it(
        self, ways, field: str, client, server
    ):
        made = [GET[:-2] + field.encode() + b"\r\n\r\n"]
        for settings, (ours, gunicorns) in zip(("service", "believing"), ways, strict=True):
            seen = ours.run(made, _application, client=client, server=server)
            assert seen == gunicorns.run(made, _application, client=client, server=server)
            is_believed = settings == "believing" and "192.0.2.1" not in client and "For:" not in field
            assert seen.environs[0]["wsgi.url_scheme"] == ("https" if is_believed else "http")

    def test_hosts_in_turn_are_each_told_their_own(self, both):
        made = b"".join(GET.replace(b"harbor", host) for host in (b"a", b"b:81", b"a"))
        with counted() as plain:
            seen = both([made], _application, client="", server=UNIX)
        assert [each["SERVER_PORT"] for each in seen.environs] == ["80", "81", "80"]
        assert len(plain) == 3

    def test_a_form_is_asked_for_again_after_another(self, both):
        """Who sends one request that is not plain is not given up on."""
        odd = GET.replace(b"/a", b"/%41")
        with counted() as plain:
            seen = both([GET, odd, GET + odd, GET], _application)
        assert len(seen.environs) == 5
        # The one that was followed at once, and what began by itself.
        assert len(plain) == 3


class Closing:
    """An answer that counts how often it is closed."""

    def __init__(self, parts: Iterable[Any], closed: list[str]) -> None:
        self._parts = parts
        self._closed = closed

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parts)

    def close(self) -> None:
        self._closed.append("closed")


def _broken() -> Iterator[bytes]:
    yield b"ab"
    raise LookupError


def _writing(_: Any, start_response: Any) -> list[bytes]:
    write = start_response("200 OK", [("Content-Length", "4")])
    write(b"ab")
    return [b"cd"]


def _hinting(environ: Any, start_response: Any) -> list[bytes]:
    environ["wsgi.early_hints"]([("Link", "</a>; rel=preload")])
    start_response("200 OK", [("Content-Length", "1")])
    return [b"a"]


def _ending(environ: Any, start_response: Any) -> list[bytes]:
    environ["gunicorn.socket"].end_with_answer()
    start_response("200 OK", [("Content-Length", "1")])
    return [b"a"]


def _from_file(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Length", "9000")])
    return environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 9_000))


def _failing_first(_: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "1")])
    try:
        raise LookupError
    except LookupError:
        start_response("500 Internal Server Error", [("Content-Length", "2")], sys.exc_info())
    return [b"no"]


def _failing_late(_: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "4")])
    yield b"ab"
    try:
        raise LookupError
    except LookupError:
        start_response("500 Internal Server Error", [], sys.exc_info())
    yield b"cd"


def _saying(status: Any, headers: Any, parts: Any) -> Callable[[Any, Any], Any]:
    def application(_: Any, start_response: Any) -> Any:
        start_response(status, headers)
        return parts() if callable(parts) else parts

    return application


def _raising(error: BaseException) -> Callable[[Any, Any], Any]:
    def application(*_: Any) -> Any:
        raise error

    return application


_ONE, _FOUR = [("Content-Length", "1")], [("Content-Length", "4")]
_APPLICATIONS = {
    "nothing": _saying("200 OK", [], []),
    "nothing, of length 0": _saying("200 OK", [("Content-Length", "0")], []),
    "one part": _saying("201 CREATED", [("Content-Type", "application/json"), *_ONE], [b"a"]),
    "parts": _saying("200 OK", _FOUR, [b"a", b"", b"bcd"]),
    "parts of no length": _saying("200 OK", [], [b"a", b"", b"bcd"]),
    "a generator": _saying("200 OK", _FOUR, lambda: (part for part in (b"ab", b"cd"))),
    "a generator of no length": _saying("200 OK", [], lambda: (part for part in (b"ab", b"cd"))),
    "more than its length": _saying("200 OK", _ONE, [b"abc", b"d"]),
    "less than its length": _saying("200 OK", _FOUR, [b"a"]),
    "a large one": _saying("200 OK", [("Content-Length", "70000")], [b"x" * 30_000, b"y" * 40_000]),
    "204": _saying("204 NO CONTENT", [("X-A", "b")], []),
    "204 with a body": _saying("204 NO CONTENT", _ONE, [b"a"]),
    "304": _saying("304 NOT MODIFIED", [("ETag", '"a"'), *_FOUR], []),
    "no text": _saying("200 OK", _ONE, ["a"]),
    "no reason": _saying("200", _ONE, [b"a"]),
    "no status": _saying("OK", _ONE, [b"a"]),
    "status of bytes": _saying(b"200 OK", _ONE, [b"a"]),
    "a split status": _saying("200 OK\r\nX: y", _ONE, [b"a"]),
    "a split value": _saying("200 OK", [*_ONE, ("X-A", "b\r\nX: y")], [b"a"]),
    "a split name": _saying("200 OK", [*_ONE, ("X-A: b\r\nX", "y")], [b"a"]),
    "an odd name": _saying("200 OK", [*_ONE, ("X A", "y")], [b"a"]),
    "a value of bytes": _saying("200 OK", [*_ONE, ("X-A", b"y")], [b"a"]),
    "a number": _saying("200 OK", [*_ONE, ("X-A", 1)], [b"a"]),
    "a value with spaces": _saying("200 OK", [*_ONE, ("X-A", " b\tc ")], [b"a"]),
    "an empty value": _saying("200 OK", [*_ONE, ("X-A", "")], [b"a"]),
    "latin": _saying("200 OK", [*_ONE, ("X-A", "\xe9")], [b"a"]),
    "beyond latin": _saying("200 OK", [*_ONE, ("X-A", "\u0416")], [b"a"]),
    "a wrong length": _saying("200 OK", [("Content-Length", "a")], [b"a"]),
    "two lengths": _saying("200 OK", [*_ONE, *_FOUR], [b"abcd"]),
    "a name twice": _saying("200 OK", [*_ONE, ("X-A", "b"), ("x-a", "c")], [b"a"]),
    "of one hop": _saying(
        "200 OK",
        [
            *_ONE,
            ("Connection", "close"),
            ("Date", "a"),
            ("server", "b"),
            ("Transfer-Encoding", "c"),
            ("TE", "d"),
        ],
        [b"a"],
    ),
    "an upgrade": _saying("101 Switching", [("Connection", "upgrade"), ("Upgrade", "websocket")], []),
    "broken at once": lambda environ, start_response: 1 // 0,
    "broken once started": _saying("200 OK", _ONE, lambda: 1 // 0),
    "broken on the way": _saying("200 OK", _FOUR, _broken),
    "broken on the way, of no length": _saying("200 OK", [], _broken),
    "never started": lambda environ, start_response: [],
    "never started, but sent": lambda environ, start_response: [b"a"],
    "started twice": lambda _, start: [start("200 OK", _ONE), start("200 OK", _ONE)],
    "written": _writing,
    "hinted": _hinting,
    "ended": _ending,
    "a file": _from_file,
    "failed before anything was sent": _failing_first,
    "failed when a part was sent": _failing_late,
    "a client that has gone": _raising(ConnectionResetError(errno.ECONNRESET, "gone")),
    "an end": _raising(StopIteration()),
}


_READERS: dict[str, Callable[[Any], bytes]] = {
    "all": lambda body: body.read(),
    "in parts": lambda body: body.read(0) + body.read(3) + body.read(),
    "beyond its end": lambda body: body.read(100) + body.read(100),
    "lines": lambda body: body.readline() + b"|" + body.readline(2) + b"|" + body.readline(),
    "each line": b"|".join,
    "all lines": lambda body: b"|".join(body.readlines()),
    "a part": lambda body: body.read(3),
    "nothing": lambda body: b"",
}


class TestAnswering:
    @pytest.mark.parametrize("name", _APPLICATIONS)
    def test_what_is_written_is_what_gunicorn_writes(self, ways, name: str):
        closed: list[str] = []

        def application(environ: Any, start_response: Any, _: Any) -> Any:
            returned = _APPLICATIONS[name](environ, start_response)
            is_file = isinstance(returned, environ["wsgi.file_wrapper"])
            return returned if is_file else Closing(returned, closed)

        ours, gunicorns = ways[0]
        for method, field in itertools.product(("GET", "HEAD", "DELETE"), ("", "Connection: close\r\n")):
            request = f"{method} /a HTTP/1.1\r\nHost: harbor\r\n{field}\r\n".encode()
            # Names of fields are known already the second time.
            made = [request, request, GET]
            closed.clear()
            expected = gunicorns.run(made, application), len(closed)
            closed.clear()
            with counted() as plain:
                assert (ours.run(made, application), len(closed)) == expected
            assert len(plain) == len(expected[0].environs) > 0

    @pytest.mark.parametrize("how", _READERS)
    def test_a_body_is_read_as_gunicorn_lets_it_be_read(self, both, how: str):
        """In parts, by lines, beyond its end; whether it has come or not."""

        def application(environ: Any, start_response: Any, read: Any) -> list[bytes]:
            read(_READERS[how](environ["wsgi.input"]))
            start_response("200 OK", _ONE)
            return [b"a"]

        made = HEAD + b"Content-Length: 14\r\n\r\nab\ncd\n\nefghijk" + GET
        begin = made.index(b"\r\n\r\n") + 4
        for pieces in byte_streams.split_once(made)[begin - 1 : begin + 15]:
            assert both(pieces, application).bodies[0] == both([made], application).bodies[0]

    def test_a_body_that_was_not_read_ends_the_connection_only_where_it_is_still_to_come(self, both):
        def deaf(environ: Any, start_response: Any, read: Any) -> list[bytes]:
            start_response("401 UNAUTHORIZED", _ONE)
            return [b"a"]

        seen = both([POST + b"{}     ", GET], deaf)
        assert seen.sent.count(b"keep-alive") == 2
        # What was not read of it is no beginning of the next request.
        assert [phase for what, phase, _ in seen.steps if what == "recv"] == [Phase.IDLE] * 3
        seen = both([POST + b"{}    ", b" " + GET], deaf)
        assert (seen.sent.count(b"HTTP/1.1 401"), seen.sent.count(b"Connection: close")) == (1, 1)

    def test_a_worker_that_has_served_enough_closes(self):
        for kind in (PlainWay, GunicornsWay):
            way = Way(kind, {**SERVICE, "max_requests": 3})
            seen = way.run([GET, GET, GET, GET], _application)
            assert [seen.sent.count(word) for word in (b"keep-alive", b"Connection: close")] == [2, 1]
            assert (way.worker.nr, way.worker.alive) == (3, False)

    def test_hooks_are_told_of_each_request_and_may_fail_after_it(self):
        told: list[list[Any]] = []
        for kind in (PlainWay, GunicornsWay):
            told.append([])

            def before(_: Any, request: Any) -> None:
                told[-1].append((request.method, request.path))

            def after(_: Any, __: Any, environ: Any, answer: Any) -> None:
                told[-1].append((environ["RAW_URI"], answer.status, answer.sent))
                raise LookupError

            way = Way(kind, {**SERVICE, "pre_request": before, "post_request": after})
            told[-1].append(way.run([GET, POST + b"{}     "], _application))
        assert told[0] == told[1]
        assert len(told[0]) == 5

    @pytest.mark.parametrize("error", [gevent.GreenletExit, SystemExit])
    def test_a_worker_that_is_killed_says_nothing(self, ways, error: type[BaseException]):
        def killed(environ: Any, start_response: Any, read: Any) -> Any:
            raise error

        seen = ways[0][0].run([GET, GET], killed)
        assert (seen.sent, len(seen.environs), seen.is_open) == (b"", 1, False)

    def test_nothing_is_left_for_the_garbage_collector(self, ways):
        """It comes seldom."""
        made = {Connection, PlainRequests, PlainRequest, PlainAnswer}
        gc.disable()
        try:
            before = sum(type(each) in made for each in gc.get_objects())
            ways[0][0].run([GET, POST, b"{}     "], _application)
            assert sum(type(each) in made for each in gc.get_objects()) == before
        finally:
            gc.enable()


class TestSettings:
    def test_the_service_has_a_plain_way(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            service = Service(Settings(), listener=listener)
        assert PlainForm.of(service.cfg) is not None
        assert {name: service.cfg.settings[name].get() for name in SERVICE} == SERVICE

    @pytest.mark.parametrize(
        "asked",
        [
            {"accesslog": "-"},
            {"keepalive": 0},
            {"certfile": "a"},
            {"proxy_protocol": "v1"},
            {"protocol": "uwsgi"},
            {"http2_cleartext": "both"},
            {"limit_request_line": 100},
            {"limit_request_fields": 10},
            {"limit_request_field_size": 100},
        ],
    )
    def test_what_is_done_by_gunicorn_alone_leaves_all_to_it(self, asked: dict[str, Any]):
        assert Way(GunicornsWay, {**SERVICE, **asked}).worker.cfg
        assert PlainForm.of(Way(GunicornsWay, {**SERVICE, **asked}).worker.cfg) is None

    def test_a_script_name_leaves_all_to_gunicorn(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("SCRIPT_NAME", "/harbor")
        assert PlainForm.of(Way(GunicornsWay, SERVICE).worker.cfg) is None
