"""Vessels of the past as GeoJSON, rendered by hand: a moment of a fleet is thousands of them."""

from datetime import datetime
from typing import Any

import orjson

from harbor_api.domain.moments import VesselThen
from harbor_api.domain.vessels import COORDINATE_DECIMALS

_UTC = orjson.OPT_UTC_Z


def feature_text(one: VesselThen) -> bytes:
    """Return the JSON of a vessel as a GeoJSON Feature.

    Its members are those of the fleet as it is now, in the same order, and then by what its place is known.
    """
    properties = {
        "name": one.name,
        "imo": one.imo,
        "mmsi": one.mmsi,
        "call_sign": one.call_sign,
        "flag": one.flag,
        "kind": one.kind,
        "length_m": one.length_m,
        "beam_m": one.beam_m,
        "draught_m": one.draught_m,
        "max_speed_kn": one.max_speed_kn,
        "recorded_at": _time(one.recorded_at),
        "received_at": _time(one.received_at),
        "retired_at": _time(one.retired_at),
        "stale": one.stale,
        "stale_at": _time(one.stale_at),
        "sog": one.sog,
        "cog": one.cog,
        "heading": one.heading,
        "nav_status": one.nav_status,
        "accuracy_m": one.accuracy_m,
        "basis": one.basis,
        "between": one.between and [_time(each) for each in one.between],
    }
    feature = {"type": "Feature", "id": one.id, "geometry": _point(one), "properties": properties}
    return orjson.dumps(feature, option=_UTC)


def _point(one: VesselThen) -> dict[str, Any] | None:
    if one.lat is None or one.lon is None:
        return None
    # Minus zero, which arithmetic may leave, becomes 0.
    coordinates = [round(each, COORDINATE_DECIMALS) + 0.0 for each in (one.lon, one.lat)]
    return {"type": "Point", "coordinates": coordinates}


def _time(moment: datetime | None) -> datetime | orjson.Fragment | None:
    """Return a time for orjson to write as ``domain.times.rfc3339`` does, ten times as fast."""
    if moment is None or moment.microsecond:
        return moment
    # It leaves out a fraction that is 0, which whole answers never do.
    return orjson.Fragment(orjson.dumps(moment, option=_UTC)[:-2] + b'.000000Z"')
