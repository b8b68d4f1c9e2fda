"""Named consumers of the change feed: how they are kept, and how they are shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marshmallow import Schema, ValidationError
from marshmallow.fields import Boolean, List, Nested, String
from marshmallow.validate import Length, Range, Regexp

from harbor_api.domain.consumers import MOST_CONSUMERS, Consumer, Lag
from harbor_api.domain.fleet_search import MOST_WANTED, Box
from harbor_api.domain.identifiers import IMO_RULE, MMSI_RULE, is_imo_number, is_mmsi
from harbor_api.domain.vessels import FLAG, KIND
from harbor_api.schemas.feed import CURSOR_EXAMPLE, FeedFilters, beginning_field, cursor_field
from harbor_api.schemas.fields import Number, Seen, Timestamp, Whole, of_form, seen, some_are
from harbor_api.schemas.typed import TypedSchema
from harbor_api.schemas.vessel_filters import demand_box

_NAME = {"description": "What its key calls it.", "examples": ["warehouse"]}
_SOME = Length(1, MOST_WANTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Where a consumer is to stand, and what it is to follow.

    ``cursor`` or ``since``, which is None for now, where it ``begins`` anew; where neither, it stays where it
    is. ``filters`` is None where they stay as they are.
    """

    cursor: str | None
    begins: bool
    since: datetime | None
    filters: Mapping[str, Any] | None


def filters_of(kept: Mapping[str, Any]) -> FeedFilters:
    """Return what a consumer follows as the feed takes it, by what is kept of it."""
    given = {name: tuple(values) for name, values in kept.items()}
    # As in the query of the feed, where a kind that has a comma in it is asked for alone.
    kinds = given.get("kind") and tuple(",".join(given["kind"]).split(","))
    return FeedFilters(
        box=given.get("bbox"),
        vessel_ids=given.get("vessel_id"),
        imos=given.get("imo"),
        mmsis=given.get("mmsi"),
        kinds=kinds or None,
        flags=given.get("flag"),
    )


def _wanted(*, cursor: str | None = None, begin: datetime | str | None = None, **given: Any) -> Wanted:
    if cursor is not None and begin is not None:
        raise ValidationError("Say where it begins in one way: by `cursor` or by `from`.", "cursor")
    return Wanted(
        cursor=cursor,
        begins=begin is not None,
        since=begin if isinstance(begin, datetime) else None,
        filters=given or None,
    )


def _demand_edges(edges: list[float]) -> None:
    # Else it is told already that they are not four.
    if len(edges) == len(Box.__annotations__):
        demand_box(Box(*edges))


def _demand_alone(kinds: list[str]) -> None:
    if len(kinds) > 1 and any("," in kind for kind in kinds):
        raise ValidationError("One that has a comma in it must stand alone.")


class _FiltersSchema(TypedSchema):
    """Which vessels, and where: as with the parameters of the feed."""

    bbox = List(
        Number(),
        validate=[Length(4, 4), _demand_edges],
        metadata={
            "description": "Only in this box: west, south, east, north, in degrees.",
            "examples": [[9.5, 58.5, 11.5, 60.0]],
        },
    )
    vessel_id = List(
        Whole(validate=Range(1, 2**31 - 1)),
        validate=_SOME,
        metadata={"description": "Only of these vessels.", "examples": [[1, 2]]},
    )
    imo = List(
        String(
            validate=Regexp(r"\A[0-9]{7}\Z", error="Must be 7 digits."), metadata={"pattern": "^[0-9]{7}$"}
        ),
        validate=[_SOME, some_are(is_imo_number, IMO_RULE)],
        metadata={"description": "Only of those with these IMO numbers.", "examples": [["9074729"]]},
    )
    mmsi = List(
        String(
            validate=Regexp(r"\A[0-9]{9}\Z", error="Must be 9 digits."), metadata={"pattern": "^[0-9]{9}$"}
        ),
        validate=[_SOME, some_are(is_mmsi, MMSI_RULE)],
        metadata={"description": "Only of those with these MMSIs.", "examples": [["257123450"]]},
    )
    kind = List(
        String(validate=Seen(KIND), metadata=seen(KIND)),
        validate=[_SOME, _demand_alone],
        metadata={
            "description": "Only of these kinds. One that has a comma in it stands alone.",
            "examples": [["cargo", "tanker"]],
        },
    )
    flag = List(
        String(validate=of_form(FLAG), metadata={"pattern": f"^{FLAG.pattern}$"}),
        validate=_SOME,
        metadata={"description": "Only of these flags.", "examples": [["NO", "SE"]]},
    )


class ConsumerUpdateSchema(_FiltersSchema):
    """Where a consumer is to stand, and what it is to follow; without any member nothing changes.

    Without filters those stay that are kept; one that is given stands with the others that are given for all.
    """

    makes = _wanted

    cursor = cursor_field()
    begin = beginning_field()


class ConsumerFiltersSchema(_FiltersSchema):
    """What a consumer follows: all that its key may see where there is no member."""


class ConsumerSchema(Schema):
    """A consumer: where it stands, and how far behind it is."""

    name = String(required=True, metadata=_NAME)
    filters = Nested(ConsumerFiltersSchema, required=True)
    cursor = String(
        required=True,
        metadata={"description": "It was told all up to here.", "examples": [CURSOR_EXAMPLE]},
    )
    lag_s = Number(
        required=True,
        validate=Range(min=0),
        metadata={
            "description": "For how many seconds the oldest that it was not told has been there for its key "
            "to see; 0 where it was told all. All its filters are looked at. Where many changes that are not "
            "for it lie behind its place (some thousand), it may count from one of those: then it is "
            "too large, and never too small. Read on to have it exact.",
            "examples": [0.0],
        },
    )
    behind_at = Timestamp(
        required=True,
        allow_none=True,
        metadata={"description": "When that came in; null where it was told all."},
    )
    expired = Boolean(
        required=True,
        metadata={
            "description": "true: something that it was not told was removed. Its positions are 410 until it "
            "is moved, to `oldest` or elsewhere.",
            "examples": [False],
        },
    )
    oldest = String(
        metadata={
            "description": "Only where it has expired: the cursor that goes on with the oldest that is kept.",
            "examples": [CURSOR_EXAMPLE],
        }
    )
    oldest_at = Timestamp(
        allow_none=True,
        metadata={
            "description": "Only where it has expired: from when on all is kept; null where nothing was "
            "removed."
        },
    )
    seen_at = Timestamp(
        required=True,
        allow_none=True,
        metadata={
            "description": "When it was last read or moved, to the minute; null for never.",
            "examples": ["2026-01-02T03:04:05.000000Z"],
        },
    )
    created_at = Timestamp(required=True, metadata={"examples": ["2026-01-02T03:04:05.000000Z"]})


class ConsumersSchema(Schema):
    """All consumers of a key, in the order of their names."""

    feeds = List(Nested(ConsumerSchema), required=True, validate=Length(max=MOST_CONSUMERS))


def as_consumer(consumer: Consumer, lag: Lag, *, cursor: str, oldest: str | None) -> dict[str, Any]:
    """Return the members of a consumer, whose cursors are given."""
    members = {
        "name": consumer.name,
        "filters": dict(consumer.filters),
        "cursor": cursor,
        "lag_s": round(lag.seconds, 3),
        "behind_at": lag.behind_at,
        "expired": lag.expired,
        "seen_at": consumer.seen_at,
        "created_at": consumer.created_at,
    }
    return members | ({"oldest": oldest, "oldest_at": lag.oldest_at} if lag.expired else {})
