"""API keys, as operators issue and see them and as a key sees itself."""

from typing import Any

from marshmallow import Schema
from marshmallow.fields import List, Nested, String
from marshmallow.validate import Length, OneOf, Range

from harbor_api.domain import api_keys as rules
from harbor_api.domain.api_keys import SCOPES, KeyTerms
from harbor_api.domain.changes import Edit
from harbor_api.schemas.fields import Seen, Timestamp, TrueOrFalse, Whole, distinct, of_span, seen
from harbor_api.schemas.paging import LinksSchema
from harbor_api.schemas.typed import TypedSchema, edit

_NAME = seen(rules.NAME, description="Who or what uses it.", examples=["Nordic Logistics"])
_name, _owner = Seen(rules.NAME), Seen(rules.OWNER)
_OWNER = seen(rules.OWNER, description="Whom to ask about it.", examples=["it@nordic.example"])
_delay, _decimals, _days, _limit = (
    of_span(each) for each in (rules.DELAY_S, rules.DECIMALS, rules.HISTORY_DAYS, rules.LIMIT)
)
_SCOPES = {
    "description": "What the key may do. " + " ".join(f"`{name}`: {what}" for name, what in SCOPES.items()),
    "uniqueItems": True,
    "examples": [["vessels:read"]],
}
_VESSEL_IDS = {
    "description": "The vessels that the key may see; null for all, those to come included. To anything "
    "else it gets 404.",
    "uniqueItems": True,
    "examples": [[1, 2]],
}
_DELAY = {
    "description": "Positions are shown so many seconds late: the fleet as it was then, `stale` included; "
    "only with reading scopes.",
    "examples": [0],
}
_DECIMALS = {
    "description": "Coordinates are rounded to so many decimals: 2 is about 1 km; null for all 6. With fewer "
    "than 6 all else is no finer than that. Of each step of time the key sees one fix, the first; a step is "
    "12 h, 72 min, 7.2 min, 44 s, 5 s or 1 s for 0 to 5 decimals, in which 5 knots make one cell. Times are "
    "rounded down to steps, `sog` to 5 knots, `cog` and `heading` to 45 degrees, and `accuracy_m` is the "
    "cell's radius. So a position is known about to its cell. What remains: a vessel slower than 5 knots "
    "that changes from one cell to another is known, across that border, to the way that it makes in a step; "
    "who watches a straight course over many cells can tell where it runs more finely than by one of them; "
    "and `stale` is about the newest fix.",
    "examples": [2],
}
_DAYS = {
    "description": "How far back the key sees, in days of 24 hours: no fix that was recorded longer ago, in "
    "histories, tracks, summaries, `as_of` and the change feed. The bound moves on with each full hour: it "
    "is up to an hour further back. Latest positions are shown whatever their age. Null: as far back as "
    "positions are kept. Only with reading scopes.",
    "examples": [30],
}
_LIMIT = {"description": "Requests a minute; null for the service's usual.", "examples": [60]}
_EXPIRES = {
    "description": "From when on it is refused; null for never.",
    "examples": ["2027-01-01T00:00:00.000000Z"],
}
_INDEPENDENT = {
    "description": "true: it does not end with the key that issues it. Only a key may say so that is "
    "independent itself, carries all scopes, sees everything and never ends; it cannot be taken back.",
    "examples": [False],
}
_PARENT = {
    "description": "The key that issued it: it ends with that one and never has more. Null where it is "
    "independent, as those are that come from the command line.",
    "examples": [1],
}
_CREATED = {"examples": ["2026-01-02T03:04:05.000000Z"]}
_REVOKED = {"description": "Since when it is refused.", "examples": ["2026-02-02T03:04:05.000000Z"]}
_LAST_USED = {"description": "To the minute.", "examples": ["2026-01-02T03:04:05.000000Z"]}


def _sets(members: dict[str, Any]) -> dict[str, Any]:
    """Return members with lists as the sets that they stand for."""
    return {name: frozenset(value) if isinstance(value, list) else value for name, value in members.items()}


def _terms(**members: Any) -> KeyTerms:
    return KeyTerms(**_sets(members))


def _edit(**members: Any) -> Edit[KeyTerms]:
    return edit(**_sets(members))


class KeyTermsSchema(TypedSchema):
    """What a key may do and see."""

    makes = _terms

    name = String(required=True, validate=_name, metadata=_NAME)
    owner = String(load_default="", validate=_owner, metadata=_OWNER)
    scopes = List(
        String(validate=OneOf(sorted(SCOPES))),
        required=True,
        validate=(Length(min=1), distinct),
        metadata=_SCOPES,
    )
    vessel_ids = List(
        Whole(validate=Range(1, 2**31 - 1)),
        load_default=None,
        allow_none=True,
        validate=(Length(max=5_000), distinct),
        metadata=_VESSEL_IDS,
    )
    delay_s = Whole(load_default=0, validate=_delay, metadata=_DELAY)
    coordinate_decimals = Whole(load_default=None, allow_none=True, validate=_decimals, metadata=_DECIMALS)
    history_days = Whole(load_default=None, allow_none=True, validate=_days, metadata=_DAYS)
    requests_per_minute = Whole(load_default=None, allow_none=True, validate=_limit, metadata=_LIMIT)
    expires_at = Timestamp(load_default=None, allow_none=True, metadata=_EXPIRES)
    independent = TrueOrFalse(load_default=False, metadata=_INDEPENDENT)


class KeyTermsUpdateSchema(TypedSchema):
    """What to change of a key's terms; members that are left out stay."""

    makes = _edit

    name = String(validate=_name, metadata=_NAME)
    owner = String(validate=_owner, metadata=_OWNER)
    scopes = List(
        String(validate=OneOf(sorted(SCOPES))), validate=(Length(min=1), distinct), metadata=_SCOPES
    )
    vessel_ids = List(
        Whole(validate=Range(1, 2**31 - 1)),
        allow_none=True,
        validate=(Length(max=5_000), distinct),
        metadata=_VESSEL_IDS,
    )
    delay_s = Whole(validate=_delay, metadata=_DELAY)
    coordinate_decimals = Whole(allow_none=True, validate=_decimals, metadata=_DECIMALS)
    history_days = Whole(allow_none=True, validate=_days, metadata=_DAYS)
    requests_per_minute = Whole(allow_none=True, validate=_limit, metadata=_LIMIT)
    expires_at = Timestamp(allow_none=True, metadata=_EXPIRES)
    independent = TrueOrFalse(metadata=_INDEPENDENT)


class KeySchema(Schema):
    """An API key without its secret."""

    id = Whole(
        required=True,
        metadata={
            "description": "Identifies the key for good. Keys are numbered as they are issued: an id tells "
            "about how many there were before.",
            "examples": [1],
        },
    )
    prefix = String(
        required=True,
        metadata={"description": "How its secret begins, to tell keys apart.", "examples": ["hbr_4fT1xZ"]},
    )
    name = String(required=True, metadata=_NAME)
    owner = String(required=True, metadata=_OWNER)
    scopes = List(String(), required=True, metadata=_SCOPES)
    vessel_ids = List(Whole(), required=True, allow_none=True, metadata=_VESSEL_IDS)
    delay_s = Whole(required=True, metadata=_DELAY)
    coordinate_decimals = Whole(required=True, allow_none=True, metadata=_DECIMALS)
    history_days = Whole(required=True, allow_none=True, metadata=_DAYS)
    requests_per_minute = Whole(required=True, allow_none=True, metadata=_LIMIT)
    parent_id = Whole(required=True, allow_none=True, metadata=_PARENT)
    created_at = Timestamp(required=True, metadata=_CREATED)
    expires_at = Timestamp(required=True, allow_none=True, metadata=_EXPIRES)
    revoked_at = Timestamp(required=True, allow_none=True, metadata=_REVOKED)
    last_used_at = Timestamp(required=True, allow_none=True, metadata=_LAST_USED)
    previous_valid_until = Timestamp(
        required=True,
        allow_none=True,
        metadata={
            "description": "Until when the secret before the last rotation holds.",
            "examples": ["2026-01-09T03:04:05.000000Z"],
        },
    )


class KeySecretSchema(KeySchema):
    """An API key with its secret, which is told only now."""

    secret = String(
        required=True,
        metadata={
            "description": "What callers send as `Authorization: Bearer`.",
            "pattern": "^hbr_[0-9A-Za-z]{36}$",
        },
    )


# What a key without `keys:read` is told of one that it has rotated, beside the secret.
ROTATED = ("id", "prefix", "previous_valid_until")


class RotatedKeySchema(KeySecretSchema):
    """An API key with its new secret, which is told only now.

    The members that are not required are told to a key that carries `keys:read`.
    """

    name = String(metadata=_NAME)
    owner = String(metadata=_OWNER)
    scopes = List(String(), metadata=_SCOPES)
    vessel_ids = List(Whole(), allow_none=True, metadata=_VESSEL_IDS)
    delay_s = Whole(metadata=_DELAY)
    coordinate_decimals = Whole(allow_none=True, metadata=_DECIMALS)
    history_days = Whole(allow_none=True, metadata=_DAYS)
    requests_per_minute = Whole(allow_none=True, metadata=_LIMIT)
    parent_id = Whole(allow_none=True, metadata=_PARENT)
    created_at = Timestamp(metadata=_CREATED)
    expires_at = Timestamp(allow_none=True, metadata=_EXPIRES)
    revoked_at = Timestamp(allow_none=True, metadata=_REVOKED)
    last_used_at = Timestamp(allow_none=True, metadata=_LAST_USED)


class KeyPageSchema(Schema):
    """A page of API keys, in the order in which they were issued."""

    api_keys = List(Nested(KeySchema), required=True)
    links = Nested(LinksSchema, required=True)


class RemainingSchema(Schema):
    """What is left of a minute's requests."""

    limit = Whole(required=True, metadata={"description": "Requests a minute.", "examples": [60]})
    remaining = Whole(
        required=True,
        metadata={
            "description": "How many whole ones are left. One that is answered with 304 takes a tenth.",
            "examples": [59],
        },
    )


class MeSchema(KeySchema):
    """The key that asks: what it is, may do and has left."""

    rate_limit = Nested(RemainingSchema, required=True)
