"""Trackers: the devices that sign fixes, and the vessels that they are on."""

import re
from dataclasses import dataclass
from datetime import datetime

from harbor_api.domain.values import Rule, Text

LABEL = Text(100, may_be_empty=True)
# What each member of a tracker that somebody gives obeys.
RULES: dict[str, Rule] = {"label": LABEL}
TRACKER_ID = re.compile(r"trk_(0[0-9]{3}|[1-9][0-9]{3,9})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The vessel that a tracker's fixes belong to from a moment on; the first one has no beginning."""

    vessel_id: int
    starts_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """A device that signs fixes. The previous generation of its key may still hold.

    One marked as ``test`` is told by the check what is wrong with its signatures. ``assignments`` are
    in order of time and at least one.
    """

    number: int
    label: str
    generation: int
    assignments: tuple[Assignment, ...]
    previous_valid_until: datetime | None = None
    test: bool = False
    disabled_at: datetime | None = None
    version: int = 1

    @property
    def id(self) -> str:
        """The identifier that the tracker itself uses: ``trk_`` and at least four digits."""
        return tracker_id(self.number)

    @property
    def vessel_id(self) -> int:
        """The vessel of the newest assignment."""
        return self.assignments[-1].vessel_id

    def vessel_at(self, moment: datetime) -> int:
        """Return the vessel that a fix of this moment belongs to."""
        for assignment in reversed(self.assignments):
            if assignment.starts_at <= moment:
                return assignment.vessel_id
        return self.assignments[0].vessel_id


def tracker_id(number: int) -> str:
    """Return the id of the tracker with a number."""
    return f"trk_{number:04d}"


def tracker_number(tracker_id: str) -> int | None:
    """Return the number in a tracker id, None for text that is not one (``trk_1``, ``TRK_0001``)."""
    match = TRACKER_ID.fullmatch(tracker_id)
    number = int(match[1]) if match else 0
    return number if 0 < number < 2**31 else None
