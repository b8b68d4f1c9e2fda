"""By what vessels are chosen wherever partners read of many: where they are, and what they are."""

from typing import Any

from marshmallow import ValidationError
from marshmallow.fields import String
from marshmallow.validate import Range, Regexp

from harbor_api.domain.fleet_search import MOST_WANTED, Box
from harbor_api.domain.identifiers import IMO_RULE, MMSI_RULE, is_imo_number, is_mmsi
from harbor_api.domain.vessels import FLAG, KIND
from harbor_api.schemas.fields import (
    QueryList,
    QueryNumbers,
    QueryWhole,
    Seen,
    of_form,
    seen,
    some_are,
)
from harbor_api.schemas.typed import QuerySchema

_EXACT = "What is not there, or not for this key to see, is passed over."


def demand_place(lon: float, lat: float) -> None:
    """Raise ValidationError unless it is a place in degrees."""
    if not -180 <= lon <= 180:
        raise ValidationError("A longitude must be from -180 to 180; it comes before the latitude.")
    if not -90 <= lat <= 90:
        raise ValidationError("A latitude must be from -90 to 90; it comes after the longitude.")


def demand_box(box: Box) -> None:
    """Raise ValidationError unless it is a box in degrees."""
    demand_place(box.west, box.south)
    demand_place(box.east, box.north)
    if box.south > box.north:
        raise ValidationError("Its south is above its north: the order is west, south, east, north.")


class VesselFiltersSchema(QuerySchema):
    """Which vessels: all that is given must hold."""

    box = QueryNumbers(
        4,
        data_key="bbox",
        validate=lambda edges: demand_box(Box(*edges)),
        metadata={
            "description": "Only those in this box, edges included: west, south, east, north, in degrees. "
            "With a west greater than its east it lies across the 180th meridian, where -180 is 180.",
            "examples": [[9.5, 58.5, 11.5, 60.0]],
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


def sought(
    *,
    box: tuple[float, float, float, float] | None = None,
    vessel_ids: tuple[int, ...] | None = None,
    imos: tuple[str, ...] | None = None,
    mmsis: tuple[str, ...] | None = None,
    kinds: tuple[str, ...] | None = None,
    flags: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    """Return what is asked for as a ``Search`` takes it."""
    return {
        "box": None if box is None else Box(*box),
        "vessel_ids": None if vessel_ids is None else frozenset(vessel_ids),
        "imos": None if imos is None else frozenset(imos),
        "mmsis": None if mmsis is None else frozenset(mmsis),
        # A kind may have a comma in it, and is the whole text then.
        "kinds": None if kinds is None else frozenset([*kinds, ",".join(kinds)]),
        "flags": None if flags is None else frozenset(flags),
    }
