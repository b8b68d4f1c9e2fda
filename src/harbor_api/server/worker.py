"""gunicorn's gevent worker with nine changes, a class each; ``Worker`` is all of them.

    class               changes           what gunicorn does, and what this does instead
    ------------------  ----------------  --------------------------------------------------------------------
    WatchesConnections  run, handle,      It waits without end for all but the head of a further request. Here
                        timeout_ctx       every wait is bounded, so that whoever is silent keeps no place. And
                                          what the worker has is said once a second, for the metrics.
    SharesConnections   run, notify       Whichever worker is idle takes the next connection, though others
                                          have none. Here those that hold fewer go first.
    EndsSoon            handle_exit       It waits 20 s for connections that a proxy keeps open. Here idle
                                          ones are let go, so that a deploy takes as long as the requests do.
                        notify            It drops all that is under way where the process that started it is
                                          gone. Here that is as if it were told to end.
    DemandsHost         handle_request    It takes a request without a Host, or with one that is none. Here
                                          that is refused, as RFC 9112 (3.2) says.
    KeepsInStep         handle_request    It reads what is left of a body before the next request. Here the
                                          connection is closed: nobody waits for a body that nobody wants.
    CollectsSeldom      load_wsgi         It leaves Python's garbage collector as it is, which looks at the
                                          whole application every few requests. Here that is left out.
    AnswersPlainly      handle            Its parser takes whatever HTTP allows, which costs. Here requests in
                                          the plainest form are read and answered by plain_requests.py.
    RemembersSettings   load_wsgi         It looks up some twenty settings by a method for each request. Here
                                          they are plain attributes: none changes.
    TellsProblems       handle_error      It answers what is not HTTP with HTML. Here it is told in the words
                                          of the rest of the service, with a request id.

``connections.Connection`` is the socket that gunicorn sees, ``logger`` is its log, ``service`` its options.
What all of them take for granted of gunicorn is held by tests/canaries/test_gunicorn.py.
"""

import gc
import os
import re
import signal
import socket
import time
import uuid
from contextlib import AbstractContextManager, nullcontext, suppress
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Any

import gevent
import orjson
from gunicorn.http import errors as parsing
from gunicorn.workers.ggevent import GeventWorker

from harbor_api.domain import errors
from harbor_api.server import messages, sampling
from harbor_api.server.connections import Connections, Phase
from harbor_api.server.plain_requests import PlainForm, PlainRequests
from harbor_api.server.shares import SharingServer
from harbor_api.telemetry import metrics, processes

_ALLOCATIONS_BETWEEN_COLLECTIONS = 50_000
# What the kernel may hold of an answer that a client does not read.
_SEND_BUFFER_BYTES = 256 * 1024
# For how long those who follow are told farewell, at most.
_FAREWELLS_S = 12.0
# For how long the others are waited for that load the application, before the first connection is taken.
_OTHERS_LOAD_S = 3.0
# gunicorn asks for a context that bounds how long a request is waited for; ours are bounded otherwise.
_UNBOUNDED: AbstractContextManager[None] = nullcontext()


class WatchesConnections(GeventWorker):
    """Nothing is waited for without end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.place = self.app.board.place(self.age)
        self.connections = Connections(self.app.bounds, tell=self.place.note, tell_cut=_count_cut)

    def run(self) -> None:
        for listener in self.sockets:
            # Those that are accepted inherit it.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        gevent.spawn(self.connections.watch)
        if processes.number() is not None:
            # Somebody asks for it.
            gevent.spawn(sampling.sample_for_ever, _runtime(self.wsgi), self.place)
        super().run()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        super().handle(listener, self.connections.add(client, addr), addr)

    def timeout_ctx(self) -> Any:
        return _UNBOUNDED


class SharesConnections(WatchesConnections):
    """A worker takes its share of the connections."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.server_class = partial(SharingServer, self)

    def run(self) -> None:
        self.place.note(0)
        until = time.monotonic() + _OTHERS_LOAD_S
        self.notify()
        while self.alive and len(self.place.others()) + 1 < self.cfg.workers and time.monotonic() < until:
            gevent.sleep(0.005)
        super().run()

    def notify(self) -> None:
        super().notify()
        if self.alive:
            self.place.beat()

    def handle_exit(self, sig: Any, frame: Any) -> None:
        super().handle_exit(sig, frame)
        self.place.end()


class KeepsInStep(GeventWorker):
    """A connection is kept only where the next thing on it is the next request."""

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        sock.begin_request()
        is_last = req.should_close

        def should_close() -> bool:
            # To read on would be to wait for a body that nobody wants.
            sock.lingers = is_unread = messages.is_unread(req.body) or _is_of_unknown_length(req)
            return is_unread or sock.is_last or bool(is_last())

        req.should_close = should_close
        try:
            return super().handle_request(listener_name, req, sock, addr)
        finally:
            # Or the request would refer to itself, and stay until the garbage is collected.
            del req.should_close
            sock.end_request(is_followed=messages.is_followed(req))


class MissingHost(parsing.ParseException):
    """A request of HTTP/1.1 names no host."""


class InvalidHost(parsing.ParseException):
    """A request names a host that none can have."""


class DemandsHost(GeventWorker):
    """A request names the host that it is meant for; two are refused by gunicorn itself."""

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        host = next((value for name, value in req.headers if name == "HOST"), None)
        if host is None:
            if req.version >= (1, 1):
                raise MissingHost
        elif not messages.is_host(host):
            raise InvalidHost
        return super().handle_request(listener_name, req, sock, addr)


class EndsSoon(SharesConnections):
    """A worker that is told to end does so as soon as the requests under way are answered."""

    # It may be told so while it still loads the application.
    wsgi: Any = None

    def run(self) -> None:
        super().run()
        hub = self._hub()
        if hub is not None:
            # What is left of the time in which all has to be over, and a moment to leave.
            hub.wait_for_end(_FAREWELLS_S)

    def notify(self) -> None:
        if self.ppid == os.getppid():
            super().notify()
        elif self.alive:
            self.log.warning("The process that started this one is gone")
            self.handle_exit(signal.SIGTERM, None)

    def handle_exit(self, sig: Any, frame: Any) -> None:
        super().handle_exit(sig, frame)
        self.connections.end()
        hub = self._hub()
        if hub is not None:
            hub.end()

    def _hub(self) -> Any:
        """Return what sends to those who follow, None where the application is not there yet."""
        if self.wsgi is None:
            return None
        return _runtime(self.wsgi).hub


class CollectsSeldom(GeventWorker):
    """The garbage collector looks at what requests leave behind, and not every few of them.

    A batch makes thousands of objects, none of them in cycles.
    """

    def load_wsgi(self) -> None:
        super().load_wsgi()
        gc.collect()
        gc.freeze()
        gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS, 20, 20)


class AnswersPlainly(GeventWorker):
    """Requests in the plainest form never reach gunicorn."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._plain_form = PlainForm.of(self.cfg)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        if self._plain_form is not None:
            server = listener.getsockname()
            client.answer_first = PlainRequests(
                self._plain_form, self, client, client=addr, server=server
            ).answer
        super().handle(listener, client, addr)


class RemembersSettings(GeventWorker):
    """Settings are looked up once."""

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})


class TellsProblems(GeventWorker):
    """A request that never reached the application is answered like one that did."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:  # noqa: ARG002 - gunicorn's signature
        """Answer a request that never reached the application with a problem document."""
        request_id = uuid.uuid4().hex
        if isinstance(exc, errors.RequestTimeout):
            # All that are cut are told of in one line now and then.
            self.log.debug("a request came too slowly, request_id %s", request_id)
        elif isinstance(exc, parsing.ParseException):
            # Only the kind: the message may hold a key that was sent in a line without its colon.
            kind = type(exc).__name__
            self.log.warning("refused before the application: %s, request_id %s", kind, request_id)
        else:
            self.log.error("failed before the application, request_id %s", request_id, exc_info=exc)
        path = str(getattr(req, "path", None) or "/")
        error = _error(exc)
        metrics.REFUSED_BEFORE.labels(str(error.status)).inc()
        with suppress(OSError):
            client.refuse(_problem(error, path, request_id))


class Worker(
    EndsSoon, DemandsHost, KeepsInStep, CollectsSeldom, AnswersPlainly, RemembersSettings, TellsProblems
):
    """gunicorn's worker as this service runs it."""


def _is_of_unknown_length(req: Any) -> bool:
    """Return whether what follows may be a request's body: it is of a kind that has one, and says nothing."""
    if req.method not in {"POST", "PUT", "PATCH"}:
        return False
    return not any(name in {"CONTENT-LENGTH", "TRANSFER-ENCODING"} for name, _ in req.headers)


def _count_cut(phase: Phase) -> None:
    metrics.CONNECTIONS_CUT.labels(phase.name.lower()).inc()


def _runtime(application: Any) -> Any:
    from harbor_api.web import runtime  # noqa: PLC0415 - as with ``_problem``

    return runtime.of(application)


def _error(exc: BaseException) -> errors.HarborError:
    # What is wrong is in the class's name; its message would echo what the client sent.
    what = re.sub(r"(?<!^)(?=[A-Z][a-z])", " ", type(exc).__name__).capitalize()
    if isinstance(exc, errors.RequestTimeout):
        return exc
    if isinstance(exc, parsing.LimitRequestLine):
        return errors.URITooLong()
    if isinstance(exc, parsing.LimitRequestHeaders):
        return errors.HeadersTooLarge()
    if isinstance(exc, parsing.ParseException):
        return errors.BadRequest(f"This is not HTTP/1.1 as it should be: {what}")
    return errors.InternalError("The service failed; quote the request id to the operator")


def _problem(error: errors.HarborError, path: str, request_id: str) -> bytes:
    # Imported in the worker, once gevent has patched it.
    from harbor_api.schemas.problems import MEDIA_TYPE  # noqa: PLC0415 - see above
    from harbor_api.web import problems  # noqa: PLC0415 - see above

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
