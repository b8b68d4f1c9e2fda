"""What a fault is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.faults.grounds import Ground
from tests.faults.stage import Stage
from tests.support.live_service import LiveService

# Something lies still, or is away, for so long.
AWAY_S = 4.0
# What the service says while it has no database.
AWAY = frozenset({"503"})


class Promised(Protocol):
    """What is told of a fault: what was promised, what was done, and what callers may meet then."""

    @property
    def name(self) -> str: ...
    @property
    def promise(self) -> str: ...
    @property
    def done(self) -> str: ...
    @property
    def allowed(self) -> frozenset[str]: ...
    @property
    def lacks(self) -> Callable[[], str | None]: ...


@dataclass(frozen=True)
class Fault:
    """One fault: ``do`` brings it about and returns once it is over, with what else is to be told of it.

    ``allowed`` are the outcomes that callers may meet besides success. Nothing that was acknowledged may be
    lost, and no fix be given up, whatever is done. ``lacks`` tells why it cannot be played here.
    """

    name: str
    promise: str
    done: str
    do: Callable[[Stage], str | None]
    allowed: frozenset[str] = frozenset()
    kind: type[LiveService] = LiveService
    ground: type[Ground] = Ground
    settings: Mapping[str, Any] = field(default_factory=dict)
    traffic: Mapping[str, Any] = field(default_factory=dict)
    lacks: Callable[[], str | None] = lambda: None
