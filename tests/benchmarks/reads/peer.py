"""The peer's reads: the fleet, a page of history, a track and the fleet as it was.

Written like its ingest (`../peer.py`), as the documentation of FastAPI, Pydantic and asyncpg shows it: a
dependency that looks the key up, one query a request, models that are filled from its rows and rendered
by Pydantic in one go, GZipMiddleware as it comes. A body is rendered to be tagged, as nothing else that is
stored says whether anything has changed, its vessels' staleness included; then a 304 saves the sending.

It is spared what the service does besides: rate limits, request ids, metrics, one committed order for all
that a delayed key sees, steps in time for a coarse one, and jumps in a track.

    PEER_DATABASE_URL=... uvicorn tests.benchmarks.reads.peer:app --no-access-log
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AwareDatetime, BaseModel
from tests.benchmarks.peer import lifespan

_DETAILS = ("name", "imo", "mmsi", "call_sign", "flag", "kind", "length_m", "beam_m", "draught_m",
            "max_speed_kn", "retired_at")  # fmt: skip
_MEASURES = ("recorded_at", "received_at", "sog", "cog", "heading", "nav_status", "accuracy_m")
_STALE_AFTER = timedelta(minutes=15)
_GEOJSON = "application/geo+json"


def _columns(table: str, names: Sequence[str]) -> str:
    return ", ".join(f"{table}.{name}" for name in names)


_KEY = """
SELECT id, scopes, all_vessels, delay_s, coordinate_decimals FROM api_keys
WHERE sha256 = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
_SHOWN = f"""
SELECT vessels.id, {_columns("vessels", _DETAILS)}, {_columns("latest", _MEASURES)},
       latest.lat, latest.lon
FROM vessels
"""
_GRANTED = "JOIN grants ON grants.vessel_id = vessels.id AND grants.api_key_id = $1"
_NOW = "LEFT JOIN latest_positions AS latest ON latest.vessel_id = vessels.id"
_IN_SERVICE = "WHERE vessels.retired_at IS NULL ORDER BY vessels.id"
# Goes down the primary key once a vessel, where DISTINCT ON would read all that the fleet has ever sent.
_BEFORE = """
LEFT JOIN LATERAL (
    SELECT * FROM positions WHERE vessel_id = vessels.id AND recorded_at <= $2
    ORDER BY recorded_at DESC, tracker_id DESC LIMIT 1
) AS latest ON true
"""
_AFTER = """
LEFT JOIN LATERAL (
    SELECT recorded_at, lat, lon FROM positions WHERE vessel_id = vessels.id AND recorded_at > $2
    ORDER BY recorded_at, tracker_id LIMIT 1
) AS next ON true
"""
_AS_OF = _SHOWN.replace("FROM vessels", ", next.recorded_at AS next_at, next.lat AS next_lat, "
                        "next.lon AS next_lon FROM vessels")  # fmt: skip
_IS_SEEN = """
SELECT EXISTS (SELECT FROM vessels WHERE id = $1)
   AND ($2 OR EXISTS (SELECT FROM grants WHERE vessel_id = $1 AND api_key_id = $3))
"""
_OLDEST = "SELECT min(recorded_at) FROM positions WHERE vessel_id = $1"
_PAGE = f"""
SELECT tracker_id, {", ".join(_MEASURES)}, lat, lon FROM positions
WHERE vessel_id = $1 AND recorded_at >= $2 AND recorded_at < $3 AND (recorded_at, tracker_id) > ($4, $5)
ORDER BY recorded_at, tracker_id LIMIT $6
"""
_FEED = f"""
SELECT seq, vessel_id, tracker_id, {", ".join(_MEASURES)}, lat, lon FROM positions
WHERE seq > $1 AND ($4 OR vessel_id IN (SELECT vessel_id FROM grants WHERE api_key_id = $3))
ORDER BY seq LIMIT $2
"""
_TRACK = """
SELECT recorded_at, lon, lat FROM positions
WHERE vessel_id = $1 AND recorded_at >= $2 AND recorded_at < $3
ORDER BY recorded_at, tracker_id LIMIT 100001
"""


class Point(BaseModel):
    """Where something is."""

    type: Literal["Point"] = "Point"
    coordinates: tuple[float, float]


class Measures(BaseModel):
    """What a fix says besides the place."""

    recorded_at: datetime | None
    received_at: datetime | None
    sog: float | None
    cog: float | None
    heading: float | None
    nav_status: int | None
    accuracy_m: float | None


class Vessel(Measures):
    """What is known of a vessel and of its latest fix."""

    name: str
    imo: str | None
    mmsi: str | None
    call_sign: str | None
    flag: str | None
    kind: str | None
    length_m: float | None
    beam_m: float | None
    draught_m: float | None
    max_speed_kn: float | None
    retired_at: datetime | None
    stale: bool
    stale_at: datetime | None


class PastVessel(Vessel):
    """A vessel as it was, and how that is known."""

    basis: Literal["measured", "interpolated", "last_known"] | None
    between: tuple[datetime, datetime] | None


class Feature(BaseModel):
    """A vessel on the map."""

    type: Literal["Feature"] = "Feature"
    id: int
    geometry: Point | None
    properties: Vessel


class PastFeature(Feature):
    """A vessel on the map of then."""

    properties: PastVessel


class Fleet(BaseModel):
    """The fleet on the map."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: list[Feature]


class PastFleet(BaseModel):
    """The fleet on the map of then."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    as_of: datetime
    features: list[PastFeature]


class Position(Measures):
    """A fix of the past."""

    lat: float
    lon: float


class Links(BaseModel):
    """Where to read on."""

    next: str | None


class Page(BaseModel):
    """A page of history."""

    vessel_id: int
    available_from: datetime | None
    positions: list[Position]
    links: Links


class Item(Measures):
    """A fix that was stored."""

    op: Literal["upsert"] = "upsert"
    id: str
    vessel_id: int
    lat: float
    lon: float


class Feed(BaseModel):
    """What was stored behind a number."""

    items: list[Item]
    next: int
    has_more: bool
    now: datetime


class LineString(BaseModel):
    """Where something went."""

    type: Literal["LineString"] = "LineString"
    coordinates: list[tuple[float, float]]


class Part(BaseModel):
    """What a part of a track is."""

    kind: Literal["track", "gap"]
    begin: datetime
    end: datetime
    points: int
    coordTimes: list[datetime]  # noqa: N815 - as toGeoJSON names it


class TrackFeature(BaseModel):
    """A part of a track."""

    type: Literal["Feature"] = "Feature"
    geometry: LineString | Point
    properties: Part


class Track(BaseModel):
    """A vessel's track, in parts."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    vessel_id: int
    points: int
    features: list[TrackFeature]


app = FastAPI(lifespan=lifespan)
app.add_middleware(GZipMiddleware)
_bearer = HTTPBearer()


async def partner(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials, Depends(_bearer)]
) -> Mapping[str, Any]:
    """Return whose key this is, which has to be one that may read."""
    presented = hashlib.sha256(credentials.credentials.encode()).digest()
    key: Mapping[str, Any] | None = await request.app.state.pool.fetchrow(_KEY, presented)
    if key is None:
        raise HTTPException(401, "Nobody's key")
    if "vessels:read" not in key["scopes"]:
        raise HTTPException(403, "The key may not read")
    return key


Key = Annotated[Mapping[str, Any], Depends(partner)]


@app.get("/api/v1/vessels")
async def list_vessels(
    request: Request,
    key: Key,
    as_of: Annotated[AwareDatetime | None, Query()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Return the fleet, as it is or as it was at a moment."""
    now = datetime.now(UTC) - timedelta(seconds=key["delay_s"])
    who: list[Any] = [] if key["all_vessels"] else [key["id"]]
    granted = "" if key["all_vessels"] else _GRANTED
    if as_of is not None and as_of > now:
        raise HTTPException(400, "as_of lies in the future")
    if as_of is None and not key["delay_s"]:
        rows = await request.app.state.pool.fetch(f"{_SHOWN} {granted} {_NOW} {_IN_SERVICE}", *who)
    else:
        # $1 is the key's id, which one for all vessels has no use for.
        statement = f"{_SHOWN if as_of is None else _AS_OF} {granted} {_BEFORE}"
        statement += f"{'' if as_of is None else _AFTER} {_IN_SERVICE}"
        statement = statement if who else statement.replace("$2", "$1")
        rows = await request.app.state.pool.fetch(statement, *who, as_of or now)
    decimals = 6 if key["coordinate_decimals"] is None else key["coordinate_decimals"]
    if as_of is not None:
        past = [_past_feature(row, decimals, as_of) for row in rows]
        return _tagged(PastFleet(as_of=as_of, features=past), if_none_match)
    return _tagged(Fleet(features=[_feature(row, decimals, now) for row in rows]), if_none_match)


@app.get("/api/v1/vessels/{vessel_id}/positions")
async def list_positions(
    request: Request,
    key: Key,
    vessel_id: int,
    begin: Annotated[AwareDatetime, Query(alias="from")],
    end: Annotated[AwareDatetime, Query(alias="to")],
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    cursor: str | None = None,
) -> Page:
    """Return a page of a vessel's history."""
    pool = request.app.state.pool
    await _demand_seen(pool, key, vessel_id)
    time, tracker = _read(cursor) if cursor else (begin, 0)
    rows = await pool.fetch(_PAGE, vessel_id, begin, end, time, tracker, limit + 1)
    positions = [Position(**row) for row in rows[:limit]]
    onward = None
    if len(rows) > limit:
        last = f"{rows[limit - 1]['recorded_at'].isoformat()} {rows[limit - 1]['tracker_id']}"
        onward = str(
            request.url.include_query_params(cursor=base64.urlsafe_b64encode(last.encode()).decode())
        )
    oldest = await pool.fetchval(_OLDEST, vessel_id)
    return Page(vessel_id=vessel_id, available_from=oldest, positions=positions, links=Links(next=onward))


@app.get("/api/v1/vessels/{vessel_id}/track")
async def get_track(
    request: Request,
    key: Key,
    vessel_id: int,
    begin: Annotated[AwareDatetime, Query(alias="from")],
    end: Annotated[AwareDatetime, Query(alias="to")],
    gap: Annotated[int, Query(ge=1)] = 1800,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Return a vessel's track as GeoJSON, parted where nothing was heard for longer than the gap."""
    pool = request.app.state.pool
    await _demand_seen(pool, key, vessel_id)
    rows = await pool.fetch(_TRACK, vessel_id, begin, end)
    if len(rows) > 100_000:
        raise HTTPException(400, "The track is too long")
    features = [*_parts(rows, timedelta(seconds=gap))]
    return _tagged(Track(vessel_id=vessel_id, points=len(rows), features=features), if_none_match)


@app.get("/api/v1/positions")
async def follow(
    request: Request, key: Key, after: int, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000
) -> Feed:
    """Return what was stored behind a number, which skips what is committed late."""
    arguments = (after, limit + 1, key["id"], key["all_vessels"])
    rows = await request.app.state.pool.fetch(_FEED, *arguments)
    items = [
        Item(id=f"{row['vessel_id']}-{row['tracker_id']}-{row['recorded_at'].timestamp()}", **row)
        for row in rows[:limit]
    ]
    end = rows[:limit][-1]["seq"] if rows else after
    return Feed(items=items, next=end, has_more=len(rows) > limit, now=datetime.now(UTC))


def _parts(rows: Sequence[Mapping[str, Any]], gap: timedelta) -> Iterator[TrackFeature]:
    times = [row["recorded_at"] for row in rows]
    cuts = [index for index, (one, other) in enumerate(pairwise(times), 1) if other - one > gap]
    for index, (first, last) in enumerate(pairwise([0, *cuts, len(rows)])):
        if index:
            yield _part("gap", rows[first - 1 : first + 1])
        if first < last:
            yield _part("track", rows[first:last])


def _part(kind: Literal["track", "gap"], rows: Sequence[Mapping[str, Any]]) -> TrackFeature:
    coordinates = [(row["lon"], row["lat"]) for row in rows]
    times = [row["recorded_at"] for row in rows]
    one = len(rows) == 1
    return TrackFeature(
        geometry=Point(coordinates=coordinates[0]) if one else LineString(coordinates=coordinates),
        properties=Part(kind=kind, begin=times[0], end=times[-1], points=len(rows), coordTimes=times),
    )


def _feature(row: Mapping[str, Any], decimals: int, now: datetime) -> Feature:
    return Feature(
        id=row["id"], geometry=_point(row, decimals), properties=Vessel(**row, **_staleness(row, now))
    )


def _past_feature(row: Mapping[str, Any], decimals: int, moment: datetime) -> PastFeature:
    before, after = row["recorded_at"], row["next_at"]
    basis: str | None = "last_known" if before else None
    between, geometry = None, _point(row, decimals)
    if before is None:
        pass
    elif before == moment:
        basis = "measured"
    elif after is not None and after - before <= timedelta(minutes=30):
        share = (moment - before) / (after - before)
        east = (row["next_lon"] - row["lon"] + 180) % 360 - 180
        lon = (row["lon"] + share * east + 180) % 360 - 180
        lat = row["lat"] + share * (row["next_lat"] - row["lat"])
        basis, between = "interpolated", (before, after)
        geometry = Point(coordinates=(round(lon, decimals), round(lat, decimals)))
    properties = PastVessel(**row, **_staleness(row, moment), basis=basis, between=between)
    return PastFeature(id=row["id"], geometry=geometry, properties=properties)


def _point(row: Mapping[str, Any], decimals: int) -> Point | None:
    if row["recorded_at"] is None:
        return None
    return Point(coordinates=(round(row["lon"], decimals), round(row["lat"], decimals)))


def _staleness(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    stale_at = row["recorded_at"] and row["recorded_at"] + _STALE_AFTER
    return {"stale": stale_at is None or stale_at <= now, "stale_at": stale_at}


def _tagged(model: BaseModel, if_none_match: str | None) -> Response:
    body = model.model_dump_json().encode()
    headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "Cache-Control": "private, no-cache"}
    if if_none_match == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=_GEOJSON, headers=headers)


async def _demand_seen(pool: Any, key: Mapping[str, Any], vessel_id: int) -> None:
    if not await pool.fetchval(_IS_SEEN, vessel_id, key["all_vessels"], key["id"]):
        raise HTTPException(404, "There is no such vessel")


def _read(cursor: str) -> tuple[datetime, int]:
    try:
        time, _, tracker = base64.urlsafe_b64decode(cursor).decode().rpartition(" ")
        return datetime.fromisoformat(time), int(tracker)
    except ValueError:
        raise HTTPException(400, "The cursor is broken") from None
