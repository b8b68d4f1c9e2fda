"""The night that all examples are of, and what shapes they have."""

from collections.abc import Mapping
from typing import Any

from harbor_api.domain.times import from_rfc3339, rfc3339

Json = dict[str, Any]
# By name: what it shows, and the value.
Examples = Mapping[str, tuple[str, Any]]
# By operationId; of answers by status, too, or by media type.
Requests = Mapping[str, Examples]
Answers = Mapping[str, Mapping[int, Examples]]
Otherwise = Mapping[str, Mapping[str, Examples]]


def at(time: str) -> str:
    """Return a time of that night, or of another day, as the service writes it."""
    moment = from_rfc3339(f"{time}Z" if "T" in time else f"2026-01-02T{time}Z")
    if moment is None:
        raise ValueError(f"{time} is no time")
    return rfc3339(moment)


def page(name: str, *items: Json, more: str | None = None) -> Json:
    """Return a page of a list; ``more`` is where the next one is."""
    return {name: list(items), "links": {"next": more}}
