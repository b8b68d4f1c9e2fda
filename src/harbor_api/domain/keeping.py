"""For how long what was recorded of a vessel is kept, where that is said of her, and legal holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from harbor_api.domain.errors import Conflict
from harbor_api.domain.times import rfc3339
from harbor_api.domain.values import Rule, Span, Text

DAYS = Span(0, 36_500)
REASON = Text(500)
# What each member of what is said of a vessel obeys.
RULES: Mapping[str, Rule] = MappingProxyType({"keep_positions_days": DAYS, "hold_reason": REASON})
EVER = datetime.min.replace(tzinfo=UTC)
"""Before it nothing was recorded, so that what goes before it is nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepingTerms:
    """What an operator says of a vessel.

    Her positions are kept for ``keep_positions_days``, 0 for ever, None for as long as the setting says. With
    a ``hold_reason`` she is under a legal hold: nothing of hers goes, whatever else is said.
    """

    keep_positions_days: int | None = None
    hold_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What is said of a vessel, and who has put her under hold, if anybody has, and when.

    ``version`` grows by one with each change of it, from 0 of a vessel of which nothing was ever said.
    """

    vessel_id: int
    terms: KeepingTerms = KeepingTerms()
    held_by: str | None = None
    held_since: datetime | None = None
    version: int = 0

    @property
    def is_held(self) -> bool:
        """Whether she is under a legal hold."""
        return self.terms.hold_reason is not None

    @property
    def age(self) -> timedelta | None:
        """For how long her positions are kept of which that is said; None for ever."""
        days = self.terms.keep_positions_days
        return None if self.is_held or not days else timedelta(days=days)

    def goes_before(self, now: datetime, usual: datetime) -> datetime:
        """Return the moment such that what was recorded before it is kept no longer.

        ``usual`` is that of a vessel of which nothing is said. ``EVER`` where nothing of hers goes.
        """
        if not self.is_held and self.terms.keep_positions_days is None:
            return usual
        return EVER if self.age is None else now - self.age


def demand_not_held(keeping: Keeping) -> None:
    """Raise Conflict where a vessel is under a legal hold."""
    if keeping.is_held and keeping.held_since is not None:
        raise Conflict(
            f"Vessel {keeping.vessel_id} is under a legal hold since {rfc3339(keeping.held_since)}, by "
            f"{keeping.held_by}: {keeping.terms.hold_reason}. Nothing of hers is erased until it is lifted"
        )
