"""The plain way of a request: what nearly all clients send, read by one regular expression.

gunicorn's parser takes whatever HTTP allows. With what gunicorn does around the application that is a third
of all that HTTP costs a signed fix. So what begins a request comes here first (``Connection.answer_first``):
if its head has the plainest form it is answered at once, and gunicorn, which asked for these bytes, never
sees them. All others it gets as they came.

So this file may leave anything to gunicorn, and must read nothing otherwise than gunicorn does, nor what
gunicorn refuses. tests/server/test_plain_requests.py holds the two against each other: what the application
is given, what is sent, what is left, and what the connection is said to do in the meantime.
"""

import io
import os
import re
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gevent
from gunicorn import SERVER, http, util
from gunicorn.http import wsgi
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import SocketUnreader

from harbor_api.server import messages
from harbor_api.server.connections import Connection

_LONGEST_HEAD = 4_000
_MOST_FIELDS = 100
# One space after a colon and none at the end of a line: nothing is left to be read in two ways. A path that
# has an escape, or begins with two slashes, is gunicorn's; so is a name with an underscore, which could be
# taken for another.
_HEAD = re.compile(
    r"(GET|HEAD|POST|PUT|PATCH|DELETE) "
    r"((/(?!/)[A-Za-z0-9/._~!$&'()*+,;=:@-]*+)(?:\?([!\"$-~]*+))?) HTTP/1\.1\r\n"
    rf"((?:[A-Za-z0-9-]++: (?! )[ -~]++(?<! )\r\n){{1,{_MOST_FIELDS}}}+)\r\n"
)
# What changes how a request is read, by the names of such fields in an environ.
_RULES = frozenset({"HTTP_EXPECT", "HTTP_TRANSFER_ENCODING", "HTTP_UPGRADE"})
# The body of such a request has a length, or nobody knows where it ends.
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class PlainForm:
    """What gunicorn's settings make of plain requests."""

    rules: frozenset[str]
    # A request as gunicorn reads it, whose environ has what that of each plain one has.
    template: Any

    @classmethod
    def of(cls, cfg: Any) -> "PlainForm | None":
        """Return it; None where a setting asks for what is not done here, so that all is left to gunicorn."""
        limits = (
            (cfg.limit_request_line, _LONGEST_HEAD),
            (cfg.limit_request_field_size, _LONGEST_HEAD),
            (cfg.limit_request_fields, _MOST_FIELDS),
        )
        if (
            (cfg.protocol, cfg.proxy_protocol, cfg.http2_cleartext) != ("http", "off", "off")
            or cfg.is_ssl
            or cfg.accesslog
            or not cfg.keepalive
            or os.environ.get("SCRIPT_NAME")
            or any(0 < limit < needed for limit, needed in limits)
        ):
            return None
        [template] = http.get_parser(cfg, [b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"], ("", 0))
        return cls(_RULES | {_key(name) for name in cfg.secure_scheme_headers}, template)


class PlainRequests:
    """The plain requests of one connection."""

    def __init__(
        self, form: PlainForm, worker: Any, connection: Connection, *, client: Any, server: Any
    ) -> None:
        """Answer, with what ``worker`` has loaded, what the address ``client`` sends to ``server``."""
        self._form = form
        self._worker = worker
        self._connection = connection
        self._client = client
        self._server = server
        # For whom the requests were that came last, and what gunicorn says in the environ of all of these.
        self._host: str | None = None
        self._environ: dict[str, Any] = {}

    def answer(self, data: bytes) -> bytes:
        """Answer the plain requests that ``data`` begins with; return what is left of it for gunicorn.

        StopIteration where the connection is to be closed now, OSError where the client has gone: gunicorn,
        which asked for bytes, takes both as its own.
        """
        while data and (found := self._read(data)) is not None:
            request, environ = found
            is_kept = False
            self._connection.begin_request()
            try:
                is_kept = self._serve(request, environ)
            except (OSError, StopIteration):
                raise
            except Exception as error:
                self._worker.handle_error(request, self._connection, self._client, error)
            except (gevent.GreenletExit, SystemExit) as ended:
                raise StopIteration from ended
            finally:
                data = request.left() if is_kept else b""
                self._connection.end_request(is_followed=bool(data))
            if not is_kept:
                raise StopIteration
        return data

    def _read(self, data: bytes) -> "tuple[PlainRequest, dict[str, Any]] | None":
        """Return the request that ``data`` begins with, and its environ; None where it is for gunicorn."""
        head = _HEAD.match(data[:_LONGEST_HEAD].decode("latin-1"))
        if head is None:
            return None
        method, uri, path, query, lines = head.groups()
        given = [line.partition(": ") for line in lines.split("\r\n")[:-1]]
        fields = {_key(name): value for name, _, value in given}
        # One that is given twice is joined, or refused.
        if len(fields) < len(given) or not self._form.rules.isdisjoint(fields) or not self._is_for(fields):
            return None
        length = fields.get("CONTENT_LENGTH", "" if method in _WITH_BODY else "0")
        if not length.isdigit():
            return None
        request = PlainRequest(
            self._connection,
            method=method,
            path=path,
            is_last=fields.get("HTTP_CONNECTION", "").lower() == "close",
            length=int(length),
            rest=data[head.end() :],
        )
        environ = {
            **self._environ,
            **fields,
            "REQUEST_METHOD": method,
            "RAW_URI": uri,
            "PATH_INFO": path,
            "QUERY_STRING": query or "",
            "wsgi.input": request.body,
        }
        return request, environ

    def _is_for(self, fields: dict[str, str]) -> bool:
        """Return whether it is said for which host a request is, as it has to be."""
        host = fields.get("HTTP_HOST")
        if host is None or not (host == self._host or messages.is_host(host)):
            return False
        if host != self._host:
            template, cfg = self._form.template, self._worker.cfg
            template.headers = [("HOST", host)]
            _, environ = wsgi.create(template, self._connection, self._client, self._server, cfg)
            self._host, self._environ = host, {**environ, "wsgi.multithread": True}
        return True

    def _serve(self, request: "PlainRequest", environ: dict[str, Any]) -> bool:
        """Answer a request, and return whether another may follow."""
        worker, connection = self._worker, self._connection
        answer = PlainAnswer(request, connection, worker.cfg)
        hint = wsgi._make_early_hints_callback(request, connection, answer)  # noqa: SLF001 - has a canary
        environ["wsgi.early_hints"] = hint
        try:
            worker.cfg.pre_request(worker, request)
            worker.nr += 1
            if worker.nr >= worker.max_requests and worker.alive:
                worker.log.info("Autorestarting worker after current request.")
                worker.alive = False
            if not worker.alive:
                answer.force_close()
            returned = worker.wsgi(environ, answer.start_response)
            try:
                if isinstance(returned, environ["wsgi.file_wrapper"]):
                    answer.write_file(returned)
                else:
                    for part in returned:
                        answer.write(part)
                answer.close()
            finally:
                if hasattr(returned, "close"):
                    returned.close()
        except (OSError, StopIteration):
            raise
        except Exception:
            if not answer.headers_sent:
                raise
            worker.log.exception("Error handling request")
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            return False
        finally:
            try:
                worker.cfg.post_request(worker, request, environ, answer)
            except Exception:
                worker.log.exception("Exception in post_request hook")
        return not answer.should_close()


class PlainRequest:
    """What gunicorn's Response, and its hooks, ask of a request."""

    # Its environ refers to it, and not the other way, too: garbage is collected seldom.
    __slots__ = ("_connection", "_is_last", "_left", "_unreader", "body", "method", "path")
    version = (1, 1)

    def __init__(
        self, connection: Connection, *, method: str, path: str, is_last: bool, length: int, rest: bytes
    ) -> None:
        """Take ``rest``, what came after the head; its reader waits for what is missing of the body."""
        self.method = method
        self.path = path
        self.body: Any
        self._connection = connection
        self._is_last = is_last
        if len(rest) >= length:
            self._unreader = None
            self.body, self._left = io.BytesIO(rest[:length]), rest[length:]
        else:
            self._unreader = SocketUnreader(connection)
            self._unreader.unread(rest)
            self.body = Body(LengthReader(self._unreader, length))

    def should_close(self) -> bool:
        """Return whether nothing comes after this, as it was said, or as some of its body was not read."""
        connection = self._connection
        # To read on would be to wait for a body that nobody wants.
        connection.lingers = is_unread = self._unreader is not None and messages.is_unread(self.body)
        return is_unread or connection.is_last or self._is_last

    def left(self) -> bytes:
        """Return what has come after it, once it is answered and the connection is kept."""
        if self._unreader is None:
            return self._left
        # What has come of the body, and nobody has asked for.
        self.body.read()
        left: bytes = self._unreader.take_buffered()
        return left


class PlainAnswer(wsgi.Response):
    """gunicorn's answer, which looks at the name of a field once, and makes the date once a second."""

    # Those that gunicorn lets pass, and has no rule for. How many there are is up to the application.
    _names: set[str] = set()

    def process_headers(self, headers: Iterable[tuple[str, str]]) -> None:
        for name, value in headers:
            if name in self._names and isinstance(value, str) and _is_plain(value):
                self.headers.append((name, value))
                continue
            super().process_headers([(name, value)])
            if not (name.lower() == "content-length" or util.is_hoppish(name)):
                self._names.add(name)

    def default_headers(self) -> list[str]:
        if self.upgrade or self.chunked:
            lines: list[str] = super().default_headers()
            return lines
        connection = "close" if self.should_close() else "keep-alive"
        return [_first_lines(self.status, connection, int(time.time()))]


def _is_plain(value: str) -> bool:
    """Return whether a value has nothing but printable ASCII, and nothing that is to be stripped of it."""
    return value.isascii() and value.isprintable() and value == value.strip(" ")


@lru_cache(maxsize=64)
def _first_lines(status: str, connection: str, now: int) -> str:
    date = util.http_date(now)
    return f"HTTP/1.1 {status}\r\nServer: {SERVER}\r\nDate: {date}\r\nConnection: {connection}\r\n"


@lru_cache(maxsize=256)
def _key(name: str) -> str:
    """Return what a field is called in an environ."""
    key = name.upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else "HTTP_" + key
