"""Which vessels of the fleet a partner asks for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from marshmallow import ValidationError, validates_schema
from marshmallow.fields import String
from marshmallow.validate import Range

from harbor_api.domain.fleet_search import (
    EVERYTHING,
    LARGEST_RADIUS_M,
    RADIUS_M,
    Near,
    Search,
)
from harbor_api.domain.moments import GAP, LONGEST_GAP
from harbor_api.domain.values import Text
from harbor_api.schemas.fields import (
    QueryBoolean,
    QueryNumber,
    QueryNumbers,
    QueryWhole,
    Seen,
    Timestamp,
    seen,
)
from harbor_api.schemas.paging import sealed_cursor
from harbor_api.schemas.vessel_filters import VesselFiltersSchema, demand_place, sought

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
    near: tuple[float, float] | None = None,
    radius_m: float = RADIUS_M,
    q: str | None = None,
    updated_since: datetime | None = None,
    stale: bool | None = None,
    retired: bool,
    limit: int,
    cursor: str | None = None,
    as_of: datetime | None = None,
    gap_s: int | None = None,
    **filters: Any,
) -> FleetQuery:
    wanted = Search(
        near=None if near is None else Near(lon=near[0], lat=near[1], radius_m=radius_m),
        q=q,
        updated_since=updated_since,
        stale=stale,
        **sought(**filters),
    )
    gap = GAP if gap_s is None else timedelta(seconds=gap_s)
    return FleetQuery(search=wanted, retired=retired, limit=limit, cursor=cursor, as_of=as_of, gap=gap)


_Q = Text(100)


class FleetQuerySchema(VesselFiltersSchema):
    """Which vessels: all that is given must hold."""

    makes = _fleet_query

    near = QueryNumbers(
        2,
        validate=lambda point: demand_place(*point),
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
    q = String(
        validate=Seen(_Q),
        metadata=seen(
            _Q,
            description="Only those that have this in their name, call sign, IMO number or MMSI, in capital "
            "letters or not.",
            examples=["skagerrak"],
        ),
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
