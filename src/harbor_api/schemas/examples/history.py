"""The trader's fixes, in each format."""

from collections.abc import Sequence

from harbor_api.schemas.examples.night import Answers, Json, Otherwise, at
from harbor_api.schemas.examples.vessels import UNDER_WAY
from harbor_api.schemas.formats import MEDIA_TYPES

# Where the trader was: the fix that was buffered, and the newest.
PAST: Sequence[Json] = (
    {
        "recorded_at": at("02:04:05"),
        "received_at": at("03:04:06.251"),
        "lat": 60.04,
        "lon": 10.7,
        "sog": 8.4,
        "cog": None,
        "heading": None,
        "nav_status": None,
        "accuracy_m": None,
    },
    {"lat": 59.9, "lon": 10.7, **{name: UNDER_WAY[name] for name in UNDER_WAY if "stale" not in name}},
)
_MORE_PAST = (
    "/api/v1/vessels/1/positions?from=2026-01-02T00%3A00%3A00Z&limit=1&format=json"
    "&cursor=lVQ2qYvXo1dN8m0xkqfJ3hWcC4Vt5n2bYgR7sZ9e"
)


def _past(*fixes: Json, more: str | None = None) -> Json:
    since = fixes and PAST[0]["recorded_at"]
    return {
        "vessel_id": 1,
        "available_from": since or None,
        "positions": [*fixes],
        "links": {"next": more},
    }


def _as_features(page: Json) -> Json:
    """Return a page of a history as GeoJSON."""
    more = page["links"]["next"]
    return {
        "vessel_id": page["vessel_id"],
        "available_from": page["available_from"],
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [fix["lon"], fix["lat"]]},
                "properties": {name: fix[name] for name in fix if name not in {"lat", "lon"}},
            }
            for fix in page["positions"]
        ],
        "links": {"next": more and more.replace("format=json", "format=geojson")},
    }


_PAST_AS_CSV = """\
vessel_id,name,recorded_at,received_at,lat,lon,sog,cog,heading,nav_status,accuracy_m\r
1,Skagerrak Trader,2026-01-02T02:04:05.000000Z,2026-01-02T03:04:06.251000Z,60.04,10.7,8.4,,,,\r
1,Skagerrak Trader,2026-01-02T03:04:05.000000Z,2026-01-02T03:04:06.251000Z,59.9,10.7,8.4,181.2,180,0,4\r
"""
_PAST_AS_GPX = """\
<?xml version="1.0" encoding="UTF-8"?>
<gpx version="1.1" creator="Harbor API" xmlns="http://www.topografix.com/GPX/1/1"\
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"\
 xsi:schemaLocation="http://www.topografix.com/GPX/1/1 http://www.topografix.com/GPX/1/1/gpx.xsd">
<trk><name>Skagerrak Trader</name>
<trkseg>
<trkpt lat="60.040000" lon="10.700000"><time>2026-01-02T02:04:05.000000Z</time></trkpt>
<trkpt lat="59.900000" lon="10.700000"><time>2026-01-02T03:04:05.000000Z</time></trkpt>
</trkseg>
</trk>
</gpx>
"""

ANSWERS: Answers = {
    "listPositions": {
        200: {
            "page": ("There are more", _past(PAST[0], more=_MORE_PAST)),
            "last": ("The last page", _past(*PAST)),
            "none": ("A vessel that was never seen", _past()),
        }
    },
}

OTHERWISE: Otherwise = {
    "listPositions": {
        MEDIA_TYPES["geojson"]: {
            "page": ("There are more", _as_features(_past(PAST[0], more=_MORE_PAST))),
            "last": ("The last page", _as_features(_past(*PAST))),
        },
        MEDIA_TYPES["csv"]: {"whole": ("A whole window", _PAST_AS_CSV)},
        MEDIA_TYPES["gpx"]: {"whole": ("A whole window", _PAST_AS_GPX)},
    },
}
