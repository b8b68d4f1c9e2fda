"""Which vessels of the fleet a partner asks for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from marshmallow import ValidationError, validates_schema
from marshmallow.fields import String
from marshmallow.validate import Range, Regexp

from harbor_api.domain.fleet_search import (
    EVERYTHING,
    LARGEST_RADIUS_M,
    MOST_WANTED,
    RADIUS_M,
    Box,
    Near,
    Search,
)
from harbor_api.domain.identifiers import IMO_RULE, MMSI_RULE, is_imo_number, is_mmsi
from harbor_api.domain.moments import GAP, LONGEST_GAP
from harbor_api.domain.values import Text
from harbor_api.domain.vessels import FLAG, KIND
from harbor_api.schemas.fields import (
    QueryBoolean,
    QueryList,
    QueryNumber,
    QueryNumbers,
    QueryWhole,
    Seen,
    Timestamp,
    of_form,
    seen,
    some_are,
)
from harbor_api.schemas.paging import sealed_cursor
from harbor_api.schemas.typed import QuerySchema

MOST_AT_ONCE = 10_000
"""How many vessels a page of the fleet holds at most, and without another ``limit``."""
_MOST_GAP_S = int(LONGEST_GAP.total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetQuery:
    """Which vessels: those that a search keeps, of the ones that are retired or else in service.

    At most ``limit`` at once, from where ``cursor`` says. ``as_of`` is the moment that is asked about, None
    for now, and ``gap`` the longest silence over which it is told where they were.
    """

    search: Search = EVERYTHING
    retired: bool = False
    limit: int = MOST_AT_ONCE
    cursor: str | None = None
    as_of: datetime | None = None
    gap: timedelta = GAP


def _fleet_query(
    *,
    box: tuple[float, float, float, float] | None = None,
    near: tuple[float, float] | None = None,
    radius_m: float = RADIUS_M,
    vessel_ids: tuple[int, ...] | None = None,
    imos: tuple[str, ...] | None = None,
    mmsis: tuple[str, ...] | None = None,
    kinds: tuple[str, ...] | None = None,
    flags: tuple[str, ...] | None = None,
    retired: bool,
    limit: int,
    cursor: str | None = None,
    as_of: datetime | None = None,
    gap_s: int | None = None,
    **search: Any,
) -> FleetQuery:
    wanted = Search(
        box=None if box is None else Box(*box),
        near=None if near is None else Near(lon=near[0], lat=near[1], radius_m=radius_m),
        vessel_ids=None if vessel_ids is None else frozenset(vessel_ids),
        imos=None if imos is None else frozenset(imos),
        mmsis=None if mmsis is None else frozenset(mmsis),
        # A kind may have a comma in it, and is the whole text then.
        kinds=None if kinds is None else frozenset([*kinds, ",".join(kinds)]),
        flags=None if flags is None else frozenset(flags),
        **search,
    )
    gap = GAP if gap_s is None else timedelta(seconds=gap_s)
    return FleetQuery(search=wanted, retired=retired, limit=limit, cursor=cursor, as_of=as_of, gap=gap)


def _demand_place(lon: float, lat: float) -> None:
    if not -180 <= lon <= 180:
        raise ValidationError("A longitude must be from -180 to 180; it comes before the latitude.")
    if not -90 <= lat <= 90:
        raise ValidationError("A latitude must be from -90 to 90; it comes after the longitude.")


def _demand_box(box: Box) -> None:
    _demand_place(box.west, box.south)
    _demand_place(box.east, box.north)
    if box.south > box.north:
        raise ValidationError("Its south is above its north: the order is west, south, east, north.")


_Q = Text(100)
_EXACT = "What is not there, or not for this key to see, is passed over."


class FleetQuerySchema(QuerySchema):
    """Which vessels: all that is given must hold."""

    makes = _fleet_query

    box = QueryNumbers(
        4,
        data_key="bbox",
        validate=lambda edges: _demand_box(Box(*edges)),
        metadata={
            "description": "Only those in this box, edges included: west, south, east, north, in degrees. "
            "With a west greater than its east it lies across the 180th meridian, where -180 is 180.",
            "examples": [[9.5, 58.5, 11.5, 60.0]],
        },
    )
    near = QueryNumbers(
        2,
        validate=lambda point: _demand_place(*point),
        metadata={
            "description": "Only those about this point, longitude and latitude in degrees: the nearest "
            "first, each with its `distance_m` and `bearing`. With `limit=1` the closest.",
            "examples": [[10.7, 59.9]],
        },
    )
    radius_m = QueryNumber(
        data_key="radius",
        validate=Range(0, LARGEST_RADIUS_M),
        metadata={
            "description": f"With `near`: how far from the point, in metres; {RADIUS_M:.0f} where it is left "
            "out.",
            "examples": [25_000],
        },
    )
    vessel_ids = QueryList(
        QueryWhole(validate=Range(1, 2**31 - 1)),
        most=MOST_WANTED,
        items={"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
        data_key="vessel_id",
        metadata={"description": f"Only these vessels. {_EXACT}", "examples": [[1, 2]]},
    )
    imos = QueryList(
        String(validate=Regexp(r"\A[0-9]{7}\Z", error="Holds what is not 7 digits.")),
        most=MOST_WANTED,
        items={"type": "string", "pattern": "^[0-9]{7}$"},
        data_key="imo",
        validate=some_are(is_imo_number, IMO_RULE),
        metadata={
            "description": f"Only those with these IMO numbers. {_EXACT} 400 where none of them can be one.",
            "examples": [["9074729"]],
        },
    )
    mmsis = QueryList(
        String(validate=Regexp(r"\A[0-9]{9}\Z", error="Holds what is not 9 digits.")),
        most=MOST_WANTED,
        items={"type": "string", "pattern": "^[0-9]{9}$"},
        data_key="mmsi",
        validate=some_are(is_mmsi, MMSI_RULE),
        metadata={
            "description": f"Only those with these MMSIs. {_EXACT} 400 where none of them can be one.",
            "examples": [["257123450", "257961140"]],
        },
    )
    q = String(
        validate=Seen(_Q),
        metadata=seen(
            _Q,
            description="Only those that have this in their name, call sign, IMO number or MMSI, in capital "
            "letters or not.",
            examples=["skagerrak"],
        ),
    )
    kinds = QueryList(
        String(validate=Seen(KIND)),
        most=MOST_WANTED,
        items=seen(KIND, type="string", minLength=1, maxLength=KIND.longest),
        data_key="kind",
        metadata={
            "description": "Only of these kinds, in capital letters or not. One that has a comma in it is "
            "asked for alone.",
            "examples": [["cargo", "tanker"]],
        },
    )
    flags = QueryList(
        String(validate=of_form(FLAG)),
        most=MOST_WANTED,
        items={"type": "string", "pattern": f"^{FLAG.pattern}$"},
        data_key="flag",
        metadata={
            "description": "Only of these flags: ISO 3166-1 alpha-2 codes, in capitals.",
            "examples": [["NO", "SE"]],
        },
    )
    updated_since = Timestamp(
        metadata={
            "description": "Only those of which a fix is shown that was received at this time or later, as "
            "`received_at` tells. It is shown after that, to delayed and coarse keys by their delay and "
            "step: go back so far, and a minute. What else may have changed is told by `ETag` and "
            "`Harbor-Cursor`.",
            "examples": ["2026-01-02T03:00:00Z"],
        },
    )
    stale = QueryBoolean(metadata={"description": "Only those that are `stale`, or those that are not."})
    retired = QueryBoolean(
        load_default=False,
        metadata={"description": "true: those that are retired, instead of those in service."},
    )
    as_of = Timestamp(
        metadata={
            "description": "The fleet as it was at this moment, no later than the key sees. All other "
            "parameters look at what is told of that moment: `bbox` and `near` at the place, `stale` at "
            "whether a vessel was stale then, `updated_since` at when the fix that is shown was received, "
            "`retired` at whether a vessel was retired by then.",
            "examples": ["2026-01-02T03:10:00Z"],
        },
    )
    gap_s = QueryWhole(
        data_key="gap",
        validate=Range(1, _MOST_GAP_S),
        metadata={
            "description": "With `as_of`: between two fixes that are further apart than so many seconds "
            f"nobody says where a vessel was; {GAP.total_seconds():.0f} where it is left out.",
            "examples": [600],
        },
    )
    limit = QueryWhole(
        load_default=MOST_AT_ONCE,
        validate=Range(1, MOST_AT_ONCE),
        metadata={"description": "At most so many vessels.", "examples": [1_000]},
    )
    cursor = sealed_cursor()

    @validates_schema
    def _demand_point(self, data: Mapping[str, Any], **_: Any) -> None:
        if "radius_m" in data and "near" not in data:
            raise ValidationError("Is of no use without near.", "radius")
        if "gap_s" in data and "as_of" not in data:
            raise ValidationError("Is of no use without as_of.", "gap")
