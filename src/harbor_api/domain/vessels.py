"""Vessels, and where the fleet shows them."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import ceil

from harbor_api.domain.identifiers import IMO_RULE, MMSI_RULE, is_imo_number, is_mmsi
from harbor_api.domain.positions import Motion
from harbor_api.domain.values import Form, Number, Rule, Span, Text

NAME = Text(100)
CALL_SIGN = Form("[A-Z0-9]{1,10}", "Not a call sign: up to ten of the letters A to Z and digits.")
FLAG = Form("[A-Z]{2}", "Not a flag: two capital letters as in ISO 3166-1, such as NO.")
KIND = Text(50)
METRES = Span(0.01, 1000)
KNOTS = Span(1, 1000)
# What each member of a vessel's details obeys.
RULES: dict[str, Rule] = {
    "name": NAME,
    "imo": Number(is_imo_number, IMO_RULE),
    "mmsi": Number(is_mmsi, MMSI_RULE),
    "call_sign": CALL_SIGN,
    "flag": FLAG,
    "kind": KIND,
    "length_m": METRES,
    "beam_m": METRES,
    "draught_m": METRES,
    "max_speed_kn": KNOTS,
}

# All that there are: a key that sees so many sees everything as it is.
COORDINATE_DECIMALS = 6
# What a key with fewer of them sees speed and course in.
SPEED_STEP_KN = 5.0
DIRECTION_STEP = 45.0
_DEGREE_S = 12 * 60 * 60
# Half the diagonal of a square of a degree at the equator, in metres.
CELL_RADIUS_M = 78_720
_NEVER = datetime.max.replace(tzinfo=UTC)
# Where the steps begin in which coarse keys see time.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class VesselDetails:
    """What is known of a vessel itself. Lengths are metres; ``flag`` is ISO 3166-1 alpha-2.

    ``max_speed_kn`` is what it cannot exceed, for the judgement of jumps; None for the usual limit.
    """

    name: str
    imo: str | None = None
    mmsi: str | None = None
    call_sign: str | None = None
    flag: str | None = None
    kind: str | None = None
    length_m: float | None = None
    beam_m: float | None = None
    draught_m: float | None = None
    max_speed_kn: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vessel:
    """A registered vessel. ``version`` grows by one with each change of it."""

    id: int
    details: VesselDetails
    version: int
    retired_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestPosition:
    """The newest fix of a vessel, as the fleet shows it.

    ``received_at`` is None for a key that may not yet know of that moment.
    """

    recorded_at: datetime
    received_at: datetime | None
    motion: Motion


@dataclass(frozen=True, slots=True, kw_only=True)
class VesselOnMap:
    """A vessel as one key sees it: with its latest position, None before its first fix.

    ``stale_at`` is when she is stale if nothing comes, None for one that was never seen: she is stale from
    then on. ``number`` is the greatest number of the committed order among what is shown.
    """

    vessel: Vessel
    latest: LatestPosition | None
    stale: bool
    stale_at: datetime | None
    number: int = 0


def step_of(decimals: int) -> timedelta:
    """Return how finely a key with so many decimals sees time: as long as a cell takes at 5 knots.

    A cell is what rounds to one coordinate. Of latitude that is 60 nautical miles for a degree. In each step
    a key sees one fix, so that it learns of no crossing into another cell when it was, but in which step.
    """
    return timedelta(seconds=ceil(_DEGREE_S / 10**decimals))


def coarsened(latest: LatestPosition, decimals: int) -> LatestPosition:
    """Return a position with its times, speed, course and accuracy no finer than its coordinates.

    Over a step, what speed and course are rounded by comes to about a cell. The coordinates stay as they are.
    """
    step = step_of(decimals)
    motion = latest.motion
    return replace(
        latest,
        recorded_at=floored(latest.recorded_at, step),
        received_at=latest.received_at and floored(latest.received_at, step),
        motion=motion._replace(
            sog=_nearest(motion.sog, SPEED_STEP_KN),
            cog=_direction(motion.cog),
            heading=_direction(motion.heading),
            accuracy_m=coarse_accuracy_m(decimals),
        ),
    )


def coarse_accuracy_m(decimals: int) -> float:
    """Return how far from a place of so many decimals the vessel may be, in metres."""
    return round(CELL_RADIUS_M / 10.0**decimals, 1)


def floored(moment: datetime, step: timedelta) -> datetime:
    """Return the beginning of the step of time that a moment is in."""
    return EPOCH + (moment - EPOCH) // step * step


def _nearest(value: float | None, step: float) -> float | None:
    return None if value is None else round(value / step) * step


def _direction(degrees: float | None) -> float | None:
    nearest = _nearest(degrees, DIRECTION_STEP)
    return nearest and nearest % 360


def stale_from(recorded_at: datetime, *, stale_after: timedelta, step: timedelta = timedelta()) -> datetime:
    """Return when a vessel is stale that was last heard of at a time.

    ``step`` is that in which a key sees time: to it she is stale when she is however late in it that was, so
    that this tells nothing more.
    """
    try:
        return recorded_at + step + stale_after
    except OverflowError:
        return _NEVER


def is_stale(stale_at: datetime | None, now: datetime) -> bool:
    """Return whether a vessel is stale at a moment; one that was never seen always is."""
    return stale_at is None or stale_at <= now
