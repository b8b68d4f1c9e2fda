"""How an administrative change is told to the audit trail: only what differs, and nothing secret."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from harbor_api.database import UnitOfWork
from harbor_api.domain.audit import Actor
from harbor_api.domain.times import rfc3339

State = Mapping[str, Any]
Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class Trail(Generic[Kept]):
    """How changes of one kind of thing are told: under which name, of which one, and what of its state."""

    kind: str
    subject: Callable[[Kept], str]
    state: Callable[[Kept], State]

    def note(
        self, unit_of_work: UnitOfWork, actor: Actor, what: str, after: Kept, *, before: Kept | None = None
    ) -> None:
        """Add that something was done, as with ``note``; without ``before`` it was made."""
        note(
            unit_of_work,
            actor,
            f"{self.kind}.{what}",
            self.subject(after),
            before=None if before is None else self.state(before),
            after=self.state(after),
        )


def note(
    unit_of_work: UnitOfWork,
    actor: Actor,
    action: str,
    subject: str,
    *,
    before: State | None = None,
    after: State | None = None,
) -> None:
    """Add an entry in the transaction of the change; of two states only what differs is kept."""
    if before is None:
        after = {name: value for name, value in (after or {}).items() if value is not None}
    elif after is not None:
        differing = {name for name in after if before.get(name) != after[name]}
        before = {name: before.get(name) for name in differing}
        after = {name: after[name] for name in differing}
    unit_of_work.audit.add(actor, action, subject, before=_plain(before), after=_plain(after))


def _plain(state: State | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {name: _json(value) for name, value in sorted(state.items())}


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, frozenset):
        return sorted(value)
    return value
