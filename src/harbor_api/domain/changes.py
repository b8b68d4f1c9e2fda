"""When a change may be made: optimistic locking by versions, and the grace time of a rotation."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from harbor_api.domain.errors import Conflict, PreconditionFailed
from harbor_api.domain.times import rfc3339

Changed = TypeVar("Changed")

# Any version will do: ``If-Match: *``, or a person at the command line.
ANY: Container[int] | None = None


@dataclass(frozen=True, slots=True)
class Edit(Generic[Changed]):
    """What to change of a dataclass: the members that are named, and no others."""

    members: Mapping[str, Any]

    def of(self, before: Changed) -> Changed:
        """Return what something becomes by it."""
        return replace(before, **self.members)  # type: ignore[type-var]  # only dataclasses are edited


def demand(current: int, wanted: Container[int] | None) -> None:
    """Raise PreconditionFailed unless the current version is one of those wanted."""
    if wanted is not None and current not in wanted:
        raise PreconditionFailed("Somebody has changed it since; read it again")


def demand_rotatable(previous_valid_until: datetime | None, *, grace: timedelta, now: datetime) -> None:
    """Raise Conflict while the grace time of an earlier rotation lasts.

    A second rotation would end the secret that is still in use. Without any grace all earlier secrets
    are to end at once, whatever is under way: that is for a secret in wrong hands.
    """
    if grace and previous_valid_until is not None and previous_valid_until > now:
        raise Conflict(
            f"A rotation is under way until {rfc3339(previous_valid_until)}; wait, or rotate with "
            "grace_s 0, which ends all earlier secrets now"
        )
