"""gunicorn's gevent worker, taught two things: to let go of idle connections when it is told to end, and
to refuse what is not HTTP in the words of the rest of the service."""

import gc
import re
import time
import uuid
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import gevent
import orjson
from gunicorn.http import errors as parsing
from gunicorn.workers.ggevent import GeventWorker

_IDLE_S = 0.5
_ALLOCATIONS_BETWEEN_COLLECTIONS = 50_000
# How long, and for how much, a client that is refused is listened to, so that it reads why: a socket
# that is closed with bytes unread takes the answer back.
_LINGER_S = 2
_LINGER_BYTES = 1 << 20


class _IdleWait(gevent.Timeout):
    """The time that a connection may wait for its next request, known to the worker meanwhile."""

    def __init__(self, waiting: "set[_IdleWait]", seconds: float) -> None:
        super().__init__(seconds, exception=False)
        self._waiting = waiting
        self._greenlet: Any = gevent.getcurrent()
        self._since = time.monotonic()

    @property
    def is_idle(self) -> bool:
        """Whether nothing came for so long that no request is likely to be on its way just now."""
        return time.monotonic() - self._since > _IDLE_S

    def end_now(self) -> None:
        """Let the wait end as if its time were over."""
        self._greenlet.kill(self, block=False)

    def __enter__(self) -> Any:
        self._waiting.add(self)
        return super().__enter__()

    def __exit__(self, *error: object) -> Any:
        self._waiting.discard(self)
        return super().__exit__(*error)


class _HeadWithBody:
    """A socket that sends the head of an answer together with the first of its body.

    gunicorn sends them one after the other: two system calls here, two packets and two wake-ups there.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._head: bytes | None = None
        self._is_begun = False

    def sendall(self, data: bytes) -> None:
        if not self._is_begun:
            self._is_begun, self._head = True, data
            return
        head, self._head = self._head, None
        self._sock.sendall(data if head is None else head + data)

    def shutdown(self, how: int) -> None:
        # An answer that broke is not begun.
        self._head = None
        self._sock.shutdown(how)

    def finish(self) -> None:
        """Send a head that has no body."""
        head, self._head = self._head, None
        if head is not None:
            self._sock.sendall(head)

    def __getattr__(self, name: str) -> Any:
        # Whatever else is done with the socket, such as sending a file, comes after the head.
        self.finish()
        return getattr(self._sock, name)


class Worker(GeventWorker):
    """A worker that ends as soon as the requests under way are answered.

    The stock one counts connections that a proxy keeps open, and waits for its whole graceful timeout.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: set[_IdleWait] = set()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        # Each request asks for some twenty settings, which gunicorn looks up anew by a method; none changes.
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        # What the application is made of stays for good: the garbage collector need not look at it each
        # time, nor every few requests. A batch makes thousands of objects, none of them in cycles.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS, 20, 20)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        whole = _HeadWithBody(sock)
        try:
            return super().handle_request(listener_name, req, whole, addr)
        finally:
            whole.finish()

    def timeout_ctx(self) -> Any:
        return _IdleWait(self._waiting, self.cfg.keepalive)

    def handle_exit(self, sig: Any, frame: Any) -> None:
        super().handle_exit(sig, frame)
        gevent.spawn(self._let_go)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:  # noqa: ARG002 - gunicorn's signature
        """Answer a request that never reached the application with a problem document."""
        request_id = uuid.uuid4().hex
        if isinstance(exc, parsing.ParseException):
            # Only the kind: the message may hold a key that was sent in a line without its colon.
            kind = type(exc).__name__
            self.log.warning("refused before the application: %s, request_id %s", kind, request_id)
        else:
            self.log.error("failed before the application, request_id %s", request_id, exc_info=exc)
        path = str(getattr(req, "path", None) or "/")
        with suppress(OSError), gevent.Timeout(_LINGER_S, exception=False):
            client.sendall(_problem(exc, path, request_id))
            client.shutdown(1)
            unread = _LINGER_BYTES
            while unread > 0 and (received := client.recv(65_536)):
                unread -= len(received)

    def _let_go(self) -> None:
        # One that is in use gets its last answer with "Connection: close" first, or falls idle.
        while True:
            for wait in list(self._waiting):
                if wait.is_idle:
                    wait.end_now()
            gevent.sleep(_IDLE_S / 2)


def _problem(exc: BaseException, path: str, request_id: str) -> bytes:
    # Imported in the worker, once gevent has patched it.
    from harbor_api import errors, problems  # noqa: PLC0415 - see above
    from harbor_api.schemas.problems import MEDIA_TYPE  # noqa: PLC0415 - see above

    # What is wrong is in the class's name; its message would echo what the client sent.
    what = re.sub(r"(?<!^)(?=[A-Z][a-z])", " ", type(exc).__name__).capitalize()
    error: errors.HarborError
    if isinstance(exc, parsing.LimitRequestLine):
        error = errors.URITooLong()
    elif isinstance(exc, parsing.LimitRequestHeaders):
        error = errors.HeadersTooLarge()
    elif isinstance(exc, parsing.ParseException):
        error = errors.BadRequest(f"This is not HTTP/1.1 as it should be: {what}")
    else:
        error = errors.InternalError("The service failed; quote the request id to the operator")
    body = orjson.dumps(problems.document(error, instance=path, request_id=request_id))
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
        f"Date: {formatdate(usegmt=True)}",
        "Connection: close",
        "Cache-Control: no-store",
        "Referrer-Policy: no-referrer",
        "X-Content-Type-Options: nosniff",
        f"Content-Type: {MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        f"X-Request-Id: {request_id}",
    )
    return "\r\n".join((*head, "", "")).encode() + body
