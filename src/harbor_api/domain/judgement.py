"""Whether a fix can be believed: pure functions over one table of rules.

Nothing here reads a clock, a database or a setting: the caller hands over the time, the thresholds and
the fixes around this one.

A jump is judged by a model of a vessel: it is never faster than a limit, and each fix lies within a
radius of where it was. Two fixes that no such vessel can have sent contradict each other. From this
follows what the order of arrival can do:

- Fixes that all fit the model never contradict each other, whatever lies between them in time. A track
  without a wrong fix is believed whole, in whatever order and overlap its fixes arrive.
- Of two fixes that contradict each other the first one is believed, and the other held. Once
  ``confirmations`` held fixes between the same stored ones agree, the next one is believed as well, and what
  is stored beside it is decided anew: up to ``confirmations`` stored fixes that it contradicts were wrong
  and are held instead; where there are more in a row they are company of their own, and the track has a
  break there. What was held around it is then judged once more, as if it came now.
- So a wrong fix that nobody agrees with is held in the end, and the right ones are stored, in whatever order
  they come, once there are more than ``confirmations`` right ones on one side of it. With fewer the first to
  come stays. Two tracks that contradict each other for longer are not told apart: who came first stays, and
  the other is believed from where it has company.
- What an operator has released is never taken back.

Only the ``NEAREST`` held fixes on each side are asked, so that what a judgement costs does not grow with
what is held. Wrong ones that lie nearer keep the right ones out only where they leave them fewer than
``confirmations`` of these places: where there are more than ``NEAREST - confirmations`` of them on each
side, and they agree with nobody. Of those that agree with each other the next one is believed, and is then
the stored neighbour at which the search ends.

A caller looks for duplicates first, since a fix that is stored or held already is not judged again.
"""

import bisect
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Literal

from harbor_api.domain.positions import Neighbour

NULL_ISLAND = "null_island"
FUTURE = "future"
CLOCK_RESET = "clock_reset"
WEEK_ROLLOVER = "week_rollover"
TOO_OLD = "too_old"
IMPOSSIBLE_JUMP = "impossible_jump"
OUTVOTED = "outvoted"
WITHDRAWN = "withdrawn"

# Who has decided, where that was no operator.
JUDGEMENT = "judgement"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: a code, what becomes of a fix that it applies to, and what it means.

    ``refused`` and ``set_to_null`` are decided where a request is read, in ``schemas/positions.py``;
    ``held`` and ``believed`` are decided here.
    """

    code: str
    outcome: Literal["refused", "set_to_null", "held", "believed"]
    meaning: str


# In the order in which they are asked: of several reasons to hold a fix the first one is told.
RULES = (
    Rule(
        "no_fix",
        "refused",
        "Latitude 91 or longitude 181 (ITU-R M.1371): the receiver had no fix, so there is nothing to keep.",
    ),
    Rule(
        "not_available",
        "set_to_null",
        "A measure has the value that means not available in AIS: speed 102.3, course 360, heading 511, "
        "navigational status 15. The position is good without it.",
    ),
    Rule(
        NULL_ISLAND,
        "held",
        "Latitude and longitude are exactly 0: nearly always a receiver without a fix.",
    ),
    Rule(
        FUTURE,
        "held",
        "The fix is from the future by more than the tolerance: a wrong clock in the tracker.",
    ),
    Rule(
        CLOCK_RESET,
        "held",
        "The fix is of the first days of 1970, of 1980-01-06, 1999-08-22 or 2000: what clocks tell after a "
        "reset. The position is likely right and the time is not. No two such fixes are taken for the same "
        "one: the fraction of the second of `recorded_at` is made of what was sent.",
    ),
    Rule(
        WEEK_ROLLOVER,
        "held",
        "The fix is dated 1024 or 2048 weeks back: a receiver that has lost count of the GPS weeks, which "
        "are sent in ten bits. The position is likely right and the time is not.",
    ),
    Rule(
        TOO_OLD,
        "held",
        "The fix is older than positions are kept: once stored it would be deleted at once.",
    ),
    Rule(
        IMPOSSIBLE_JUMP,
        "held",
        "The vessel would have to be faster than its limit to come here from the fix before, or to get from "
        "here to the fix after. Once several such fixes agree with each other, they are believed.",
    ),
    Rule(
        OUTVOTED,
        "held",
        "The fix was believed, until several that agree with each other showed that it was wrong.",
    ),
    Rule(WITHDRAWN, "held", "The fix was believed, and an operator has taken it out of the history."),
    Rule(
        "stationary_noise",
        "believed",
        "A vessel at rest seems to wander, by as much as its receiver is wrong. Each fix is allowed a "
        "radius, so that this is never a jump, however short the time.",
    ),
)

# The reasons for which a fix is held in quarantine.
REASONS = {rule.code: rule.meaning for rule in RULES if rule.outcome == "held"}

# The legacy navigation message counts weeks in ten bits (IS-GPS-200, 20.3.3.3.1.1).
ROLLOVER = timedelta(weeks=1024)
# Where clocks begin: Unix, GPS, GPS after the first time that its ten bits ran over, and most on boards. They
# may have been set by local time, and have run for a while before there was a fix.
_RESETS = tuple(
    (start - timedelta(days=1), start + timedelta(days=7))
    for start in (
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1980, 1, 6, tzinfo=UTC),
        datetime(1999, 8, 22, tzinfo=UTC),
        datetime(2000, 1, 1, tzinfo=UTC),
    )
)
LAST_RESET = _RESETS[-1][1]
# Spares nearly every fix the look; no tolerance reaches from here to a rollover.
LONG_AGO = timedelta(weeks=1000)

# The sphere with the Earth's mean radius (IUGG). The ellipsoid differs by up to 0.6 %, a third of a knot
# in sixty, and the limit of speed is no sharper than that.
EARTH_RADIUS_M = 6_371_008.8
METRES_PER_DEGREE = math.radians(EARTH_RADIUS_M)
METRES_PER_SECOND_PER_KNOT = 1852 / 3600

# How many held fixes on each side of a jump may speak for it: five times as many as must agree, which leaves
# room for wrong ones among the right ones. Each one more is read and measured for every jump.
NEAREST = 16

_time = attrgetter("recorded_at")
_named = attrgetter("key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What the rules measure by. ``dataclasses.replace`` makes those of a vessel that differs.

    Speed and noise are a vessel's own: a fast craft, a ship with trackers far apart. The others are the
    operator's.
    """

    # Trackers take their time from GPS; this is for those that keep a clock of their own.
    future_tolerance: timedelta = timedelta(minutes=5)
    # How long positions are kept; None keeps them for ever.
    retention: timedelta | None = None
    # How old a fix may be however long positions are kept; None for however old.
    oldest: timedelta | None = None
    # The fastest ferries make 58 knots.
    max_speed_kn: float = 60.0
    # The radius about each fix in which the vessel was. Two trackers at the ends of the longest ships are
    # 400 m apart and err by tens of metres each, which two radii have room for. Published AIS data, which
    # repeats a place for seconds under later times, needs 45 m for no two fixes of a ship to contradict.
    noise_m: float = 250.0
    # A receiver that doubts more is allowed as much, up to this: the cell of a mobile network at sea.
    accuracy_cap_m: float = 10_000.0
    # How many held fixes must agree before the next one is believed against what is stored.
    confirmations: int = 3

    @property
    def reach(self) -> timedelta:
        """Fixes further apart in time than this never contradict: there is time for half the Earth."""
        return timedelta(hours=math.pi * EARTH_RADIUS_M / 1852 / self.max_speed_kn)

    def keeping(self, age: timedelta | None) -> "Thresholds":
        """Return those of a vessel whose positions are kept for so long, None for ever."""
        ages = [each for each in (self.oldest, age) if each is not None]
        return replace(self, retention=min(ages, default=None))


def judge(
    here: Neighbour,
    *,
    now: datetime,
    thresholds: Thresholds,
    before: Neighbour | None = None,
    after: Neighbour | None = None,
) -> str | None:
    """Return the code of the reason to hold a fix in quarantine, None for one that can be believed.

    ``before`` and ``after`` are the nearest stored fixes of the vessel on each side in time, of all its
    trackers; one of the very same time may stand on either side. A rule that needs neighbours is skipped
    where there are none. Of a jump it is to be asked whether it ``is_confirmed``.
    """
    if here.lat == 0 and here.lon == 0:
        return NULL_ISLAND
    age = now - here.recorded_at
    if -age > thresholds.future_tolerance:
        return FUTURE
    # Older fixes alone are worth the look.
    if age > LONG_AGO and (wrong := _wrong_clock(here.recorded_at, age, thresholds)):
        return wrong
    if thresholds.retention is not None and age > thresholds.retention:
        return TOO_OLD
    if _is_jump(here, before, after, thresholds):
        return IMPOSSIBLE_JUMP
    return None


def is_clock_reset(recorded_at: datetime) -> bool:
    """Return whether a time is one of those that clocks tell after a reset."""
    return recorded_at < LAST_RESET and any(first <= recorded_at < end for first, end in _RESETS)


def told_apart(recorded_at: datetime, content: str) -> datetime:
    """Return the time by which a fix is known, of whose time only the second can be believed at most.

    Clocks that are reset tell the same times again, and the time is what names a fix. A fix that is sent
    twice keeps its name, and of two others one in a million is taken for the other.
    """
    digest = hashlib.blake2b(content.encode(), digest_size=8).digest()
    return recorded_at.replace(microsecond=int.from_bytes(digest, "big") % 1_000_000)


def _wrong_clock(recorded_at: datetime, age: timedelta, thresholds: Thresholds) -> str | None:
    if is_clock_reset(recorded_at):
        return CLOCK_RESET
    return WEEK_ROLLOVER if _has_lost_weeks(age, thresholds) else None


def _has_lost_weeks(age: timedelta, thresholds: Thresholds) -> bool:
    # A receiver that has lost count of the weeks stores before it forwards for as long as any other. None
    # does so for twenty years, which tells this from a fix that is merely old.
    backlog = ROLLOVER if thresholds.retention is None else min(thresholds.retention, ROLLOVER)
    return any(-thresholds.future_tolerance <= age - lost <= backlog for lost in (ROLLOVER, 2 * ROLLOVER))


def contradict(one: Neighbour, other: Neighbour, thresholds: Thresholds) -> bool:
    """Return whether no vessel within the limit of speed can have sent both."""
    seconds = abs((one.recorded_at - other.recorded_at).total_seconds())
    possible = (
        seconds * thresholds.max_speed_kn * METRES_PER_SECOND_PER_KNOT
        + _radius(one, thresholds)
        + _radius(other, thresholds)
    )
    north = abs(one.lat - other.lat)
    east = abs(one.lon - other.lon)
    if east > 180:
        east = 360 - east
    # The great circle is no longer than a way along a meridian and then along the equator, which takes no
    # sine to measure and is short enough for nearly all fixes.
    if (north + east) * METRES_PER_DEGREE <= possible:
        return False
    return distance_m(one.lat, one.lon, other.lat, other.lon) > possible


def _radius(one: Neighbour, thresholds: Thresholds) -> float:
    noise = thresholds.noise_m
    if one.accuracy_m is None or one.accuracy_m <= noise:
        return noise
    return max(noise, min(one.accuracy_m, thresholds.accuracy_cap_m))


def distance_m(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Return the great-circle distance in metres, by the haversine formula."""
    north = math.sin(math.radians(other_lat - lat) / 2)
    east = math.sin(math.radians(other_lon - lon) / 2)
    chord = north * north + math.cos(math.radians(lat)) * math.cos(math.radians(other_lat)) * east * east
    # Rounding may leave antipodes above 1.
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, chord)))


def _is_jump(
    here: Neighbour,
    previous: Neighbour | None,
    following: Neighbour | None,
    thresholds: Thresholds,
) -> bool:
    against_previous = previous is not None and contradict(here, previous, thresholds)
    against_following = following is not None and contradict(here, following, thresholds)
    if not against_previous and not against_following:
        return False
    # Where what is stored has a break already, a fix belongs to one of its sides.
    return not (
        previous is not None
        and following is not None
        and against_previous is not against_following
        and contradict(previous, following, thresholds)
    )


def is_confirmed(
    here: Neighbour,
    before: Neighbour | None,
    after: Neighbour | None,
    held: Sequence[Neighbour],
    thresholds: Thresholds,
) -> bool:
    """Return whether enough held fixes, outwards from a jump on both sides, agree each with the one before.

    ``before`` and ``after`` are as with ``judge``. ``held`` are the vessel's jumps in order of time and
    tracker: all of them, or at least the ``NEAREST`` ones between the two on each side of this fix, those of
    its very time among the later ones. The answer is the same, since no others count.

    Those between that do not agree are passed over, so that a few other wrong fixes do not keep the right
    ones out. Those beyond the stored neighbours do not count, nor those beyond the reach, which nothing
    could contradict.
    """
    place = bisect.bisect_left(held, here.recorded_at, key=_time)
    earlier = reversed(held[max(0, place - NEAREST) : place])
    later = held[place : place + NEAREST]
    count = 0
    for side, stored in ((earlier, before), (later, after)):
        span = thresholds.reach
        if stored is not None:
            span = min(span, abs(stored.recorded_at - here.recorded_at))
        nearer = here
        for each in side:
            if count >= thresholds.confirmations or abs(each.recorded_at - here.recorded_at) > span:
                break
            if not contradict(nearer, each, thresholds):
                nearer = each
                count += 1
    return count >= thresholds.confirmations


def outvoted(here: Neighbour, beside: Iterable[Neighbour], thresholds: Thresholds) -> list[Neighbour]:
    """Return which stored fixes beside a confirmed jump were wrong.

    ``beside`` are those on one side, outwards from the nearest: at least one more than the
    ``confirmations``, where there are as many. So many that contradict it have company of their own, and none
    of them is wrong.
    """
    wrong: list[Neighbour] = []
    for each in beside:
        if not contradict(here, each, thresholds):
            break
        if len(wrong) == thresholds.confirmations:
            return []
        wrong.append(each)
    return wrong


def believed_anew(
    moment: datetime, held: Iterable[Neighbour], stored: Iterable[Neighbour], thresholds: Thresholds
) -> list[Neighbour]:
    """Return which held jumps are none any more, once what is stored has changed at a moment.

    They are judged as if they came now, the nearest to the moment first; each that is believed counts for the
    next. ``stored`` holds at least the nearest stored fix on each side of each of them.
    """
    track = sorted(stored, key=_named)
    believed = []
    for each in sorted(held, key=lambda one: (abs(one.recorded_at - moment), one.key)):
        place = bisect.bisect_left(track, each.key, key=_named)
        before = track[place - 1] if place else None
        after = track[place] if place < len(track) else None
        if not _is_jump(each, before, after, thresholds):
            track.insert(place, each)
            believed.append(each)
    return believed
