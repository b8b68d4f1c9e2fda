"""Reads AIS positions from the CSV files that authorities publish.

Two layouts are known and told apart by their header line:

- the Danish Maritime Authority's (``# Timestamp,Type of mobile,MMSI,...``), day first, UTC, with
  texts for the navigational status and the type of ship;
- MarineCadastre's (``MMSI,BaseDateTime,LAT,LON,...``; NOAA, BOEM and the US Coast Guard), ISO times
  in UTC, with the numbers of ITU-R M.1371 for both.

Files are gigabytes long, so rows stream, one physical line at a time.
"""

import csv
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from harbor_api.domain.identifiers import is_imo_number
from harbor_api.domain.positions import MEASURE_DECIMALS

KINDS = frozenset(
    {
        "cargo",
        "diving",
        "dredger",
        "fishing",
        "hsc",
        "military",
        "other",
        "passenger",
        "pilot",
        "pleasure",
        "police",
        "sailing",
        "sar",
        "tanker",
        "tender",
        "tug",
    }
)


class UnknownLayoutError(ValueError):
    """The header is neither layout's; the message shows the header."""


@dataclass(frozen=True, slots=True)
class AisRow:
    """One position report of a ship, with None for what was not available.

    ``line`` counts from 1, the header's. ``recorded_at`` is aware, in UTC. ``lat`` and ``lon`` are
    WGS 84 degrees as the file has them: latitude 91 and longitude 181 say "no fix" (ITU-R M.1371)
    and are left for the service to judge, as are other numbers out of range. ``sog`` is in knots,
    ``cog`` and ``heading`` in degrees, ``nav_status`` 0 to 14. ``imo`` has a right check digit.
    ``ship_type`` and ``mobile_type`` are the file's own words, ``kind`` is one of ``KINDS``.
    """

    line: int
    mmsi: str
    recorded_at: datetime
    lat: float | None
    lon: float | None
    sog: float | None
    cog: float | None
    heading: float | None
    nav_status: int | None
    name: str | None
    imo: str | None
    call_sign: str | None
    ship_type: str | None
    mobile_type: str | None
    kind: str | None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A line that is no position of a ship, and why.

    Reasons by sender: ``base_station``, ``aid_to_navigation``, ``sar_aircraft``,
    ``distress_device``, ``associated_craft``, ``handheld_radio``, ``coast_station``,
    ``ship_group``, ``not_a_ship`` (a type of mobile that is unknown here), ``bad_mmsi``. Reasons by
    form: ``blank_line``, ``short_line``, ``garbled_line``, ``bad_time``, ``bad_number``.
    """

    line: int
    reason: str


class _SkipError(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read(source: str | os.PathLike[str] | BinaryIO) -> Iterator[AisRow | Skipped]:
    """Yield one item for each line after the header, in file order, in constant memory.

    ``source`` is a path or a binary stream, which stays open. Bytes that are not UTF-8 become
    U+FFFD. UnknownLayoutError at the first item if the header is neither layout's; OSError if the
    file cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as stream:
            yield from _read(stream)
    else:
        yield from _read(source)


def _read(stream: BinaryIO) -> Iterator[AisRow | Skipped]:
    header = stream.readline().decode("utf-8-sig", errors="replace").rstrip("\r\n")
    columns = [name.strip().lstrip("#").strip().lower() for name in _fields(header)]
    layout = _layout(columns, header)
    for line, raw in enumerate(stream, start=2):
        # Each physical line is parsed alone: no published field holds a line break, and one stray
        # quote then garbles its own line and not the rest of the file.
        fields = _fields(raw.decode("utf-8", errors="replace").rstrip("\r\n"))
        try:
            yield layout(line, _row(columns, fields))
        except _SkipError as skip:
            yield Skipped(line, skip.reason)


def _fields(line: str) -> list[str]:
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line]))
    except csv.Error:
        return []


def _row(columns: list[str], fields: list[str]) -> dict[str, str]:
    if len(fields) < len(columns):
        raise _SkipError("blank_line" if fields == [""] else "short_line")
    if len(fields) > len(columns):
        # An unquoted comma moved every later field by one: none of them can be believed.
        raise _SkipError("garbled_line")
    return dict(zip(columns, fields, strict=True))


def _layout(columns: list[str], header: str) -> Callable[[int, dict[str, str]], AisRow]:
    if {"timestamp", "type of mobile", "mmsi", "latitude", "longitude"} <= set(columns):
        return _danish
    if {"mmsi", "basedatetime", "lat", "lon"} <= set(columns):
        return _marine_cadastre
    raise UnknownLayoutError(
        "the header is neither the Danish Maritime Authority's "
        "(# Timestamp,Type of mobile,MMSI,...) nor MarineCadastre's "
        f"(MMSI,BaseDateTime,LAT,LON,...): {header[:200]!r}"
    )


def _danish(line: int, row: dict[str, str]) -> AisRow:
    mobile_type = _text(row["type of mobile"])
    if mobile_type is not None and mobile_type.lower() not in {"class a", "class b"}:
        raise _SkipError(_reason_by_mobile_type(mobile_type.lower()))
    ship_type = _text(row.get("ship type", ""))
    return AisRow(
        line=line,
        mmsi=_ship_mmsi(row["mmsi"]),
        recorded_at=_time(_DAY_FIRST, row["timestamp"], order=(3, 2, 1)),
        lat=_number(row["latitude"]),
        lon=_number(row["longitude"]),
        sog=_number(row.get("sog", ""), not_available=102.3),
        cog=_number(row.get("cog", ""), not_available=360.0),
        heading=_heading(row.get("heading", "")),
        nav_status=_nav_status(row.get("navigational status", "")),
        name=_text(row.get("name", "")),
        imo=_imo(row.get("imo", "")),
        call_sign=_text(row.get("callsign", "")),
        ship_type=ship_type,
        mobile_type=mobile_type,
        kind=_kind_of_text(ship_type),
    )


def _marine_cadastre(line: int, row: dict[str, str]) -> AisRow:
    ship_type = _text(row.get("vesseltype", ""))
    return AisRow(
        line=line,
        # No column tells what kind of station speaks, so that the form of the MMSI has to.
        mmsi=_ship_mmsi(row["mmsi"]),
        recorded_at=_time(_ISO, row["basedatetime"], order=(1, 2, 3)),
        lat=_number(row["lat"]),
        lon=_number(row["lon"]),
        sog=_number(row.get("sog", ""), not_available=102.3),
        cog=_number(row.get("cog", ""), not_available=360.0),
        heading=_heading(row.get("heading", "")),
        nav_status=_nav_status(row.get("status", "")),
        name=_text(row.get("vesselname", "")),
        imo=_imo(row.get("imo", "")),
        call_sign=_text(row.get("callsign", "")),
        ship_type=ship_type,
        mobile_type=_text(row.get("transceiverclass", "")),
        kind=_kind_of_number(ship_type),
    )


def _reason_by_mobile_type(mobile_type: str) -> str:
    if mobile_type.startswith("base station"):
        return "base_station"
    if mobile_type.startswith("aton"):
        return "aid_to_navigation"
    if "airborne" in mobile_type or "aircraft" in mobile_type:
        return "sar_aircraft"
    if any(word in mobile_type for word in ("sart", "overboard", "epirb", "transponder")):
        return "distress_device"
    return "not_a_ship"


# Forms of identities that are no ship's, from ITU-R M.585, annexes 1 and 2. Craft associated with
# a parent ship (98) are left out too: a partner asks for the ship, and her boats are not a fleet.
_NOT_SHIPS = (
    (re.compile(r"00[2-7][0-9]{6}"), "coast_station"),
    (re.compile(r"0[2-7][0-9]{7}"), "ship_group"),
    (re.compile(r"111[2-7][0-9]{5}"), "sar_aircraft"),
    (re.compile(r"8[2-7][0-9]{7}"), "handheld_radio"),
    (re.compile(r"97[024][0-9]{6}"), "distress_device"),
    (re.compile(r"98[2-7][0-9]{6}"), "associated_craft"),
    (re.compile(r"99[2-7][0-9]{6}"), "aid_to_navigation"),
)
# A ship's MMSI begins with the three digits of her flag (MID), which ITU hands out from 201 to 775.
_LOWEST_MID, _HIGHEST_MID = 201, 775


def _ship_mmsi(text: str) -> str:
    digits = text.strip()
    if not re.fullmatch(r"[0-9]{1,9}", digits):
        raise _SkipError("bad_mmsi")
    # Publishers keep the identity as a number, which loses the leading zeros of shore stations.
    mmsi = digits.zfill(9)
    for form, reason in _NOT_SHIPS:
        if form.fullmatch(mmsi):
            raise _SkipError(reason)
    if not _LOWEST_MID <= int(mmsi[:3]) <= _HIGHEST_MID:
        raise _SkipError("bad_mmsi")
    return mmsi


_DAY_FIRST = re.compile(r"([0-9]{2})/([0-9]{2})/([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2})")
_ISO = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})Z?")


def _time(form: re.Pattern[str], text: str, order: tuple[int, int, int]) -> datetime:
    """Read a UTC time; ``order`` gives the groups of year, month and day."""
    match = form.fullmatch(text.strip())
    if match is None:
        raise _SkipError("bad_time")
    year, month, day = (int(match[group]) for group in order)
    try:
        return datetime(year, month, day, int(match[4]), int(match[5]), int(match[6]), tzinfo=UTC)
    except ValueError:
        raise _SkipError("bad_time") from None


# Stricter than float(), which takes "nan", "1_0" and digits of other scripts.
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?|[+-]?\.[0-9]+")


def _number(text: str, not_available: float | None = None) -> float | None:
    cleaned = text.strip()
    if not cleaned or cleaned.lower() == "unknown":
        return None
    if not _NUMBER.fullmatch(cleaned):
        raise _SkipError("bad_number")
    value = float(cleaned)
    if not math.isfinite(value):
        raise _SkipError("bad_number")
    # Compared as the service would: 102.3 is not what every arithmetic makes of 1023 tenths.
    return None if not_available is not None and round(value, MEASURE_DECIMALS) == not_available else value


def _text(text: str) -> str | None:
    # AIS pads with "@"; control characters are damage, and no database takes a NUL.
    cleaned = "".join(c if c.isprintable() else " " for c in text).strip(" @")
    return None if not cleaned or cleaned.lower() in {"unknown", "undefined"} else cleaned


def _imo(text: str) -> str | None:
    number = text.strip().upper().removeprefix("IMO").strip()
    return number if is_imo_number(number) else None


def _heading(text: str) -> float | None:
    # 511 says "not available" and 360 to 510 mean nothing (ITU-R M.1371), yet transponders send them.
    # Such a heading is no reason to lose the position.
    value = _number(text)
    return value if value is not None and 0 <= value < 360 else None


# The Danish texts, which are those of ITU-R M.1371 table 45, in its order.
_NAV_STATUS = {
    "under way using engine": 0,
    "at anchor": 1,
    "not under command": 2,
    "restricted maneuverability": 3,
    "restricted manoeuverability": 3,
    "constrained by her draught": 4,
    "moored": 5,
    "aground": 6,
    "engaged in fishing": 7,
    "under way sailing": 8,
    "reserved for future amendment [hsc]": 9,
    "reserved for future amendment [wig]": 10,
    "power-driven vessel towing astern": 11,
    "power-driven vessel pushing ahead or towing alongside": 12,
    "reserved for future use": 13,
}


def _nav_status(text: str) -> int | None:
    """Return 0 to 14; None for 15 and for what is not understood.

    A position is worth more than its status, so that a strange status does not cost the row.
    """
    cleaned = text.strip().lower()
    if cleaned.isascii() and cleaned.isdigit():
        value = int(cleaned) if len(cleaned) <= 2 else 15
        return value if value < 15 else None
    if cleaned.startswith("ais-sart"):
        return 14
    return _NAV_STATUS.get(cleaned)


_KIND_BY_TEXT = {
    "cargo": "cargo",
    "diving": "diving",
    "dredging": "dredger",
    "fishing": "fishing",
    "hsc": "hsc",
    "law enforcement": "police",
    "military": "military",
    "passenger": "passenger",
    "pilot": "pilot",
    "pleasure": "pleasure",
    "port tender": "tender",
    "sailing": "sailing",
    "sar": "sar",
    "tanker": "tanker",
    "towing": "tug",
    "towing long/wide": "tug",
    "tug": "tug",
}


def _kind_of_text(ship_type: str | None) -> str | None:
    return None if ship_type is None else _KIND_BY_TEXT.get(ship_type.lower(), "other")


# ITU-R M.1371 table 53: some numbers stand alone, else the first digit is the category.
_KIND_BY_NUMBER = {
    30: "fishing",
    31: "tug",
    32: "tug",
    33: "dredger",
    34: "diving",
    35: "military",
    36: "sailing",
    37: "pleasure",
    50: "pilot",
    51: "sar",
    52: "tug",
    53: "tender",
    55: "police",
}
_KIND_BY_TENS = {4: "hsc", 6: "passenger", 7: "cargo", 8: "tanker"}


def _kind_of_number(ship_type: str | None) -> str | None:
    """Return the kind; None for 0, "not available".

    The US Coast Guard's own codes, from 1000, which some years of MarineCadastre hold, are "other".
    """
    if ship_type is None or not re.fullmatch(r"[0-9]{1,4}(\.0)?", ship_type):
        return None
    number = int(ship_type.removesuffix(".0"))
    if number == 0:
        return None
    return _KIND_BY_NUMBER.get(number) or _KIND_BY_TENS.get(number // 10, "other")
