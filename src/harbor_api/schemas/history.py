"""The history of a vessel: what is asked for, and how pages and whole windows look in each format."""

import csv
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import orjson
from marshmallow import Schema, validates_schema
from marshmallow.fields import List, Nested, String
from marshmallow.validate import OneOf, Range

from harbor_api.domain.history import MEMBERS, HistoryPage, RowForm, Window
from harbor_api.domain.times import rfc3339
from harbor_api.schemas.fields import Number, QueryWhole, Timestamp, Whole, demand_order
from harbor_api.schemas.formats import MEDIA_TYPES, format_of
from harbor_api.schemas.geojson import PointSchema
from harbor_api.schemas.gpx import GpxTrack
from harbor_api.schemas.paging import LinksSchema, sealed_cursor
from harbor_api.schemas.typed import QuerySchema

USUAL_LIMIT = 1_000
_MOST = 10_000
_TIME_EXAMPLE = "2026-01-02T03:04:05Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """Which stretch of a history, from ``since`` up to but without ``until``, and which page of it."""

    order: str
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None
    cursor: str | None = None
    format: str | None = None

    def window(self, vessel_id: int) -> Window:
        """Return the stretch that is asked for of a vessel's history."""
        return Window(
            vessel_id=vessel_id, since=self.since, until=self.until, descending=self.order == "desc"
        )

    def bound(self, vessel_id: int, name: str) -> dict[str, str]:
        """Return what all pages of a list have in common: the vessel, the window, the order, the format."""
        return {
            "vessel_id": str(vessel_id),
            "from": rfc3339(self.since) if self.since else "",
            "to": rfc3339(self.until) if self.until else "",
            "order": self.order,
            "format": name,
        }


class HistoryQuerySchema(QuerySchema):
    """Which stretch of a history, and how."""

    makes = HistoryQuery

    since = Timestamp(
        data_key="from",
        metadata={
            "description": "From this time on, by `recorded_at`. Left out: from the oldest fix on.",
            "examples": [_TIME_EXAMPLE],
        },
    )
    until = Timestamp(
        data_key="to",
        metadata={
            "description": "Up to but without this time: windows that adjoin have each fix once. Left out: "
            "to the newest fix.",
            "examples": ["2026-01-03T03:04:05Z"],
        },
    )
    order = String(
        load_default="asc",
        validate=OneOf(["asc", "desc"]),
        metadata={"description": "By time: oldest first, or newest first."},
    )
    limit = QueryWhole(
        validate=Range(1, _MOST),
        metadata={
            "description": f"At most so many fixes. Left out it is {USUAL_LIMIT:,} for JSON and GeoJSON; CSV "
            "and GPX hold the whole window then.",
            "examples": [USUAL_LIMIT],
        },
    )
    cursor = sealed_cursor()
    format = format_of("json", "geojson", "csv", "gpx")

    @validates_schema
    def _demand_window(self, data: Mapping[str, Any], **_: Any) -> None:
        demand_order(data.get("since"), data.get("until"))


class PastMotionSchema(Schema):
    """When a fix was taken, and how the vessel moved. What is not known is null."""

    recorded_at = Timestamp(
        required=True,
        metadata={
            "description": "When the tracker took it. A key with `coordinate_decimals` below 6 sees one fix "
            "in each step of time, at the beginning of the step.",
            "examples": ["2026-01-02T03:04:05.000000Z"],
        },
    )
    received_at = Timestamp(
        required=True,
        metadata={
            "description": "When it reached the service; later by hours where it was sent out of a buffer.",
            "examples": ["2026-01-02T03:04:06.251000Z"],
        },
    )
    sog = Number(
        required=True,
        allow_none=True,
        metadata={"description": "Speed over ground, knots.", "examples": [8.4]},
    )
    cog = Number(
        required=True,
        allow_none=True,
        metadata={"description": "Course over ground, degrees from true north.", "examples": [181.2]},
    )
    heading = Number(
        required=True, allow_none=True, metadata={"description": "True heading, degrees.", "examples": [180]}
    )
    nav_status = Whole(
        required=True,
        allow_none=True,
        validate=Range(0, 14),
        metadata={"description": "AIS navigational status.", "examples": [0]},
    )
    accuracy_m = Number(
        required=True,
        allow_none=True,
        metadata={"description": "Radius of the receiver's own doubt, metres.", "examples": [4]},
    )


class PastPositionSchema(PastMotionSchema):
    """A fix of a vessel's history."""

    lat = Number(
        required=True,
        validate=Range(-90, 90),
        metadata={"description": "Degrees, WGS 84, at most six decimals.", "examples": [59.9]},
    )
    lon = Number(
        required=True,
        validate=Range(-180, 180),
        metadata={"description": "Degrees, WGS 84, at most six decimals.", "examples": [10.7]},
    )


class _Whose(Schema):
    vessel_id = Whole(required=True, validate=Range(1, 2**31 - 1), metadata={"examples": [1]})
    available_from = Timestamp(
        required=True,
        allow_none=True,
        metadata={
            "description": "The time of the oldest fix that is kept of the vessel; null where there is none. "
            "What was asked for before it is not kept any more, or never was.",
            "examples": ["2025-06-01T00:00:10.000000Z"],
        },
    )
    links = Nested(LinksSchema, required=True)


class PositionPageSchema(_Whose):
    """A page of a vessel's history, in order of time."""

    positions = List(Nested(PastPositionSchema), required=True)


class PastPositionFeatureSchema(Schema):
    """A fix as a GeoJSON Feature."""

    type = String(required=True, validate=OneOf(["Feature"]))
    geometry = Nested(PointSchema, required=True)
    properties = Nested(PastMotionSchema, required=True)


class PositionFeaturePageSchema(_Whose):
    """A page of a vessel's history as a GeoJSON FeatureCollection, in order of time."""

    type = String(required=True, validate=OneOf(["FeatureCollection"]))
    features = List(Nested(PastPositionFeatureSchema), required=True)


def _object(names: tuple[str, ...]) -> str:
    """Return the form of a JSON object of some members of a fix."""
    times = {"recorded_at", "received_at"}
    members = (f'"{name}":"{{{name}}}"' if name in times else f'"{name}":{{{name}}}' for name in names)
    return "{{" + ",".join(members) + "}}"


class Writer(ABC):
    """Writes a stretch of a history: a head, the fixes of one page or several, and a tail."""

    form: ClassVar[RowForm]
    content_type: ClassVar[str]
    file_suffix: ClassVar[str | None] = None
    """That of a file that browsers save it as; None where they show it."""

    def __init__(self, vessel_id: int, first: HistoryPage) -> None:
        """Begin with the first page."""
        self.vessel_id = vessel_id
        self.first = first

    @abstractmethod
    def head(self) -> bytes: ...

    @abstractmethod
    def fixes(self, page: HistoryPage) -> bytes: ...

    @abstractmethod
    def tail(self, link: str | None) -> bytes:
        """Return the end; ``link`` is the address of the next page where there is one."""

    def whole(self, link: str | None) -> bytes:
        """Return an answer of one page."""
        return self.head() + self.fixes(self.first) + self.tail(link)


class JsonWriter(Writer):
    """A page as JSON. The text of its fixes is taken as it came."""

    form = RowForm(_object(MEMBERS), between=",")
    content_type = MEDIA_TYPES["json"]
    opening: ClassVar[str] = '"positions":['

    def head(self) -> bytes:
        since = self.first.available_from
        told = f'"{rfc3339(since)}"' if since else "null"
        return f'{{"vessel_id":{self.vessel_id},"available_from":{told},{self.opening}'.encode()

    def fixes(self, page: HistoryPage) -> bytes:
        return page.fixes.encode()

    def tail(self, link: str | None) -> bytes:
        return b'],"links":' + orjson.dumps({"next": link}) + b"}"


class GeoJsonWriter(JsonWriter):
    """A page as a GeoJSON FeatureCollection of Points."""

    form = RowForm(
        '{{"type":"Feature","geometry":{{"type":"Point","coordinates":[{lon},{lat}]}},"properties":'
        f"{_object(tuple(name for name in MEMBERS if name not in {'lat', 'lon'}))}}}}}",
        between=",",
    )
    content_type = MEDIA_TYPES["geojson"]
    opening = '"type":"FeatureCollection","features":['


class CsvWriter(Writer):
    """Comma-separated values as RFC 4180 has them, each row with the vessel that it is of."""

    form = RowForm(",".join(f"{{{name}}}" for name in MEMBERS), between="\r\n", null="")
    content_type = f"{MEDIA_TYPES['csv']}; charset=utf-8; header=present"
    file_suffix = "csv"

    def __init__(self, vessel_id: int, first: HistoryPage) -> None:
        super().__init__(vessel_id, first)
        self._whose = _csv_row(str(vessel_id), inert(first.name))

    def head(self) -> bytes:
        return f"{_csv_row('vessel_id', 'name', *MEMBERS)}\r\n".encode()

    def fixes(self, page: HistoryPage) -> bytes:
        if not page.fixes:
            return b""
        # No cell of a fix holds a line break.
        between = self.form.between
        return (f"{self._whose},{page.fixes.replace(between, f'{between}{self._whose},')}\r\n").encode()

    def tail(self, link: str | None) -> bytes:  # noqa: ARG002 - the header tells of it
        return b""


class GpxWriter(Writer):
    """A track in GPX 1.1, as it was recorded: not split where nothing is known between."""

    form = RowForm("{lat} {lon} {recorded_at}", between="\n")
    content_type = MEDIA_TYPES["gpx"]
    file_suffix = "gpx"

    def __init__(self, vessel_id: int, first: HistoryPage) -> None:
        super().__init__(vessel_id, first)
        self._track = GpxTrack()

    def head(self) -> bytes:
        return self._track.head(self.first.name)

    def fixes(self, page: HistoryPage) -> bytes:
        rows = (fix.split(" ") for fix in page.fixes.splitlines())
        return self._track.points((float(lat), float(lon), time) for lat, lon, time in rows)

    def tail(self, link: str | None) -> bytes:  # noqa: ARG002 - the header tells of it
        return self._track.tail()


WRITERS: Mapping[str, type[Writer]] = {
    "json": JsonWriter,
    "geojson": GeoJsonWriter,
    "csv": CsvWriter,
    "gpx": GpxWriter,
}
"""By the name of the format."""

# Where spreadsheets take what comes for a formula, also as East Asian keyboards write it: at the beginning
# of a cell, or behind blanks and quotes there. Where a comma is the decimal point a semicolon begins a cell.
_FORMULA = re.compile('(?:\\A|(?<=;))(?=[\t\r\n]|[\\s"]*[-=+@\uff1d\uff0b\uff0d\uff20])')


def inert(text: str) -> str:
    """Return a text that spreadsheets show and do not run: what may be a formula gets an apostrophe."""
    return _FORMULA.sub("'", text)


def _csv_row(*cells: str) -> str:
    row = io.StringIO(newline="")
    csv.writer(row, lineterminator="").writerow(cells)
    return row.getvalue()
