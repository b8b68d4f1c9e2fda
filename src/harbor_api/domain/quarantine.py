"""What an operator decides about fixes: which, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from harbor_api.domain.errors import Fault, StillInTheFuture, ValidationFailed
from harbor_api.domain.judgement import REASONS
from harbor_api.domain.times import rfc3339
from harbor_api.domain.values import Rule, Text

MOST_AT_ONCE = 250
"""The most fixes that are decided on at once: a release holds the lock of the committed order."""
MOST_COUNTED = 10_000
"""Where there are more, they are not counted: to count them all would cost whoever has most of them."""

NOTE = Text(500)
RULES: Mapping[str, Rule] = MappingProxyType({"note": NOTE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which of the fixes in quarantine that nobody has decided on; None for any.

    ``since`` and ``until`` bound the time at which they were recorded, ``until`` itself not included.
    """

    reason: str | None = None
    vessel_id: int | None = None
    tracker_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def demand_some(self) -> None:
        """Raise ValidationFailed where all of the quarantine would be meant, or a reason is none."""
        if self == Selection():
            raise ValidationFailed("Say which fixes: by reason, vessel, tracker or time")
        if self.reason is not None and self.reason not in REASONS:
            raise ValidationFailed(
                "The selection is not valid",
                faults=[Fault(f"Must be one of: {', '.join(REASONS)}.", pointer="#/reason")],
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What came of a decision on many fixes.

    ``matched`` were to be decided on, ``decided`` have been, and ``left`` are to be decided on still; each
    counted up to MOST_COUNTED. ``too_early`` match as well, and may not be released yet.
    """

    matched: int
    decided: int
    left: int
    too_early: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Which stored fix is to be withdrawn, and why. The tracker may be left out where there is only one."""

    vessel_id: int
    recorded_at: datetime
    note: str
    tracker_id: int | None = None


def demand_past(recorded_at: datetime, *, now: datetime, tolerance: timedelta) -> None:
    """Raise StillInTheFuture for a fix that is from the future by more than the tolerance."""
    if recorded_at - now > tolerance:
        earliest = rfc3339(recorded_at - tolerance)
        raise StillInTheFuture(f"The fix is from the future: it may be released from {earliest} on")
