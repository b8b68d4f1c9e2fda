"""PostgreSQL goes away and comes back, lies still, is slow, or has no connection left."""

import time
from contextlib import ExitStack, suppress

import psycopg
from tests.faults.fault import AWAY, AWAY_S, Fault
from tests.faults.grounds import Far, Replicated, Restarted
from tests.faults.stage import Stage

_LATE_S = 0.3
# Until whoever watches over the primary is sure that it is gone.
_DETECTED_S = 2.0


def _crash_database(stage: Stage) -> None:
    stage.postgres.crash()
    time.sleep(AWAY_S)
    stage.postgres.start()
    stage.wait_until(stage.is_well, "the service is well")


def _restart_database(stage: Stage) -> None:
    url = stage.postgres.url
    stage.postgres.stop()
    stage.postgres.start()
    assert stage.postgres.url == url
    stage.wait_until(stage.is_well, "the service is well")


def _fail_over(stage: Stage) -> None:
    assert isinstance(stage.ground, Replicated)
    stage.postgres.crash()
    time.sleep(_DETECTED_S)
    stage.ground.standby.promote()
    stage.wait_until(stage.is_well, "the service is well")


def _freeze_database(stage: Stage) -> None:
    family = stage.postgres.processes()
    for process in family:
        process.suspend()
    time.sleep(AWAY_S)
    for process in family:
        process.resume()
    stage.wait_until(stage.is_well, "the service is well")


def _take_connections(stage: Stage) -> None:
    with ExitStack() as others:
        with suppress(psycopg.OperationalError):
            while True:
                others.enter_context(psycopg.connect(stage.postgres.url))
        time.sleep(AWAY_S)


def _slow_down(stage: Stage) -> None:
    assert isinstance(stage.ground, Far)
    stage.ground.road.say(str(_LATE_S))
    time.sleep(2 * AWAY_S)
    stage.ground.road.say("0")


OF_DATABASE = (
    Fault(
        "database-crashed",
        "503 with Retry-After meanwhile; well again by itself",
        f"kill -9 of PostgreSQL, {AWAY_S:.0f} s away, started again",
        _crash_database,
        allowed=AWAY,
    ),
    Fault(
        "database-restarted",
        "503 with Retry-After meanwhile; well again by itself",
        "PostgreSQL stopped fast (SIGINT) and started again, as systemctl restart does",
        _restart_database,
        allowed=AWAY,
        ground=Restarted,
    ),
    Fault(
        "failover",
        "503 until the standby takes over, then well by itself; with synchronous replication no fix is lost",
        f"kill -9 of the primary; its standby is promoted after {_DETECTED_S:.0f} s",
        _fail_over,
        allowed=AWAY,
        ground=Replicated,
    ),
    Fault(
        "database-hangs",
        "Requests wait, 503 after HARBOR_DATABASE_TIMEOUT_MS; well again by itself",
        f"PostgreSQL lies still for {AWAY_S:.0f} s",
        _freeze_database,
        allowed=AWAY,
    ),
    Fault(
        "database-slow",
        "Requests take longer; none is refused or broken",
        f"each answer of PostgreSQL is {1000 * _LATE_S:.0f} ms late, for {2 * AWAY_S:.0f} s",
        _slow_down,
        ground=Far,
    ),
    Fault(
        "database-full",
        "Requests wait for the connections that there are",
        f"others take all connections of PostgreSQL for {AWAY_S:.0f} s",
        _take_connections,
    ),
)
