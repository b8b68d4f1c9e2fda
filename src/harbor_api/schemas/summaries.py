"""Summaries of what a vessel did: what partners ask for and are told."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from marshmallow import Schema, validates_schema
from marshmallow.fields import Date, Integer, List, Nested
from marshmallow.validate import Range

from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.positions import MEASURE_DECIMALS
from harbor_api.domain.summaries import (
    LEAST_WAY_S,
    LONGEST,
    PEAK_KN,
    PEAK_WITHIN_S,
    Summary,
    Totals,
)
from harbor_api.domain.track_events import STOPPED_KN
from harbor_api.schemas.fields import Number, QueryWhole, Timestamp, demand_order
from harbor_api.schemas.typed import QuerySchema

_GAP_S, _MOST_GAP_S = 1_800, 366 * 86_400
_METRES_DECIMALS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryQuery:
    """Which time, and what counts as a gap; None where that was not said."""

    start: datetime | None = None
    end: datetime | None = None
    gap_s: int


class SummaryQuerySchema(QuerySchema):
    """Which part of a vessel's history."""

    makes = SummaryQuery

    start = Timestamp(
        data_key="from",
        metadata={
            "description": "The first moment, included: before `to`, and by no more than "
            f"{LONGEST.days} days. Default: 24 hours before `to`."
        },
    )
    end = Timestamp(data_key="to", metadata={"description": "The last moment, not included. Default: now."})
    gap_s = QueryWhole(
        data_key="gap",
        load_default=_GAP_S,
        validate=Range(1, _MOST_GAP_S),
        metadata={
            "description": "Seconds: where the next fix is later than this, nothing is known of what lies "
            "between."
        },
    )

    @validates_schema
    def _demand_window(self, data: dict[str, Any], **_: Any) -> None:
        demand_order(data.get("start"), data.get("end"))


class TotalsSchema(Schema):
    """What a vessel did, counted from each fix to the next."""

    fixes = Integer(required=True, metadata={"description": "Her fixes."})
    first_at = Timestamp(
        required=True, allow_none=True, metadata={"description": "When the first was recorded."}
    )
    last_at = Timestamp(
        required=True, allow_none=True, metadata={"description": "When the last was recorded."}
    )
    distance_m = Number(
        required=True,
        metadata={
            "description": "Metres over ground: the great circles from each fix to the next, without gaps "
            "and jumps. `stopped_distance_m` is part of it."
        },
    )
    stopped_distance_m = Number(
        required=True,
        metadata={
            "description": "Of that, the metres from fix to fix while she was stopped: what her receiver is "
            "wrong by, and how she swings at anchor."
        },
    )
    gap_distance_m = Number(
        required=True,
        metadata={
            "description": "Metres over the gaps, each from the fix before it to the one after: she went "
            "this far at least. Not in `distance_m`."
        },
    )
    under_way_s = Number(required=True, metadata={"description": "Seconds in which she was not stopped."})
    stopped_s = Number(
        required=True,
        metadata={
            "description": "Seconds in which she was stopped: from a fix that tells less than "
            f"{STOPPED_KN:g} knots to the next, or where it tells no speed, if the way between them says so."
        },
    )
    gap_s = Number(
        required=True,
        metadata={
            "description": "Seconds of which nothing is known: of gaps, and of jumps, from one fix to a "
            "place that she cannot have reached until the next."
        },
    )
    top_speed_kn = Number(
        required=True,
        allow_none=True,
        metadata={
            "description": "The greatest speed over ground that her fixes tell. Left out are those above her "
            f"`max_speed_kn` ({Thresholds().max_speed_kn:g} where none is known), and a single one that is "
            f"more than {PEAK_KN:g} knots above both that of the fix before and that of the one after, each "
            f"within {PEAK_WITHIN_S} seconds. Where two fixes in a row tell none, the speed of the way "
            f"between them counts, if that took {LEAST_WAY_S} seconds or longer. Null where nothing tells "
            "it."
        },
    )
    mean_speed_kn = Number(
        required=True,
        allow_none=True,
        metadata={
            "description": "The distance under way by the time under way: `distance_m` without "
            "`stopped_distance_m`, by `under_way_s`. Null where that is 0. It goes by places, and "
            "`top_speed_kn` by the speeds that fixes tell: so it may be the greater of the two."
        },
    )


class DaySchema(TotalsSchema):
    """The same for one day."""

    date = Date(required=True, metadata={"description": "The day, in UTC."})


class SummarySchema(TotalsSchema):
    """What a vessel did in some time, in all and day by day."""

    vessel_id = Integer(required=True, metadata={"description": "Whose summary it is."})
    days = List(
        Nested(DaySchema),
        required=True,
        metadata={
            "description": "Each day in UTC, from that of the first fix to that of the last. What lies "
            "between two fixes with midnight between them is of both days, in proportion of time: the days "
            "add up to the whole, but for the last digit."
        },
    )


def as_summary(summary: Summary, *, vessel_id: int) -> dict[str, Any]:
    """Return a summary as ``SummarySchema`` has it."""
    return {
        "vessel_id": vessel_id,
        **_totals(summary.whole),
        "days": [{"date": day, **_totals(totals)} for day, totals in summary.days.items()],
    }


def _totals(totals: Totals) -> dict[str, Any]:
    members = {**asdict(totals), "mean_speed_kn": totals.mean_speed_kn}
    return {name: _rounded(name, value) for name, value in members.items()}


def _rounded(name: str, value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return round(value, _METRES_DECIMALS if name.rpartition("_")[2] == "m" else MEASURE_DECIMALS)
