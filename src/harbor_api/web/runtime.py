"""What a request has at hand: the one typed way from a view to everything below it.

Flask keeps what belongs to an application in a dict of strings, and what belongs to a request in a bag of
anything, both behind proxies that look up anew at each touch whose turn it is: of a fix, fifty times. Here
that is looked up once. ``current()`` gives the Runtime of the application that handles the request, and the
others what its decorators have found out of it, or say which decorator is missing.
"""

import time
from collections.abc import Container, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, cast

from flask import Flask, Request, current_app
from flask.globals import request_ctx

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.api_keys import Caller
from harbor_api.domain.audit import Actor
from harbor_api.ingest.intake import Intake, Signer
from harbor_api.live.fleet import LiveFleet
from harbor_api.live.hub import Hub
from harbor_api.postgres.migrations import Standing
from harbor_api.postgres.sight import Sight
from harbor_api.services import master_key
from harbor_api.services.idempotency import Once
from harbor_api.settings import Settings
from harbor_api.telemetry.repeats import Repeats
from harbor_api.telemetry.traces import Served
from harbor_api.web.known_keys import KnownKeys
from harbor_api.web.rate_counters import Counted, RateCounters
from harbor_api.web.streams import Streams

# Where an application keeps its Runtime.
NAME = "harbor_api"
UNREAD: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """All that an application holds for its requests.

    ``document`` is the OpenAPI document as JSON; with the keys tags are made, cursors are sealed, and items
    of the change feed get their ids.
    """

    settings: Settings
    tag_key: bytes
    cursor_key: bytes
    item_key: bytes
    database: Database
    intake: Intake
    fleet: LiveFleet
    hub: Hub
    counters: RateCounters
    document: bytes
    known_keys: KnownKeys
    repeats: Repeats = field(default_factory=Repeats)
    streams: Streams = field(default_factory=Streams)

    @property
    def stale_after(self) -> timedelta:
        """For how long a vessel may be silent before it is stale."""
        return timedelta(seconds=self.settings.stale_after_s)

    @property
    def future_tolerance(self) -> timedelta:
        """How far ahead of its reception a fix may be recorded."""
        return timedelta(seconds=self.settings.future_tolerance_s)

    def demand_ready(self) -> bool:
        """Return whether a newer release has migrated the database already.

        Unavailable where it does not answer, MigrationsPending where it lacks tables, and WrongMasterKey.
        """
        standing = self.database.demand_schema(or_newer=True)
        with self.database.autocommit() as unit_of_work:
            master_key.demand(unit_of_work, self.settings.require_master_key())
        return standing is Standing.NEWER


@dataclass(slots=True)
class RequestState:
    """What is known of a request, as its decorators find it out."""

    id: str
    began: float
    request: Request
    runtime: Runtime
    before: "RequestState | None"
    caller: Caller | None = None
    signer: Signer | None = None
    counted: Counted | None = None
    once: Once | None = None
    versions: Container[int] | None = None
    demands_version: bool = False
    body: Any = field(default=UNREAD)
    # Others that ended in the same way are told of in one line.
    is_routine: bool = False
    trace_id: str | None = None
    served: Served | None = None


_here: ContextVar[RequestState | None] = ContextVar("harbor_request", default=None)


def install(app: Flask, runtime: Runtime) -> None:
    """Give an application its Runtime."""
    app.extensions[NAME] = runtime
    app.teardown_request(_end_request)


def of(app: Flask) -> Runtime:
    """Return the Runtime of an application."""
    return cast("Runtime", app.extensions[NAME])


def current() -> Runtime:
    """Return the Runtime of the application that handles this request."""
    state = _here.get()
    return cast("Runtime", current_app.extensions[NAME]) if state is None else state.runtime


def begin_request(request_id: str, trace_id: str | None) -> None:
    """Begin a request: nothing is known of it but its id, and the trace that its caller names."""
    _here.set(
        RequestState(
            id=request_id,
            began=time.perf_counter(),
            request=request_ctx.request,
            runtime=cast("Runtime", current_app.extensions[NAME]),
            before=_here.get(),
            trace_id=trace_id,
        )
    )


def _end_request(_: BaseException | None) -> None:
    """Let go of a request; one within which it was made, as tests do, is under way again."""
    state = _here.get()
    if state is not None and state.request is request_ctx.request:
        _here.set(state.before)


def here() -> RequestState:
    """Return what is known of this request, for the decorators that find it out."""
    state = _here.get()
    if state is None:
        raise RuntimeError("no request has begun")
    return state


def sent() -> Request:
    """Return this request as Flask holds it, and not by way of its proxy."""
    return here().request


def request_id() -> str:
    """Return the id of this request, which its answer and its lines in the log carry."""
    return here().id


def trace_id() -> str | None:
    """Return the trace that this request belongs to, None where it is not known to be one's."""
    return here().trace_id


def present_ids() -> Mapping[str, str]:
    """Return the names by which this request is known, none where there is no request."""
    state = _here.get()
    if state is None:
        return {}
    ids = {"request_id": state.id}
    return ids if state.trace_id is None else {**ids, "trace_id": state.trace_id}


def caller() -> Caller:
    """Return the API key that this request came with."""
    found = here().caller
    if found is None:
        raise RuntimeError("nobody asked for a key: the view lacks @auth.requires_key")
    return found


def sight(unit_of_work: UnitOfWork) -> Sight:
    """Return what the API key may see that this request came with."""
    return unit_of_work.sight(caller(), future_tolerance=current().future_tolerance)


def seen() -> Sight:
    """Return the same, by the primary's clock: for what may be read at the replica."""
    if not caller().delay_s:
        return Sight.of(caller(), None)
    with current().database.autocommit() as unit_of_work:
        return sight(unit_of_work)


def signer() -> Signer:
    """Return who has signed this request."""
    found = here().signer
    if found is None:
        raise RuntimeError("nobody asked for a signature: the view lacks @auth.requires_signature")
    return found


def counted() -> Counted:
    """Return what this request was counted against."""
    found = here().counted
    if found is None:
        raise RuntimeError("nobody counted: the view lacks @auth.requires_key or @auth.requires_signature")
    return found


def once() -> Once:
    """Return what this request asks to be done once."""
    found = here().once
    if found is None:
        raise RuntimeError("nobody read Idempotency-Key: the view lacks @idempotency.done_once")
    return found


def versions() -> Container[int] | None:
    """Return the versions that this request may replace, None for any."""
    state = here()
    if not state.demands_version:
        raise RuntimeError("nobody read If-Match: the view lacks @preconditions.demands_version")
    return state.versions


def body() -> Any:
    """Return the JSON value that this request came with, as it was sent."""
    found = here().body
    if found is UNREAD:
        raise RuntimeError("nobody read the body: the view lacks @blueprint.arguments")
    return found


def actor() -> Actor:
    """Return who makes the change that this request asks for: the key that it came with."""
    key = caller()
    return Actor(name=f"key {key.id} ({key.name})", api_key_id=key.id, request_id=request_id())


def who() -> str | None:
    """Return whoever is known to have made this request, for the log."""
    state = here()
    if state.signer is not None:
        return state.signer.tracker.id
    return None if state.caller is None else f"key {state.caller.id}"
