"""Clients who do their worst beside the others."""

import json
import time
from dataclasses import asdict

import psutil
from tests.faults.crowd import CrowdOrder
from tests.faults.fault import Fault
from tests.faults.helper import Helper
from tests.faults.stage import Stage

_SLOW, _SLOW_FOR_S = 1_000, 15.0
_UNREAD, _UNREAD_FOR_S = 200, 8.0
# Of its answer a reader who stands still holds some parts in the service and half a megabyte in nginx.
_MOST_MB_OF_UNREAD = 2
_FIXES = 120_000


def _slow_loris(stage: Stage) -> str:
    order = CrowdOrder(stage.nginx.port, str(stage.nginx.certificate), many=_SLOW)
    told, _ = _beside(stage, order, _SLOW_FOR_S)
    return told


def _unread(stage: Stage) -> str:
    vessel = stage.service.world.vessel().id
    stage.sql(
        """
        INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, seq)
        SELECT :vessel, at, 1, at, 59, 10, 3, nextval('fleet_order')
        FROM generate_series(1, :fixes) AS n, LATERAL (SELECT now() - n * interval '1 second') AS clock (at)
        """,
        vessel=vessel,
        fixes=_FIXES,
    )
    order = CrowdOrder(
        stage.nginx.port,
        str(stage.nginx.certificate),
        many=_UNREAD,
        path=f"/api/v1/vessels/{vessel}/positions?format=csv",
        key=stage.key,
    )
    before = _megabytes(stage)
    told, most = _beside(stage, order, _UNREAD_FOR_S)
    grown = most - before
    assert grown < _MOST_MB_OF_UNREAD * _UNREAD, f"memory grew by {grown} MB"
    return f"{told}, {grown} more than before"


def _beside(stage: Stage, order: CrowdOrder, for_s: float) -> tuple[str, int]:
    """Let a crowd be there for a while, and tell how it went and how many megabytes were in use at most."""
    most = 0
    with Helper("tests.faults.crowd", json.dumps(asdict(order))) as crowd:
        until = time.monotonic() + for_s
        while time.monotonic() < until:
            time.sleep(1)
            most = max(most, _megabytes(stage))
        crowd.say("end")
        seen = json.loads(crowd.line())
    return f"{seen['came']:,} came, {seen.get('sent_away', 0):,} were sent away; at most {most} MB", most


def _megabytes(stage: Stage) -> int:
    """Return how much memory the service and nginx have, but for what their processes share."""
    nginx = psutil.Process(stage.nginx.pid)
    family = [*stage.service.processes(), nginx, *nginx.children()]
    used: int = sum(each.memory_full_info().uss for each in family)
    return round(used / 1e6)


OF_CLIENTS = (
    Fault(
        "slow-loris",
        "Honest callers meet no error",
        f"{_SLOW:,} clients send a byte each 2 s for {_SLOW_FOR_S:.0f} s, of TLS's greeting, a head or a body",
        _slow_loris,
    ),
    Fault(
        "unread",
        f"Honest callers meet no error; memory grows by less than {_MOST_MB_OF_UNREAD} MB a reader",
        f"{_UNREAD} clients ask for a history of {_FIXES:,} fixes as CSV and read nothing",
        _unread,
        settings={"streams_per_key": 2 * _UNREAD},
    ),
)
