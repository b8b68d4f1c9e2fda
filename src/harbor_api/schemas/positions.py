"""What a tracker sends and what it is told."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from itertools import groupby, islice
from typing import Any

import orjson
from marshmallow import EXCLUDE, Schema, ValidationError, post_dump, post_load, pre_load
from marshmallow.fields import Boolean, List, Nested, String
from marshmallow.validate import Length, OneOf, Range

from harbor_api.domain.errors import NoFix, NotABatch
from harbor_api.domain.judgement import REASONS
from harbor_api.domain.positions import (
    COORDINATE_DECIMALS,
    MEASURE_DECIMALS,
    Fix,
    Motion,
    Verdict,
    kept,
    kept_accuracy,
)
from harbor_api.domain.times import from_rfc3339
from harbor_api.schemas.fields import Number, Timestamp, Whole
from harbor_api.schemas.problems import FaultSchema
from harbor_api.schemas.typed import TypedSchema

# AIS has its own values for "not available" (ITU-R M.1371); a tracker may forward them as they are.
NO_LAT, NO_LON, NO_SOG, NO_COG, NO_HEADING, NO_STATUS = 91, 181, 102.3, 360, 511, 15
# What FixSchema and load_fix both hold a fix to.
MOST_LAT, MOST_LON, MOST_HEADING, MOST_ACCURACY_M, MOST_BATTERY_V = 90, 180, 360, 1_000_000, 1000
MOST_NUMBER = 2**53 - 1


def _is_heading(value: float | None) -> bool:
    return value is not None and (0 <= value <= MOST_HEADING or value == NO_HEADING)


def _heading(value: float) -> None:
    if not _is_heading(value):
        raise ValidationError("Must be from 0 to 360, or 511 for not available.")


def is_no_fix(data: Any) -> bool:
    """Return whether a JSON value says that the receiver had no fix."""
    return isinstance(data, dict) and (_tells(data.get("lat"), NO_LAT) or _tells(data.get("lon"), NO_LON))


def _tells(value: Any, sentinel: int) -> bool:
    return type(value) in {int, float} and kept(value, COORDINATE_DECIMALS) == sentinel


class _Kept(Number):
    """A JSON number as it is kept of a fix, which is what its validators see."""

    def __init__(self, decimals: int = MEASURE_DECIMALS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._decimals = decimals

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> float:
        return kept(super()._deserialize(value, *args, **kwargs), self._decimals)


LARGEST_BATCH = 1_000


class _PassesOver(Schema):
    """A body of which members that are not known cost nothing: new firmware meets an older service."""

    class Meta:
        unknown = EXCLUDE

    def handle_error(self, error: ValidationError, data: Any, **_: Any) -> None:
        """Name the unknown members of what is refused: one is likely what another should have been."""
        if isinstance(data, dict) and isinstance(error.messages, dict):
            unknown = islice((name for name in data if name not in self.fields), _MOST_UNKNOWN)
            error.messages |= {name: ["Unknown field."] for name in unknown}


class FixSchema(_PassesOver):
    """One fix. Values that AIS uses for "not available" are taken and stored as null. Further members cost
    nothing: they are passed over, and the answer names them as `ignored`."""

    recorded_at = Timestamp(
        required=True,
        metadata={
            "description": "When the receiver took the fix, by its own clock: RFC 3339 with an "
            "offset, years 0001 to 9999. Microseconds are kept of a fraction of up to 100 digits; a leap "
            "second is the second after it. It may lie days back: trackers store and forward.",
            "examples": ["2026-01-02T03:04:05Z"],
        },
    )
    lat = _Kept(
        COORDINATE_DECIMALS,
        required=True,
        validate=Range(-MOST_LAT, MOST_LAT),
        metadata={
            "description": "Latitude in WGS 84 degrees; kept to six decimals (0.1 m).",
            "examples": [59.9],
        },
    )
    lon = _Kept(
        COORDINATE_DECIMALS,
        required=True,
        validate=Range(-MOST_LON, MOST_LON),
        metadata={"description": "Longitude in WGS 84 degrees; kept to six decimals.", "examples": [10.7]},
    )
    sog = _Kept(
        allow_none=True,
        validate=Range(0, NO_SOG),
        metadata={
            "description": "Speed over ground in knots; 102.3 means not available. All measures are "
            "rounded to three decimals first, and an accuracy from 10,000 m on to one.",
            "examples": [8.4],
        },
    )
    cog = _Kept(
        allow_none=True,
        validate=Range(0, NO_COG),
        metadata={
            "description": "Course over ground in degrees from true north; 360 means not available.",
            "examples": [181.2],
        },
    )
    heading = _Kept(
        allow_none=True,
        validate=_heading,
        metadata={
            "description": "True heading in degrees; 360 is 0, 511 means not available.",
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": MOST_HEADING},
                {"type": "number", "minimum": NO_HEADING, "maximum": NO_HEADING},
                {"type": "null"},
            ],
            "examples": [180],
        },
    )
    nav_status = Whole(
        allow_none=True,
        validate=Range(0, NO_STATUS),
        metadata={
            "description": "AIS navigational status, 0 (under way using engine) to 15 (not available).",
            "examples": [0],
        },
    )
    accuracy_m = _Kept(
        allow_none=True,
        validate=Range(0, MOST_ACCURACY_M),
        metadata={"description": "Radius of the receiver's own doubt, in metres.", "examples": [4]},
    )
    battery_v = _Kept(
        allow_none=True,
        validate=Range(0, MOST_BATTERY_V),
        metadata={"description": "Battery voltage of the tracker, in volts.", "examples": [3.9]},
    )
    number = Whole(
        validate=Range(0, MOST_NUMBER),
        metadata={
            "description": "The tracker's own count of its fixes, one more each time and never from the "
            "start again: then answers tell which numbers are `missing`.",
            "examples": [1041],
        },
    )

    @pre_load
    def _refuse_no_fix(self, data: Any, **_: Any) -> Any:
        if is_no_fix(data):
            raise NoFix("lat 91 or lon 181 says that the receiver had no fix; there is nothing to keep")
        return data

    @post_load
    def _make_fix(self, data: dict[str, Any], **_: Any) -> Fix:
        return _fix(**data)


def _fix(
    *,
    recorded_at: datetime,
    lat: float,
    lon: float,
    sog: float | None = None,
    cog: float | None = None,
    heading: float | None = None,
    nav_status: int | None = None,
    accuracy_m: float | None = None,
    battery_v: float | None = None,
    number: int | None = None,
) -> Fix:
    # By place: names make this a third slower, and a batch does it a thousand times.
    motion = Motion(
        lat,
        lon,
        None if sog == NO_SOG else sog,
        None if cog == NO_COG else cog,
        None if heading is None or heading == NO_HEADING else heading % 360,
        None if nav_status == NO_STATUS else nav_status,
        None if accuracy_m is None else kept_accuracy(accuracy_m),
        battery_v,
    )
    return Fix(recorded_at, motion, number)


_MEMBERS = frozenset(FixSchema().fields)
# How many unknown members of a fix are kept beside it in quarantine or named where it is refused.
_MOST_UNKNOWN = 8
_LONGEST_TEXT = 64


def unknown_members(value: Mapping[str, Any], most: int) -> list[str]:
    """Return the names of members that no fix has, the first ones."""
    if _MEMBERS.issuperset(value):
        return []
    return list(islice((name for name in value if name not in _MEMBERS), most))


def ignored(value: Mapping[str, Any], most: int) -> list[str]:
    """Return the names of members that were passed over, as they are told: the first ones, none too long."""
    return [name[:_LONGEST_TEXT] for name in unknown_members(value, most)]


def warnings_about(names: Iterable[str]) -> list[str]:
    """Return what a firmware writer should know of members that were passed over."""
    told = []
    for name in names:
        close = get_close_matches(name.strip().lower(), _MEMBERS, n=1)
        told.append(f"{name!r} is no member of a fix" + (f"; did you mean {close[0]!r}?" if close else ""))
    return told


def as_kept(value: dict[str, Any]) -> dict[str, Any]:
    """Return a fix as it is kept in quarantine: as it came, but for all too much that is not known."""
    if _MEMBERS.issuperset(value):
        return value
    beside = {
        name: value[name] for name in unknown_members(value, _MOST_UNKNOWN) if _is_small(name, value[name])
    }
    return {name: member for name, member in value.items() if name in _MEMBERS} | beside


def _is_small(name: str, member: Any) -> bool:
    if isinstance(member, int | float):
        # PostgreSQL writes large ones out, as whole numbers that have no room in 64 bits.
        is_small = abs(member) <= MOST_NUMBER
    else:
        is_small = member is None or (isinstance(member, str) and len(member) <= _LONGEST_TEXT)
    return is_small and len(name) <= _LONGEST_TEXT


def load_fix(value: Any) -> Fix | None:
    """Return the fix that a JSON value is, None exactly where FixSchema refuses it and has to say why.

    It is ``FixSchema().load`` written out, in a seventh of the time; tests/schemas/test_positions.py holds
    the two together.
    """
    if type(value) is not dict:
        return None
    get = value.get
    number = None
    if (
        # Latitude 91 and longitude 181, which say that there is no fix, are out of range.
        (lat := _number(get("lat"), -MOST_LAT, MOST_LAT, COORDINATE_DECIMALS)) is None
        or (lon := _number(get("lon"), -MOST_LON, MOST_LON, COORDINATE_DECIMALS)) is None
        or (recorded_at := from_rfc3339(get("recorded_at"))) is None
        # These may be null, which says no more than if they were left out.
        or ((sog := get("sog")) is not None and (sog := _number(sog, 0, NO_SOG)) is None)
        or ((cog := get("cog")) is not None and (cog := _number(cog, 0, NO_COG)) is None)
        or (
            (heading := get("heading")) is not None
            and not _is_heading(heading := _number(heading, 0, NO_HEADING))
        )
        or ((status := get("nav_status")) is not None and (status := _whole(status, NO_STATUS)) is None)
        or (
            (accuracy := get("accuracy_m")) is not None
            and (accuracy := _number(accuracy, 0, MOST_ACCURACY_M)) is None
        )
        or (
            (battery := get("battery_v")) is not None
            and (battery := _number(battery, 0, MOST_BATTERY_V)) is None
        )
        # This one may be left out, but not be null.
        or ("number" in value and (number := _whole(value["number"], MOST_NUMBER)) is None)
    ):
        return None
    return _fix(
        recorded_at=recorded_at,
        lat=lat,
        lon=lon,
        sog=sog,
        cog=cog,
        heading=heading,
        nav_status=status,
        accuracy_m=accuracy,
        battery_v=battery,
        number=number,
    )


def _number(value: Any, least: float, most: float, decimals: int = MEASURE_DECIMALS) -> float | None:
    """Return a JSON number within bounds as _Kept makes it, None for any other value."""
    if type(value) is float:
        # As ``kept`` does, but for the call.
        value = round(value, decimals) + 0.0
        return value if least <= value <= most else None
    # The bounds come first: float() takes no integer beyond a double.
    return float(value) if type(value) is int and least <= value <= most else None


def _whole(value: Any, most: int) -> int | None:
    """Return a JSON number from 0 to a bound as Whole makes it, None for any other value."""
    if type(value) is int:
        return value if 0 <= value <= most else None
    # The bounds come first: int() takes no infinity.
    return int(value) if type(value) is float and 0 <= value <= most and int(value) == value else None


def number_of(value: Any) -> int | None:
    """Return the number of a fix that is refused, where it has one that a fix may have."""
    return _whole(value.get("number"), MOST_NUMBER) if isinstance(value, dict) else None


class GapSchema(Schema):
    """Numbers of fixes that have not arrived."""

    first = Whole(required=True, metadata={"examples": [1041]})
    last = Whole(required=True, metadata={"examples": [1055]})


_LATEST = {"description": "Whether this fix is now the vessel's latest position."}
_DIFFERS = {
    "description": "Only of a duplicate: whether its content differs from the fix that is stored for this "
    "tracker and time. The first one stays."
}
_REASON = {
    "description": "Only of a quarantined fix: "
    + " ".join(f"`{code}`: {meaning}" for code, meaning in sorted(REASONS.items()))
}
_MISSING = {
    "description": "Numbers of fixes that have not arrived, the newest 20 gaps; only where the tracker "
    "numbers its fixes and some are missing. Send those again that are still there."
}
_SECRET_ENDS = {
    "description": "Only where the fix was signed with the secret before a rotation: until when that one "
    "holds. Fetch the new secret before then.",
    "examples": ["2026-01-09T03:04:05.000000Z"],
}
_IGNORED = {
    "description": "Only where the fix has members that this service does not know: their names. They were "
    "passed over. The first 50, of a batch in all; a name is cut off after 64 characters.",
    "examples": [["hdop"]],
}
_VERDICTS = (
    "`stored`: durable now. `duplicate`: it already was. `quarantined`: held back for the operator, "
    "neither lost nor on the map."
)


class _LeavesOut(Schema):
    @post_dump
    def _leave_out_what_does_not_apply(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {name: value for name, value in data.items() if value is not None and value != []}


class VerdictSchema(_LeavesOut):
    """What became of a fix. After any of these the tracker may erase it."""

    verdict = String(
        required=True,
        validate=OneOf(["stored", "duplicate", "quarantined"]),
        metadata={"description": _VERDICTS},
    )
    latest = Boolean(required=True, metadata=_LATEST)
    differs = Boolean(metadata=_DIFFERS)
    reason = String(validate=OneOf(sorted(REASONS)), metadata=_REASON)
    ignored = List(String(), metadata=_IGNORED)
    secret_ends_at = Timestamp(metadata=_SECRET_ENDS)
    missing = List(Nested(GapSchema), metadata=_MISSING)


class ForecastSchema(_LeavesOut):
    """What would become of a fix. Nothing was stored: the tracker must keep it."""

    would_be = String(
        attribute="verdict",
        required=True,
        validate=OneOf(["stored", "duplicate", "quarantined"]),
        metadata={"description": "The `verdict` that the fix would get if it were posted now."},
    )
    latest = Boolean(required=True, metadata=_LATEST)
    differs = Boolean(metadata=_DIFFERS)
    reason = String(validate=OneOf(sorted(REASONS)), metadata=_REASON)
    ignored = List(String(), metadata=_IGNORED)
    warnings = List(
        String(),
        metadata={
            "description": "What is no error but likely a mistake, in words: members that are not known, and "
            "what they may have been meant for.",
            "examples": [["'SOG' is no member of a fix; did you mean 'sog'?"]],
        },
    )


class _Unread(List[Any]):
    """A list whose items are read one by one later, as a bad one must not spoil the others."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        return value


@dataclass(frozen=True, slots=True)
class Batch:
    """The items of a batch, as they came."""

    fixes: list[Any]


class BatchSchema(_PassesOver, TypedSchema):
    """Up to 1,000 fixes, in any order. Each is judged for itself. Further members are passed over."""

    makes = Batch
    # Never 422, which says of a fix that it may be erased: no fix of such a body has a verdict.
    refused_as = NotABatch
    taken_one_by_one = "fixes"

    # More than so many are refused as too large, by the view.
    fixes = _Unread(
        Nested(FixSchema), required=True, validate=Length(1), metadata={"maxItems": LARGEST_BATCH}
    )


class BatchVerdictSchema(Schema):
    """What became of one fix of a batch. After any of these the tracker may erase it."""

    verdict = String(
        required=True,
        validate=OneOf(["stored", "duplicate", "quarantined", "invalid"]),
        metadata={"description": f"{_VERDICTS} `invalid`: it never will be accepted."},
    )
    latest = Boolean(required=True, metadata=_LATEST)
    differs = Boolean(metadata=_DIFFERS)
    reason = String(validate=OneOf(sorted(REASONS)), metadata=_REASON)
    ignored = List(String(), metadata=_IGNORED)
    code = String(
        validate=OneOf(["validation_failed", "no_fix", "malformed_json"]),
        metadata={"description": "Only of an invalid one: the `code` that it would get when posted alone."},
    )
    errors = List(
        Nested(FaultSchema),
        metadata={
            "description": "Only of an invalid one: each thing that is wrong. Of a batch with more than 50 "
            "faults in all the first 50 are told; each verdict is."
        },
    )


class ReceiptSchema(Schema):
    """A verdict for each fix of a batch, in the order of the batch."""

    verdicts = List(Nested(BatchVerdictSchema), required=True)
    ignored = List(
        String(),
        metadata={
            "description": "Only where the batch has members beside `fixes`: their names, as of a fix.",
            "examples": [["firmware"]],
        },
    )
    secret_ends_at = Timestamp(metadata=_SECRET_ENDS)
    missing = List(Nested(GapSchema), metadata=_MISSING)


def as_members(verdict: Verdict) -> dict[str, Any]:
    """Return what BatchVerdictSchema dumps of a verdict that is not invalid, in a tenth of its time."""
    members: dict[str, Any] = {"verdict": verdict.verdict, "latest": verdict.latest}
    if verdict.differs is not None:
        members["differs"] = verdict.differs
    if verdict.reason is not None:
        members["reason"] = verdict.reason
    return members


def as_answered(verdicts: Sequence[Verdict]) -> list[orjson.Fragment]:
    """Return what ``as_members`` does of each, in JSON; a thousand fixes mostly have one verdict or two."""
    told: list[orjson.Fragment] = []
    for verdict, run in groupby(verdicts):
        told += [orjson.Fragment(orjson.dumps(as_members(verdict)))] * sum(1 for _ in run)
    return told
