"""Where the time of one request goes: the real application, its real parts timed as they are called.

A layer's time is its own: what it calls in other layers is counted there. Timing costs about a
microsecond a call. Requests are made one after the other in this process, by WSGI, without gunicorn.
"""

import io
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from importlib import import_module
from typing import Any

from tests.benchmarks import fleet
from tests.support.factories import MASTER_KEY
from tests.support.urls import BATCH, POSITIONS

from harbor_api.app import create_app
from harbor_api.settings import Settings
from harbor_api.telemetry import logs
from harbor_api.web import runtime

REST, TOTAL = "the rest: Flask, Werkzeug, flask-smorest", "in all"
# Where each layer begins; behind a stroke is a module that is not ours. A place that was moved is reported,
# so that the table cannot lie by omission. What a decorator has bound at import cannot be timed: validation.
LAYERS = {
    "request id and log": ("web.request_log:_begin", "web.request_log:_end"),
    "head and body": ("web.callers:signed_message",),
    "signature": ("ingest.intake:Intake.signer", "ingest.intake:Signer.is_known"),
    "repeats": tuple(f"ingest.repeats:Repeats.{name}" for name in ("name", "is_met", "answer", "note")),
    "connections in and out of the pool": ("/sqlalchemy:Engine.connect", "/sqlalchemy:Connection.close"),
    "tracker look-up": ("repositories.trackers:Trackers.find_all",),
    "BEGIN, COMMIT and what surrounds them": ("database:Database.transact",),
    "group commit": ("postgres.grouping:Grouping.do",),
    "judgement": ("ingest.settling:settle",),
    "limiter": ("web.rate_limits:_count", "web.rate_limits:_tell"),
    "JSON parse": ("web.arguments:parse_json",),
    "columns: read": ("resources.positions:load_columns",),
    "columns: judged": ("ingest.columns:ranked", "ingest.columns:believed"),
    "handed over": ("ingest.intake:Intake.accept", "ingest.intake:Intake.accept_columns"),
    "statements: made, and read": (
        "ingest.settling:_admit",
        "repositories.positions:Positions.around",
        "repositories.positions:Positions.addition",
    ),
    "round trips: BEGIN, locks, neighbours; store, COMMIT": ("postgres.statements:run_all",),
    "answer": (
        "resources.positions:_answer",
        "resources.positions:_answer_batch",
        "resources.positions:as_answered",
        "web.application:OrjsonProvider.response",
    ),
}  # fmt: skip


class Stopwatch:
    """Adds up the time that each layer spends itself."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def timed(self, layer: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                took = time.perf_counter() - began
                self.spent[layer] += took - self._inner.pop()
                self._inner[-1] += took

        return wrapper


def measure(
    postgres: fleet.Postgres, *, singles: int = 2_000, batches: int = 300
) -> dict[str, dict[str, float]]:
    """Return the median microseconds of each layer, of the rest and in all, for a signed fix and a batch."""
    took = {}
    for what, made, path, many, status in (
        ("a signed fix", fleet.singles, POSITIONS, singles, 201),
        (f"a batch of {fleet.BATCH:,}", fleet.batches, BATCH, batches, 200),
    ):
        # The first tenth warms up: after it each tracker is known.
        posts = made(postgres.trackers[: many // 10], path, first_turn=0, count=many + many // 10)
        with postgres.database() as url:
            took[what] = spent(url, posts, LAYERS, status=status, warmup=many // 10)
    return took


def spent(
    url: str, requests: Iterable[bytes], layers: Mapping[str, Sequence[str]], *, status: int, warmup: int
) -> dict[str, float]:
    """Return the median microseconds of each layer of requests, but for the first ``warmup`` of them.

    RuntimeError where one is answered with another status.
    """
    seen: dict[str, list[float]] = defaultdict(list)
    stopwatch = Stopwatch()
    with timed(stopwatch, layers) as missing:
        settings = Settings(
            database_url=url, tracker_master_key=MASTER_KEY, tracker_requests_per_minute=1_000_000
        )
        logs.configure(settings.log_level)
        app = create_app(settings)
        call = stopwatch.timed(REST, lambda environ: _call(app.wsgi_app, environ, status))
        try:
            for number, request in enumerate(requests):
                environ = _environ(request)
                stopwatch.spent.clear()
                call(environ)
                if number >= warmup:
                    for layer in (*layers, REST):
                        seen[layer].append(stopwatch.spent[layer] * 1e6)
                    seen[TOTAL].append(sum(stopwatch.spent.values()) * 1e6)
        finally:
            runtime.of(app).database.dispose()
    medians = {layer: statistics.median(times) for layer, times in seen.items()}
    return {**medians, **{f"{place} is not there any more": 0 for place in missing}}


@contextmanager
def timed(stopwatch: Stopwatch, layers: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Time all layers in this process; the places that do not exist are returned."""
    missing = []
    with ExitStack() as stack:
        for layer, places in layers.items():
            for place in places:
                module, _, path = place.partition(":")
                *owners, name = path.split(".")
                owner: Any = None
                with suppress(ModuleNotFoundError):
                    owner = import_module(module[1:] if module.startswith("/") else f"harbor_api.{module}")
                for each in owners:
                    owner = getattr(owner, each, None)
                original = getattr(owner, name, None)
                if original is None:
                    missing.append(place)
                    continue
                own = vars(owner).get(name)
                timed = stopwatch.timed(layer, original)
                setattr(owner, name, staticmethod(timed) if isinstance(own, staticmethod) else timed)
                undo = (delattr, owner, name) if own is None else (setattr, owner, name, own)
                stack.callback(*undo)
        yield missing


def _environ(request: bytes) -> dict[str, Any]:
    head, _, body = request.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    method, target, _ = line.split(" ")
    path, _, query = target.partition("?")
    named = dict(header.split(": ", 1) for header in headers)
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": named.pop("content-type", ""),
        "CONTENT_LENGTH": named.pop("content-length", ""),
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in named.items()},
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def _call(application: Any, environ: Mapping[str, Any], status: int) -> None:
    statuses: list[str] = []
    answer = application(environ, lambda line, headers, error=None: statuses.append(line))
    body = b"".join(answer)
    answer.close()
    if [int(line.split()[0]) for line in statuses] != [status]:
        raise RuntimeError(f"{statuses}: {body[:500]!r}")
