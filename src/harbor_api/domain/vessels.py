"""Vessels, and where the fleet shows them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

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
    """The newest fix of a vessel, as the fleet shows it. ``seq`` is its place in the committed order."""

    recorded_at: datetime
    received_at: datetime
    motion: Motion
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VesselOnMap:
    """A vessel as one key sees it: with its latest position, None before its first fix.

    ``state`` names all that this depends on: the first is the vessel's version.
    """

    vessel: Vessel
    latest: LatestPosition | None
    stale: bool
    state: tuple[object, ...]


def is_stale(recorded_at: datetime | None, *, now: datetime, stale_after: timedelta) -> bool:
    """Return whether a vessel has not been heard of for longer than the threshold, or never."""
    return recorded_at is None or now - recorded_at > stale_after
