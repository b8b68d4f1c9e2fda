"""The fleet as it would be answered by a service that keeps nothing: read and rendered anew, in one piece."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from flask import Flask

from harbor_api.domain import cursors
from harbor_api.domain.api_keys import Caller
from harbor_api.domain.fleet_search import Search
from harbor_api.domain.vessels import EPOCH, VesselOnMap
from harbor_api.schemas.vessels import as_feature
from harbor_api.web import runtime


def uncached(app: Flask, viewer: Caller, search: Search, *, retired: bool) -> bytes:
    """Return the body that a key is to be answered which sees so."""
    now = runtime.of(app)
    key = cursors.cursor_key(now.settings.require_master_key())
    with now.database.autocommit() as unit_of_work:
        sight = unit_of_work.sight(viewer, future_tolerance=now.future_tolerance)
        fleet = unit_of_work.fleet(sight, stale_after=now.stale_after)
        granted = None if viewer.all_vessels else set(fleet.granted())
        everything = fleet.after(0, most=10_000)
    shown = [
        each
        for each in everything
        if (granted is None or each.vessel.id in granted)
        and (each.vessel.retired_at is not None) is retired
        and search.keeps(_candidate(each))
    ]
    features = [as_feature(each) for each in shown]
    known = [each["properties"] for each in features]
    times = [each[name] for each in known for name in ("received_at", "retired_at") if each[name]]
    turned = [each["stale_at"] for each in known if each["stale"] and each["stale_at"]]
    # Before the next one turns: a vessel may be retired later than a key with a delay is shown.
    turning = [each["stale_at"] - timedelta(microseconds=1) for each in known if not each["stale"]]
    happened = max([EPOCH, *times, *turned])
    body = {
        "type": "FeatureCollection",
        "now": None if happened == EPOCH else min([happened, *turning]),
        "cursor": cursors.seal(
            key,
            holder=viewer.id,
            of=cursors.fingerprint("order", {}),
            values=[max((each.number for each in shown), default=0)],
        ),
        "links": {"next": None},
        "features": features,
    }
    return app.json.dumps(body).encode()


def _candidate(shown: VesselOnMap) -> Any:
    details, latest = shown.vessel.details, shown.latest
    return SimpleNamespace(
        id=shown.vessel.id,
        name=details.name,
        imo=details.imo,
        mmsi=details.mmsi,
        call_sign=details.call_sign,
        kind=details.kind,
        flag=details.flag,
        lat=latest and latest.motion.lat,
        lon=latest and latest.motion.lon,
        received_at=latest and latest.received_at,
        stale=shown.stale,
    )
