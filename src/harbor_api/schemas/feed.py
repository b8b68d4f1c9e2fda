"""The change feed: how it is asked for, and how its items look."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError
from marshmallow.fields import Boolean, Dict, List, Raw, String
from marshmallow.validate import Equal, Length, OneOf, Range, Regexp

from harbor_api.domain.feed import FeedPage
from harbor_api.domain.fleet_search import Search
from harbor_api.domain.times import rfc3339
from harbor_api.schemas.fields import NOW, Beginning, QueryBoolean, QueryWhole, Timestamp, Whole
from harbor_api.schemas.history import PastPositionSchema
from harbor_api.schemas.typed import QuerySchema
from harbor_api.schemas.vessel_filters import VesselFiltersSchema, sought

USUAL_LIMIT, MOST = 1_000, 10_000
MOST_RATE_S, LONGEST_WAIT_S = 3_600, 60
MEDIA_TYPE = "text/event-stream"
CURSOR_EXAMPLE = "kq0vJZ3cX1A.2gB8m1Jd0uXc6Zr5oQbYp3VtLw9"


@dataclass(frozen=True, kw_only=True)
class FeedFilters:
    """Of which vessels, and where, as it was asked; None is not asked."""

    box: tuple[float, float, float, float] | None = None
    vessel_ids: tuple[int, ...] | None = None
    imos: tuple[str, ...] | None = None
    mmsis: tuple[str, ...] | None = None
    kinds: tuple[str, ...] | None = None
    flags: tuple[str, ...] | None = None

    @cached_property
    def search(self) -> Search:
        """What is asked of a vessel and of its fix."""
        return Search(
            **sought(
                box=self.box,
                vessel_ids=self.vessel_ids,
                imos=self.imos,
                mmsis=self.mmsis,
                kinds=self.kinds,
                flags=self.flags,
            )
        )

    @cached_property
    def bound(self) -> dict[str, str]:
        """What a cursor is bound to: the same however the values of a list are ordered."""
        found = {} if self.box is None else {"bbox": ",".join(str(edge + 0.0) for edge in self.box)}
        lists: dict[str, tuple[Any, ...] | None] = {
            "vessel_id": self.vessel_ids,
            "imo": self.imos,
            "mmsi": self.mmsis,
            "kind": self.kinds,
            "flag": self.flags,
        }
        return found | {
            name: ",".join(map(str, sorted(set(values))))
            for name, values in lists.items()
            if values is not None
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StretchQuery:
    """At most ``limit`` items; where there is none, up to ``wait`` seconds later."""

    limit: int
    wait: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedQuery(StretchQuery):
    """From where on, and which fixes.

    It begins behind ``cursor``, or else at what came in ``since`` a moment, None for now.
    """

    filters: FeedFilters
    cursor: str | None
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamQuery:
    """From where on, and which fixes: of each vessel at most one in ``max_rate_s``, None for all.

    It begins behind ``cursor``, or else at what comes in ``since`` a moment, None for now; ``snapshot`` tells
    the fleet as it is first.
    """

    filters: FeedFilters
    cursor: str | None
    since: datetime | None
    snapshot: bool
    max_rate_s: int | None


def _stream_query(
    *,
    cursor: str | None = None,
    begin: datetime | str | None = None,
    snapshot: bool,
    max_rate_s: int | None = None,
    **filters: Any,
) -> StreamQuery:
    if cursor is not None and begin is not None:
        raise ValidationError("Say where to begin in one way: `cursor`, or `from`.", "cursor")
    since = begin if isinstance(begin, datetime) else None
    if snapshot and (cursor is not None or since is not None):
        raise ValidationError(
            "It begins with the fleet as it is: leave `cursor` and `from` away.", "snapshot"
        )
    return StreamQuery(
        filters=FeedFilters(**filters), cursor=cursor, since=since, snapshot=snapshot, max_rate_s=max_rate_s
    )


def _feed_query(
    *, cursor: str | None = None, begin: datetime | str | None = None, limit: int, wait: int, **filters: Any
) -> FeedQuery:
    if (cursor is None) is (begin is None):
        raise ValidationError(
            "Say where to begin, in one way: `cursor` from an answer, or `from`, a time or `now`.", "cursor"
        )
    since = begin if isinstance(begin, datetime) else None
    return FeedQuery(filters=FeedFilters(**filters), cursor=cursor, since=since, limit=limit, wait=wait)


def cursor_field() -> String:
    """Return the member that says to go on from a cursor."""
    return String(
        validate=[
            Length(1, 1_000),
            Regexp(r"\A[A-Za-z0-9_.-]+\Z", error="Not a cursor that this service has given."),
        ],
        metadata={
            "description": "Go on from here: `next` of an answer or an `id` of the stream, with the filters "
            "that it came with; or the `cursor` of the fleet, with any filters.",
            "pattern": "^[A-Za-z0-9_.-]+$",
            "examples": [CURSOR_EXAMPLE],
        },
    )


def beginning_field() -> Beginning:
    """Return the member that says to begin at a time."""
    return Beginning(
        data_key="from",
        metadata={
            "description": "Begin here: `now`, or with what came in at this time or later. That is the time "
            "of reception (or of release), so fixes with an earlier `recorded_at` may be among it. With a "
            "key that sees some vessels only it begins with that minute, and with a coarse one with its step "
            "of time.",
            "anyOf": [{"type": "string", "const": NOW}, {"type": "string", "format": "date-time"}],
            "examples": [NOW, "2026-01-02T03:04:05Z"],
        },
    )


class FollowingSchema(VesselFiltersSchema):
    """From where on, and of which vessels: all that is given must hold."""

    cursor = cursor_field()
    begin = beginning_field()


class StretchQuerySchema(QuerySchema):
    """How many."""

    makes: ClassVar[Callable[..., Any]] = StretchQuery

    limit = QueryWhole(
        load_default=USUAL_LIMIT,
        validate=Range(1, MOST),
        metadata={"description": "At most so many items.", "examples": [USUAL_LIMIT]},
    )
    wait = QueryWhole(
        load_default=0,
        validate=Range(0, LONGEST_WAIT_S),
        metadata={
            "description": "Where there is nothing yet: answer once there is, or after so many seconds with "
            "what there is then.",
            "examples": [30],
        },
    )


class StreamQuerySchema(FollowingSchema):
    """From where on, now unless it is said, of which vessels, and in which way."""

    makes = _stream_query

    snapshot = QueryBoolean(
        load_default=False,
        metadata={
            "description": "true: the fleet as it is comes first, an event `vessel` each, and all that comes "
            "after it."
        },
    )
    max_rate_s = QueryWhole(
        data_key="max_rate",
        validate=Range(1, MOST_RATE_S),
        metadata={
            "description": "Of each vessel at most one event in so many seconds, the newest: for maps. What "
            "is withdrawn is told at once. Not all that happened is told then.",
            "examples": [5],
        },
    )


class FeedQuerySchema(FollowingSchema, StretchQuerySchema):
    """From where on, of which vessels, and how many."""

    makes = _feed_query


_ID = {
    "description": "Names the fix in the feed and the stream, for this key, in all items about it. A key "
    "with `coordinate_decimals` below 6 sees one fix in each step of time, and the id names the step. An "
    "`upsert` with an id that is known replaces what was told of it.",
    "examples": ["vN3-u0c2aYzQ"],
    "pattern": "^[A-Za-z0-9_-]{12}$",
}


class PositionUpsertSchema(PastPositionSchema):
    """A fix that was stored, or is told anew. What is not known is null."""

    op = String(required=True, validate=Equal("upsert"), metadata={"const": "upsert"})
    id = String(required=True, metadata=_ID)
    vessel_id = Whole(required=True, metadata={"description": "Whose it is.", "examples": [1]})
    late = Boolean(
        required=True,
        metadata={
            "description": "Whether a newer fix of the vessel was stored before it: it belongs to her track, "
            "and is not where she is.",
            "examples": [False],
        },
    )
    released = Boolean(
        required=True,
        metadata={
            "description": "Whether it was held back at first, and let in later.",
            "examples": [False],
        },
    )


class PositionDeleteSchema(Schema):
    """A fix that was withdrawn: forget it, whether it was told or not."""

    op = String(required=True, validate=Equal("delete"), metadata={"const": "delete"})
    id = String(required=True, metadata=_ID)
    vessel_id = Whole(required=True, metadata={"description": "Whose it was.", "examples": [1]})
    recorded_at = Timestamp(required=True, metadata={"description": "When it was taken."})


class StreamHelloSchema(Schema):
    """Event `hello`: the first. Its id is `cursor`, unless the fleet as it is comes first."""

    cursor = String(required=True, metadata={"description": "Where it begins.", "examples": [CURSOR_EXAMPLE]})
    now = Timestamp(required=True, metadata={"description": "The service's time."})
    heartbeat_s = Whole(
        required=True,
        metadata={"description": "A heartbeat comes each so many seconds.", "examples": [20]},
    )
    filters = Dict(
        keys=String(),
        values=String(),
        required=True,
        metadata={"description": "The filters, as they were asked for.", "examples": [{"kind": "cargo"}]},
    )
    max_rate_s = Whole(
        required=True,
        allow_none=True,
        metadata={"description": "`max_rate` as it was asked for, null for all.", "examples": [5]},
    )
    snapshot = Boolean(
        required=True,
        metadata={
            "description": "Whether events `vessel` come next, and then `live`. Their data is a Feature as "
            "in the fleet.",
            "examples": [False],
        },
    )


class StreamLiveSchema(Schema):
    """Event `live`: the fleet as it is has been told, and what comes now is what happens after it."""

    cursor = String(required=True, metadata={"examples": [CURSOR_EXAMPLE]})
    now = Timestamp(required=True, metadata={"description": "The service's time."})


class StreamHeartbeatSchema(Schema):
    """Event `heartbeat`: all is well, also where nothing happens."""

    now = Timestamp(required=True, allow_none=True, metadata={"description": "The service's time."})
    as_of = Timestamp(
        required=True,
        allow_none=True,
        metadata={
            "description": "All that was stored by then, and that the key may see by then, has been told. "
            "Where it stands still, the service has lost its database. null where the stream has only begun."
        },
    )
    newest_received_at = Timestamp(
        required=True,
        allow_none=True,
        metadata={
            "description": "When the newest fix came in that is followed; null where there is none. Where it "
            "stands still, nothing comes from the vessels."
        },
    )


class StreamResetSchema(Schema):
    """Event `reset`: something is lost, and the stream ends. Read the fleet anew, or go on from `oldest`."""

    reason = String(
        required=True,
        validate=OneOf(["cursor_expired", "cursor_unknown"]),
        metadata={
            "description": "What came behind the last id was removed, or the id is none of this service, "
            "key and filters."
        },
    )
    oldest = String(
        required=True,
        metadata={
            "description": "The cursor that goes on with the oldest that is kept; its id, too.",
            "examples": [CURSOR_EXAMPLE],
        },
    )
    oldest_at = Timestamp(
        required=True,
        allow_none=True,
        metadata={"description": "From when on all is kept; null where nothing was removed."},
    )


class StreamByeSchema(Schema):
    """Event `bye`: the stream ends, and nothing is lost. Its id is `cursor`."""

    reason = String(
        required=True,
        validate=OneOf(["rotation", "shutdown", "key_revoked", "key_expired", "key_changed"]),
        metadata={
            "description": "`rotation` and `shutdown`: connect again, with `Last-Event-ID`. `key_changed`: "
            "as well, the key shows otherwise now. `key_revoked` and `key_expired`: the key holds no more."
        },
    )
    cursor = String(required=True, metadata={"examples": [CURSOR_EXAMPLE]})


ITEMS: dict[str, type[Schema]] = {
    "PositionUpsert": PositionUpsertSchema,
    "PositionDelete": PositionDeleteSchema,
}
COMPONENTS: dict[str, type[Schema]] = {
    **ITEMS,
    "StreamHello": StreamHelloSchema,
    "StreamLive": StreamLiveSchema,
    "StreamHeartbeat": StreamHeartbeatSchema,
    "StreamReset": StreamResetSchema,
    "StreamBye": StreamByeSchema,
}
"""What stands in a list or a stream, for the document."""

STREAM = {
    "type": "string",
    "description": "Server-sent events (WHATWG HTML, 9.2), each with one line of JSON as its data: `hello` "
    "(`StreamHello`), then `vessel` (`VesselFeature`) and `live` (`StreamLive`) where the fleet was asked "
    "for, `position` (`PositionUpsert` or `PositionDelete`), `heartbeat` (`StreamHeartbeat`), and at the end "
    "`bye` (`StreamBye`) or `reset` (`StreamReset`). Pass over those that you do not know.",
    # OpenAPI 3.1 has no word for it; whoever makes clients from the document finds the types all the same.
    "x-events": {
        name: [{"$ref": f"#/components/schemas/{schema}"} for schema in schemas]
        for name, schemas in {
            "hello": ["StreamHello"],
            "vessel": ["VesselFeature"],
            "live": ["StreamLive"],
            "position": [*ITEMS],
            "heartbeat": ["StreamHeartbeat"],
            "reset": ["StreamReset"],
            "bye": ["StreamBye"],
        }.items()
    },
}
"""What a stream is, for the document, which has no words for its events."""


class FeedPageSchema(Schema):
    """A stretch of what has happened to fixes, in the order in which it did."""

    items = List(
        Raw(
            metadata={
                "oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in ITEMS],
                "discriminator": {
                    "propertyName": "op",
                    "mapping": {
                        "upsert": "#/components/schemas/PositionUpsert",
                        "delete": "#/components/schemas/PositionDelete",
                    },
                },
            }
        ),
        required=True,
        metadata={"description": "What has happened behind the cursor; empty where nothing has."},
    )
    next = String(
        required=True,
        metadata={
            "description": "Go on from here, also where `items` is empty: keep it once the items are kept.",
            "examples": [CURSOR_EXAMPLE],
        },
    )
    has_more = Boolean(
        required=True,
        metadata={
            "description": "true: there is more by now, ask again at once (a filter may pass over many, so "
            "`items` may be empty all the same). false: that was all."
        },
    )
    now = Timestamp(required=True, metadata={"description": "The service's time at this answer."})


def page_text(page: FeedPage, following: str) -> bytes:
    """Return an answer as JSON; ``following`` is the cursor behind it."""
    more = "true" if page.has_more else "false"
    tail = f'],"next":"{following}","has_more":{more},"now":"{rfc3339(page.moment)}"}}'
    return f'{{"items":[{page.items}{tail}'.encode()
