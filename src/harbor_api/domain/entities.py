"""The nouns that every layer speaks: frozen, without behaviour beyond their own identity.

Those that a batch makes by the thousand are tuples: a frozen dataclass takes three times as long to make.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

TRACKER_ID = re.compile(r"trk_(0[0-9]{3}|[1-9][0-9]{3,9})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class VesselDetails:
    """What is known of a vessel itself. Lengths are metres; ``flag`` is ISO 3166-1 alpha-2.

    ``max_speed_kn`` is what she cannot exceed, for the judgement of jumps; None for the usual limit.
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


Key = tuple[datetime, int]
"""What names a fix among those of its vessel: its time and its tracker."""


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
    def key(self) -> Key:
        return self.recorded_at, self.tracker_id


class Surroundings(NamedTuple):
    """What is known around some fixes of one vessel.

    ``stored`` holds, in order, the copy of each of them that is stored and the nearest stored fix on each
    side of each, and perhaps more; ``held`` holds the reasons of those that were held, whatever was decided
    about them since. ``newest`` names her latest position.
    """

    max_speed_kn: float | None
    newest: Key | None
    stored: Sequence[Neighbour]
    held: Mapping[Key, str]


class Arrival(NamedTuple):
    """A fix together with whose it is, when it reached the service, and the JSON value that it came as."""

    vessel_id: int
    tracker_id: int
    received_at: datetime
    fix: Fix
    raw: Any = None

    @property
    def key(self) -> Key:
        return self.fix.recorded_at, self.tracker_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The fixes of one request, and the numbers that its tracker gave those and the invalid ones.

    ``tracker_version`` is that of the tracker that its signature was checked against, None where there was
    no signature.
    """

    tracker_id: int
    arrivals: tuple[Arrival, ...]
    numbers: tuple[int, ...] = ()
    tracker_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFix:
    """A fix in quarantine, and what has been decided about it."""

    id: int
    arrival: Arrival
    reason: str
    state: Literal["held", "released", "rejected"]
    decided_at: datetime | None = None


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
    """What became of a delivery: a verdict for each of its fixes, in order.

    ``missing`` are numbers that have not arrived, the newest gaps, where the tracker counts its fixes.
    """

    verdicts: tuple[Verdict, ...]
    missing: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestPosition:
    """The newest fix of a vessel, as the fleet shows it. ``seq`` is its place in the committed order."""

    recorded_at: datetime
    received_at: datetime
    motion: Motion
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VesselOnMap:
    """A vessel with its latest position, None before its first fix."""

    vessel: Vessel
    latest: LatestPosition | None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTerms:
    """What a key may do and see.

    ``vessel_ids`` is None for all vessels. Positions are shown ``delay_s`` seconds late and with
    ``coordinate_decimals`` decimals, None for all there are.
    """

    name: str
    owner: str = ""
    scopes: frozenset[str] = field(default_factory=frozenset)
    vessel_ids: frozenset[int] | None = None
    delay_s: int = 0
    coordinate_decimals: int | None = None
    requests_per_minute: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An issued API key without its secret; ``prefix`` is the part that may be shown."""

    id: int
    prefix: str
    terms: KeyTerms
    created_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    previous_valid_until: datetime | None = None
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A key as each request meets it: without its vessels, which may be thousands."""

    id: int
    name: str
    scopes: frozenset[str]
    all_vessels: bool
    delay_s: int
    coordinate_decimals: int | None
    requests_per_minute: int | None
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who changes something: a key, or a person at the command line."""

    name: str
    api_key_id: int | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One administrative change. ``before`` and ``after`` hold what differs, and nothing secret."""

    id: int
    at: datetime
    actor: Actor
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
