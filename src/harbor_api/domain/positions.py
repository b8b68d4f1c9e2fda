"""A fix from the tracker's receiver to its verdict, and what is known around it.

Numbers of a fix are rounded to what is kept of them before anything is decided by them: before they are
compared with a bound, with a value that means "not available" or with another fix. What is stored and read
again is then the same fix, and judged the same.

Those that a batch makes by the thousand are tuples: a frozen dataclass takes three times as long to make.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal, NamedTuple

# Six decimals of a degree are 0.1 m, and what is shown at most. Three of a measure are beyond any receiver's
# precision; a number closer to 0 or 360 would be neither in PostgreSQL's four bytes, which have no room for
# three behind the fifth digit: only an accuracy can be as large.
COORDINATE_DECIMALS, MEASURE_DECIMALS = 6, 3
LARGE, LARGE_DECIMALS = 10_000, 1


def kept(value: float, decimals: int) -> float:
    """Return a number as it is kept, never minus zero."""
    return round(value, decimals) + 0.0


def kept_accuracy(metres: float) -> float:
    """Return an accuracy as it is kept, of one that is kept to ``MEASURE_DECIMALS``."""
    return metres if metres < LARGE else round(metres, LARGE_DECIMALS)


class Motion(NamedTuple):
    """Where something is and how it moves: WGS 84 degrees, knots, degrees in [0, 360)."""

    lat: float
    lon: float
    sog: float | None = None
    cog: float | None = None
    heading: float | None = None
    nav_status: int | None = None
    accuracy_m: float | None = None
    battery_v: float | None = None


class Fix(NamedTuple):
    """One position as a tracker reports it, at the time that the tracker's receiver gave it.

    ``number`` is the tracker's own, where it counts its fixes.
    """

    recorded_at: datetime
    motion: Motion
    number: int | None = None


FixKey = tuple[datetime, int]
"""What names a fix among those of its vessel: its time and its tracker."""


Stretch = tuple[int, Sequence[FixKey]]
"""A vessel, and what names some of her fixes, in order."""


class NamedFix(NamedTuple):
    """What names a fix among all."""

    vessel_id: int
    recorded_at: datetime
    tracker_id: int


class Neighbour(NamedTuple):
    """What a jump is judged by, of another fix of the same vessel; its time and tracker name it."""

    recorded_at: datetime
    lat: float
    lon: float
    accuracy_m: float | None = None
    tracker_id: int = 0

    @classmethod
    def of(cls, fix: Fix, tracker_id: int = 0) -> "Neighbour":
        """Return a fix as it looks to the ones around it."""
        motion = fix.motion
        return cls(fix.recorded_at, motion.lat, motion.lon, motion.accuracy_m, tracker_id)

    @property
    def key(self) -> FixKey:
        return self.recorded_at, self.tracker_id


class Surroundings(NamedTuple):
    """What is known around some fixes of one vessel.

    ``stored`` holds, in order, the copy of each of them that is stored and the nearest stored fix on each
    side of each, and perhaps more; ``held`` holds the reasons of those that were held, whatever was decided
    about them since. ``newest`` names its latest position.
    """

    max_speed_kn: float | None
    newest: FixKey | None
    stored: Sequence[Neighbour]
    held: Mapping[FixKey, str]


class Vicinity(NamedTuple):
    """What is stored and held about a moment of one vessel, each in order of time and tracker.

    Everything that is stored from ``since`` to ``until`` is among it; None where nothing lies beyond. Of
    jumps that nobody has decided on the nearest are. ``kept`` names the stored ones that an operator has
    released.
    """

    stored: Sequence[Neighbour]
    held: Sequence[Neighbour]
    kept: AbstractSet[FixKey]
    since: FixKey | None
    until: FixKey | None

    def spans(self, key: FixKey) -> bool:
        """Return whether the stored neighbours of a fix are known."""
        return (self.since is None or key >= self.since) and (self.until is None or key <= self.until)


class ReceivedFix(NamedTuple):
    """A fix together with whose it is, when it reached the service, and the JSON value that it came as."""

    vessel_id: int
    tracker_id: int
    received_at: datetime
    fix: Fix
    raw: Any = None

    @property
    def key(self) -> FixKey:
        return self.fix.recorded_at, self.tracker_id


def stretches_of(fixes: Iterable[ReceivedFix]) -> list[Stretch]:
    """Return what names fixes that are in order of vessel, time and tracker, vessel by vessel."""
    return [
        (vessel_id, [each.key for each in run])
        for vessel_id, run in groupby(fixes, key=attrgetter("vessel_id"))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The fixes of one request, and the numbers that its tracker gave those and the invalid ones.

    ``tracker_version`` is that of the tracker that its signature was checked against, None where there was
    no signature.
    """

    tracker_id: int
    fixes: Sequence[ReceivedFix]
    numbers: tuple[int, ...] = ()
    tracker_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFix:
    """A fix in quarantine, and what has been decided about it, when, by whom and why."""

    id: int
    received: ReceivedFix
    reason: str
    state: Literal["held", "released", "rejected", "withdrawn"]
    decided_at: datetime | None = None
    decided_by: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Numbers of fixes that have not arrived, from the first to the last."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one fix. ``differs`` is told of a duplicate, ``reason`` of a quarantined one."""

    verdict: Literal["stored", "duplicate", "quarantined"]
    latest: bool = False
    differs: bool | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a submission: a verdict for each of its fixes, in order.

    ``missing`` are numbers that have not arrived, the newest gaps, where the tracker counts its fixes.
    """

    verdicts: tuple[Verdict, ...]
    missing: tuple[Gap, ...] = ()
