"""OpenTelemetry spans, where they are asked for. Where they are not, a span is nothing and costs a look.

A request is a span of kind SERVER with what PostgreSQL is asked within it as spans of kind CLIENT, named as
the conventions of OpenTelemetry say. Whether a trace is kept is told from its id alone: a caller that sends
``traceparent`` (W3C Trace Context) may name the trace, and cannot make the service keep more of them.
"""

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

_NOTHING = nullcontext()
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)
# One for all applications of a process, once tracing has begun.
_tracers: list[Any] = []


def start(url: str, *, percent: int, version: str) -> None:
    """Send so much of all traces to a collector that takes OTLP over HTTP at a URL; ImportError.

    The rest of what OpenTelemetry lets operators set is read from its own variables, ``OTEL_*``.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased  # noqa: PLC0415 - an extra

    provider = TracerProvider(
        sampler=TraceIdRatioBased(percent / 100),
        resource=Resource.create({"service.name": "harbor-api", "service.version": version}),
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
    _tracers[:] = [provider.get_tracer("harbor_api", version)]


def given(traceparent: str) -> str | None:
    """Return the trace that a header names, in hexadecimal; None for one that is malformed."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return None if found is None else found[1]


def asked(system: str) -> AbstractContextManager[Any]:
    """Open a span for what another system is asked, within that of the request."""
    if not _tracers:
        return _NOTHING
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - an extra

    span: AbstractContextManager[Any] = _tracers[0].start_as_current_span(
        system, kind=SpanKind.CLIENT, attributes={"db.system.name": system}
    )
    return span


class Served:
    """The span of a request, from when it is made until it is ended."""

    def __init__(self, name: str, *, traceparent: str, attributes: Mapping[str, str]) -> None:
        """Begin it, within the trace that a header names where that is well-formed."""
        from opentelemetry import context, trace  # noqa: PLC0415 - an extra
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - an extra
            TraceContextTextMapPropagator,
        )

        before = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
        self._span = _tracers[0].start_span(
            name, context=before, kind=trace.SpanKind.SERVER, attributes=dict(attributes)
        )
        self._detach = context.detach
        self._token = context.attach(trace.set_span_in_context(self._span, before))

    @property
    def trace_id(self) -> str | None:
        """The trace that it is kept in, in hexadecimal; None for one that is not kept."""
        return f"{self._span.get_span_context().trace_id:032x}" if self._span.is_recording() else None

    def end(self, status: int) -> None:
        """End it with the status of the answer."""
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - an extra

        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
        self._detach(self._token)
