"""The nouns that every layer speaks: frozen, without behaviour beyond their own identity."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

TRACKER_ID = re.compile(r"trk_(0[0-9]{3}|[1-9][0-9]{3,9})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class VesselDetails:
    """What is known of a vessel itself. Lengths are metres; ``flag`` is ISO 3166-1 alpha-2."""

    name: str
    imo: str | None = None
    mmsi: str | None = None
    call_sign: str | None = None
    flag: str | None = None
    kind: str | None = None
    length_m: float | None = None
    beam_m: float | None = None
    draught_m: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vessel:
    """A registered vessel. ``version`` grows by one with each change of it."""

    id: int
    details: VesselDetails
    version: int
    retired_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """Where something is and how it moves: WGS 84 degrees, knots, degrees in [0, 360)."""

    lat: float
    lon: float
    sog: float | None = None
    cog: float | None = None
    heading: float | None = None
    nav_status: int | None = None
    accuracy_m: float | None = None
    battery_v: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """One position as a tracker reports it, at the time that the tracker's receiver gave it."""

    recorded_at: datetime
    motion: Motion


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A fix together with whose it is and when it reached the service."""

    vessel_id: int
    tracker_id: int
    received_at: datetime
    fix: Fix


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one fix. ``differs`` is told of a duplicate, ``reason`` of a quarantined one."""

    verdict: Literal["stored", "duplicate", "quarantined"]
    latest: bool = False
    differs: bool | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestPosition:
    """The newest fix of a vessel, as the fleet shows it."""

    recorded_at: datetime
    received_at: datetime
    motion: Motion


@dataclass(frozen=True, slots=True, kw_only=True)
class VesselOnMap:
    """A vessel with its latest position, None before its first fix."""

    vessel: Vessel
    latest: LatestPosition | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """A device that signs fixes for one vessel. The previous generation of its key may still hold.

    One marked as ``test`` is told by the check what is wrong with its signatures.
    """

    number: int
    vessel_id: int
    label: str
    generation: int
    previous_valid_until: datetime | None = None
    test: bool = False
    disabled_at: datetime | None = None

    @property
    def id(self) -> str:
        """The identifier that the tracker itself uses: ``trk_`` and at least four digits."""
        return f"trk_{self.number:04d}"


def tracker_number(tracker_id: str) -> int | None:
    """Return the number in a tracker id, None for text that is not one (``trk_1``, ``TRK_0001``)."""
    match = TRACKER_ID.fullmatch(tracker_id)
    number = int(match[1]) if match else 0
    return number if 0 < number < 2**31 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An issued API key without its secret; ``prefix`` is the part that may be shown."""

    id: int
    name: str
    prefix: str
    scopes: frozenset[str] = field(default_factory=frozenset)
    requests_per_minute: int | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
