"""The peer: what a team would write instead, with FastAPI, Pydantic 2, uvicorn and asyncpg.

It does the service's job on tables of its own (`peer.sql`), in the way that the documentation of its
libraries shows: a connection pool of asyncpg's default size, a dependency that authenticates, models that
validate and render, one transaction a request, the answer after the commit. Signatures are computed by
the very functions that the service uses, so that neither wins there. It is spared what the service does
besides: rate limits, request ids, metrics, and the lock that lets numbers become visible in their order.

    PEER_DATABASE_URL=... PEER_MASTER_KEY=... uvicorn tests.benchmarks.peer:app --no-access-log
"""

import base64
import os
import re
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isclose
from typing import Annotated, Any, Literal, Self

import asyncpg
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from harbor_api.domain import signatures

_MOTION = ("lat", "lon", "sog", "cog", "heading", "nav_status", "accuracy_m", "battery_v")
_NAMES = ("vessel_id", "recorded_at", "tracker_id", "received_at", *_MOTION)
_TYPES = ("int4", "timestamptz", "int4", "timestamptz", "float8", "float8", "float4", "float4", "float4",
          "int2", "float4", "float4")  # fmt: skip
_COLUMNS = ", ".join(_NAMES)
_PLACES = ", ".join(f"${place}" for place, _ in enumerate(_NAMES, 1))
_ARRAYS = ", ".join(f"${place}::{type_}[]" for place, type_ in enumerate(_TYPES, 1))

_FIND = """
SELECT generation, previous_valid_until, disabled_at, starts_at, vessel_id
FROM trackers JOIN assignments ON assignments.tracker_id = trackers.id
WHERE trackers.id = $1
ORDER BY starts_at
"""
_STORE = f"""
INSERT INTO positions ({_COLUMNS}) VALUES ({_PLACES})
ON CONFLICT DO NOTHING
RETURNING recorded_at, seq
"""
_STORE_ALL = f"""
INSERT INTO positions ({_COLUMNS})
SELECT {_COLUMNS} FROM unnest({_ARRAYS}) AS fix ({_COLUMNS})
ON CONFLICT DO NOTHING
RETURNING recorded_at, seq
"""
_MOVE = f"""
INSERT INTO latest_positions AS latest ({_COLUMNS}, seq) VALUES ({_PLACES}, ${len(_NAMES) + 1})
ON CONFLICT (vessel_id) DO UPDATE
SET ({_COLUMNS}, seq) = ({", ".join(f"excluded.{name}" for name in _NAMES)}, excluded.seq)
WHERE (excluded.recorded_at, excluded.tracker_id) > (latest.recorded_at, latest.tracker_id)
RETURNING recorded_at
"""
_LATEST = "SELECT recorded_at FROM latest_positions WHERE vessel_id = ANY ($1) AND tracker_id = $2"
_EARLIER = f"""
SELECT recorded_at, {", ".join(_MOTION)} FROM positions
WHERE vessel_id = ANY ($1) AND tracker_id = $2 AND recorded_at = ANY ($3)
"""
_QUARANTINE = """
INSERT INTO quarantine (vessel_id, recorded_at, tracker_id, received_at, reason, fix)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
"""


class Fix(BaseModel):
    """One fix; what AIS says for "not available" becomes null."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    recorded_at: Annotated[AwareDatetime, Field(strict=False)]
    lat: Annotated[float, Field(ge=-90, le=90)]
    lon: Annotated[float, Field(ge=-180, le=180)]
    sog: Annotated[float | None, Field(ge=0, le=102.3)] = None
    cog: Annotated[float | None, Field(ge=0, le=360)] = None
    heading: Annotated[float | None, Field(ge=0, le=511)] = None
    nav_status: Annotated[int | None, Field(ge=0, le=15)] = None
    accuracy_m: Annotated[float | None, Field(ge=0, le=1_000_000)] = None
    battery_v: Annotated[float | None, Field(ge=0, le=1000)] = None

    @model_validator(mode="after")
    def _drop_not_available(self) -> Self:
        if self.sog == 102.3:
            self.sog = None
        if self.cog == 360:
            self.cog = None
        if self.nav_status == 15:
            self.nav_status = None
        if self.heading is not None and self.heading >= 360:
            if self.heading not in {360, 511}:
                raise ValueError("heading must be from 0 to 360, or 511 for not available")
            self.heading = 0 if self.heading == 360 else None
        return self


class Batch(BaseModel):
    """Up to a thousand fixes, each judged by itself."""

    model_config = ConfigDict(extra="forbid")

    fixes: Annotated[list[Any], Field(min_length=1, max_length=1000)]


class Verdict(BaseModel):
    """What became of a fix."""

    verdict: Literal["stored", "duplicate", "quarantined", "invalid"]
    latest: bool = False
    differs: bool | None = None
    reason: str | None = None
    errors: list[str] | None = None


class Verdicts(BaseModel):
    """What became of each fix of a batch, in order."""

    verdicts: list[Verdict]


@dataclass(frozen=True, slots=True)
class Tracker:
    """Who signed, and for which vessels since when."""

    number: int
    starts: list[datetime]
    vessels: list[int]

    def vessel_at(self, moment: datetime) -> int:
        return self.vessels[max(0, bisect_right(self.starts, moment) - 1)]


_STATUS = {"stored": 201, "duplicate": 200, "quarantined": 202}
_FIXES = TypeAdapter(list[Fix])
_FUTURE_TOLERANCE = timedelta(minutes=5)
_TOLERANCE_S = 300
_MESSAGE_ID = re.compile(r"(trk_([0-9]{4,9}))-[A-Za-z0-9_-]{1,64}", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_MASTER_KEY = base64.b64decode(os.environ.get("PEER_MASTER_KEY", ""))

Row = tuple[Any, ...]
Store = Callable[[Any, Sequence[Row]], Awaitable[Sequence[Mapping[str, Any]]]]


@asynccontextmanager
async def lifespan(application: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["PEER_DATABASE_URL"], command_timeout=5) as pool:
        application.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


async def signing_tracker(
    request: Request,
    webhook_id: Annotated[str, Header()],
    webhook_timestamp: Annotated[str, Header()],
    webhook_signature: Annotated[str, Header()],
) -> Tracker:
    """Return the tracker that signed the raw body."""
    now = datetime.now(UTC)
    identity = _MESSAGE_ID.fullmatch(webhook_id)
    if identity is None or not _TIMESTAMP.fullmatch(webhook_timestamp):
        raise HTTPException(401, "A webhook header is malformed")
    if abs(int(webhook_timestamp) - now.timestamp()) > _TOLERANCE_S:
        raise HTTPException(401, "webhook-timestamp is too far away from the server's clock")
    rows = await request.app.state.pool.fetch(_FIND, int(identity[2]))
    generations = [rows[0]["generation"]] if rows else [0]
    if rows and rows[0]["previous_valid_until"] is not None and now < rows[0]["previous_valid_until"]:
        generations.append(rows[0]["generation"] - 1)
    body = await request.body()
    signed = [
        signatures.verify(
            signatures.derive_secret(_MASTER_KEY, identity[1], generation),
            webhook_id,
            webhook_timestamp,
            body,
            webhook_signature,
        )
        for generation in generations
    ]
    if not rows or not any(signed) or rows[0]["disabled_at"] is not None:
        raise HTTPException(401, "No signature fits the headers and the body as they arrived")
    return Tracker(int(identity[2]), [row["starts_at"] for row in rows], [row["vessel_id"] for row in rows])


Signed = Annotated[Tracker, Depends(signing_tracker)]


@app.post("/api/v1/positions", response_model_exclude_none=True)
async def post_position(request: Request, response: Response, tracker: Signed, fix: Fix) -> Verdict:
    [verdict] = await _accept(request.app.state.pool, tracker, [fix], _store_each)
    response.status_code = _STATUS[verdict.verdict]
    return verdict


@app.post("/api/v1/positions/batch/executemany", response_model_exclude_none=True)
async def post_batch(request: Request, tracker: Signed, batch: Batch) -> Verdicts:
    return await _judge(request.app.state.pool, tracker, batch, _store_many)


@app.post("/api/v1/positions/batch/unnest", response_model_exclude_none=True)
async def post_batch_unnested(request: Request, tracker: Signed, batch: Batch) -> Verdicts:
    return await _judge(request.app.state.pool, tracker, batch, _store_unnested)


async def _store_each(connection: Any, rows: Sequence[Row]) -> Sequence[Mapping[str, Any]]:
    return [stored for row in rows if (stored := await connection.fetchrow(_STORE, *row))]


async def _store_many(connection: Any, rows: Sequence[Row]) -> Sequence[Mapping[str, Any]]:
    # executemany(), which drops what it returns, and fetchmany() are one pipeline and as fast.
    stored: Sequence[Mapping[str, Any]] = await connection.fetchmany(_STORE, rows)
    return stored


async def _store_unnested(connection: Any, rows: Sequence[Row]) -> Sequence[Mapping[str, Any]]:
    stored: Sequence[Mapping[str, Any]] = await connection.fetch(_STORE_ALL, *zip(*rows, strict=True))
    return stored


async def _judge(pool: Any, tracker: Tracker, batch: Batch, store: Store) -> Verdicts:
    """Accept what is valid; a fix that is not never blocks the others."""
    try:
        return Verdicts(verdicts=await _accept(pool, tracker, _FIXES.validate_python(batch.fixes), store))
    except ValidationError:
        judged = [_fix_or_errors(item) for item in batch.fixes]
    valid = [fix for fix in judged if isinstance(fix, Fix)]
    verdicts = iter(await _accept(pool, tracker, valid, store))
    return Verdicts(verdicts=[next(verdicts) if isinstance(each, Fix) else each for each in judged])


def _fix_or_errors(item: object) -> Fix | Verdict:
    try:
        return Fix.model_validate(item)
    except ValidationError as error:
        return Verdict(verdict="invalid", errors=[each["msg"] for each in error.errors()])


async def _accept(pool: Any, tracker: Tracker, fixes: Sequence[Fix], store: Store) -> list[Verdict]:
    """Store each fix once, move the latest position forward, and tell what happened once it is durable."""
    now = datetime.now(UTC)
    rows: dict[datetime, Row] = {}
    doubts = [_doubt(fix, now) for fix in fixes]
    for fix, doubt in zip(fixes, doubts, strict=True):
        if doubt is None:
            rows.setdefault(fix.recorded_at, _row(tracker, fix, now))
    async with pool.acquire() as connection, connection.transaction():
        for fix, doubt in zip(fixes, doubts, strict=True):
            if doubt is not None:
                await _quarantine(connection, tracker, fix, now, doubt)
        stored = await store(connection, [*rows.values()])
        numbers = {each["recorded_at"]: each["seq"] for each in stored}
        newest = {rows[time][0]: time for time in sorted(numbers)}
        latest = {await connection.fetchval(_MOVE, *rows[time], numbers[time]) for time in newest.values()}
        repeated = [time for time in rows if time not in numbers]
        earlier = {}
        if len(numbers) < len(fixes) - sum(doubt is not None for doubt in doubts):
            found = await connection.fetch(_EARLIER, tracker.vessels, tracker.number, repeated)
            earlier = {each["recorded_at"]: tuple(each)[1:] for each in found}
            latest = {each[0] for each in await connection.fetch(_LATEST, tracker.vessels, tracker.number)}
    verdicts = []
    for fix, doubt in zip(fixes, doubts, strict=True):
        time = fix.recorded_at
        if doubt is not None:
            verdicts.append(Verdict(verdict="quarantined", reason=doubt))
        elif numbers.pop(time, None) is not None:
            verdicts.append(Verdict(verdict="stored", latest=time in latest))
        else:
            differs = not _alike(_row(tracker, fix, now)[4:], earlier.get(time, rows[time][4:]))
            verdicts.append(Verdict(verdict="duplicate", latest=time in latest, differs=differs))
    return verdicts


def _row(tracker: Tracker, fix: Fix, now: datetime) -> Row:
    return (
        tracker.vessel_at(fix.recorded_at),
        fix.recorded_at,
        tracker.number,
        now,
        fix.lat,
        fix.lon,
        fix.sog,
        fix.cog,
        fix.heading,
        fix.nav_status,
        fix.accuracy_m,
        fix.battery_v,
    )


def _alike(one: Row, other: Row) -> bool:
    # Most measures are kept in four bytes.
    pairs = zip(one, other, strict=True)
    return all(
        a is b is None or (a is not None and b is not None and isclose(a, b, rel_tol=1e-6)) for a, b in pairs
    )


def _doubt(fix: Fix, now: datetime) -> str | None:
    if fix.lat == 0 and fix.lon == 0:
        return "null_island"
    return "future" if fix.recorded_at - now > _FUTURE_TOLERANCE else None


async def _quarantine(connection: Any, tracker: Tracker, fix: Fix, now: datetime, reason: str) -> None:
    values = fix.model_dump_json(exclude={"recorded_at"}, exclude_none=True)
    vessel = tracker.vessel_at(fix.recorded_at)
    await connection.execute(_QUARANTINE, vessel, fix.recorded_at, tracker.number, now, reason, values)
