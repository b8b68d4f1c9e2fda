"""Vessels of the past, rendered by the column, against each of them rendered alone."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from harbor_api.domain.moments import VesselThen
from harbor_api.domain.times import rfc3339
from harbor_api.schemas.moments import feature_texts

_DETAILS = ("name", "imo", "mmsi", "call_sign", "flag", "kind", "length_m", "beam_m", "draught_m",
            "max_speed_kn")  # fmt: skip
_MEASURES = ("recorded_at", "received_at", "retired_at", "stale", "stale_at", "sog", "cog", "heading",
             "nav_status", "accuracy_m", "basis", "between")  # fmt: skip


def _plainly(one: VesselThen) -> bytes:
    """Return the Feature of a vessel as it is documented."""

    def told(name: str) -> Any:
        value = getattr(one, name)
        if name == "between" and value is not None:
            return [rfc3339(each) for each in value]
        return rfc3339(value) if isinstance(value, datetime) else value

    point = None
    if one.lat is not None and one.lon is not None:
        point = {"type": "Point", "coordinates": [round(each, 6) + 0.0 for each in (one.lon, one.lat)]}
    properties = {name: told(name) for name in (*_DETAILS, *_MEASURES)}
    return orjson.dumps({"type": "Feature", "id": one.id, "geometry": point, "properties": properties})


_text = st.text(max_size=30) | st.sampled_from(
    ['"},{"name":"', '\\"},{"name":', "},{", ",null,", "\u2028\x00\x1f\n", "2026-01-02T03:04:05Z"]
)
_time = st.datetimes(timezones=st.sampled_from([UTC, ZoneInfo("UTC")]))
_time |= _time.map(lambda moment: moment.replace(microsecond=0))
_number = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 5.0, 1e-7, 1e22])
_degrees = st.floats(-180, 180) | st.sampled_from([0.0, -0.0, 1e-9, -4e-7, 10.1234565, 180.0])
_seen = {
    **dict.fromkeys(("lat", "lon"), _degrees),
    **dict.fromkeys(("stale_at", "recorded_at"), _time),
    "received_at": st.none() | _time,
    "stale": st.booleans(),
    **dict.fromkeys(("sog", "cog", "heading", "accuracy_m"), st.none() | _number),
    "nav_status": st.none() | st.integers(0, 14),
    "basis": st.sampled_from(["measured", "interpolated", "last_known"]),
    "between": st.none() | st.tuples(_time, _time),
}
_who = {
    "id": st.integers(1, 2**31 - 1),
    "number": st.integers(0, 2**63 - 1),
    "retired_at": st.none() | _time,
    "name": _text,
    **dict.fromkeys(("imo", "mmsi", "call_sign", "flag", "kind"), st.none() | _text),
    **dict.fromkeys(("length_m", "beam_m", "draught_m", "max_speed_kn"), st.none() | _number),
}
_unseen = {**dict.fromkeys(_seen, st.none()), "stale": st.just(True)}
_vessels = st.builds(VesselThen, **_who, **_seen) | st.builds(VesselThen, **_who, **_unseen)


@given(st.lists(_vessels, max_size=3))
@example([])
def test_many_are_rendered_as_each_alone_would_be(vessels: list[VesselThen]):
    assert feature_texts(vessels) == [_plainly(each) for each in vessels]
