"""Clients who do their worst beside the others."""

import json
import time
from collections import Counter
from dataclasses import asdict

import psutil
from tests.faults.crowd import AGENT, CrowdOrder
from tests.faults.fault import Fault
from tests.faults.helper import Helper
from tests.faults.stage import Stage

from harbor_api.web.streams import MOST_OF_A_KEY

_SLOW, _SLOW_FOR_S = 1_000, 15.0
_UNREAD, _UNREAD_FOR_S = 200, 8.0
# Of its answer a reader who stands still holds some parts in the service and half a megabyte in nginx.
_MOST_MB_OF_UNREAD = 2
_FIXES = 120_000


def _slow_loris(stage: Stage) -> str:
    order = CrowdOrder(stage.nginx.port, str(stage.nginx.certificate), many=_SLOW, per_second=500)
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
        # All at once would be another fault: each has PostgreSQL read some megabytes.
        per_second=8,
        path=f"/api/v1/vessels/{vessel}/positions?format=csv",
        keys=tuple(stage.new_key() for _ in range(_UNREAD // MOST_OF_A_KEY)),
    )
    before = _megabytes(stage)
    told, most = _beside(stage, order, _UNREAD_FOR_S)
    grown = most - before
    assert grown < _MOST_MB_OF_UNREAD * _UNREAD, f"memory grew by {grown} MB"
    stage.wait_until(lambda: len(_begun(stage)) == _UNREAD, "nginx has told of all of them")
    statuses = Counter(_begun(stage))
    assert statuses[200] > _UNREAD / 2, statuses
    return f"{told}, {grown} more than before; their answers: {dict(statuses)}"


def _begun(stage: Stage) -> list[int]:
    """Return the statuses with which answers in CSV have begun that nginx has ended."""
    lines = (stage.nginx.folder / "access.log").read_text().splitlines()
    return [told["status"] for told in map(json.loads, lines) if told["agent"] == AGENT]


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
        f"{_SLOW:,} clients send for {_SLOW_FOR_S:.0f} s a byte each 2 s of TLS's hello, a head or a body",
        _slow_loris,
    ),
    Fault(
        "unread",
        f"Honest callers meet no error; memory grows by less than {_MOST_MB_OF_UNREAD} MB a reader",
        f"{_UNREAD} clients of many keys ask for a history of {_FIXES:,} fixes as CSV and read nothing",
        _unread,
    ),
)
