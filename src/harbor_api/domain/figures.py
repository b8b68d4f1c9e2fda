"""What a database knows of a fleet and its feed, in numbers, for whoever operates the service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# The bounds of the histogram over the ages of what was last heard of each vessel, in seconds.
AGES_S = (60, 300, 900, 3_600, 6 * 3_600, 24 * 3_600, 7 * 24 * 3_600, 30 * 24 * 3_600)
# So many are told by name, of vessels that are silent and of consumers that are behind: the worst.
WORST = 10
# Held fixes of one reason are counted up to here.
MOST_HELD = 10_000
# A key that ends within this is about to.
SOON_DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentVessel:
    """A vessel and how many seconds ago its latest position was recorded."""

    id: int
    name: str
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """How long ago the latest position of each vessel was recorded, of those that are not retired.

    ``counts`` are how many vessels lie in each of the stretches that ``AGES_S`` bounds, the last one without
    an end; ``sum_s`` is the sum of all ages in seconds.
    """

    counts: Sequence[int]
    sum_s: float
    worst: Sequence[SilentVessel]


@dataclass(frozen=True, slots=True, kw_only=True)
class LateConsumer:
    """A named consumer and how far it is behind the feed.

    In numbers of the committed order, and in seconds since the first that it was not told came in, without
    the delay of its key.
    """

    key_id: int
    name: str
    behind: int
    behind_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedFigures:
    """Where the feed stands: its newest number and its floor, 0 without one.

    Ages are in seconds; None where there is no fix, or no floor.
    """

    head: int
    newest_age_s: float | None
    floor: int
    floor_age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many there are: vessels that are not retired, trackers that are not disabled, keys that hold.

    ``positions`` is PostgreSQL's own estimate, which follows what is stored within some hours.
    """

    vessels: int
    trackers: int
    keys: int
    keys_ending: int
    positions: int
    database_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All of it, at one moment."""

    counts: Counts
    ages: Ages
    feed: FeedFigures
    held: Mapping[str, int]
    consumers: Sequence[LateConsumer]
    partitions_ahead_s: float
