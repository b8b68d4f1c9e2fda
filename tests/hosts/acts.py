"""What is done to two hosts and to what they share, and what was promised for each case."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.fault import AWAY, AWAY_S
from tests.hosts.scene import Cluster, Hosts, Synchronous

# Until whoever watches over the primary is sure that it is gone.
_DETECTED_S = 2.0
# nginx leaves a host that failed alone for 2 s: so long one is waited for before the next one is replaced.
_BETWEEN_S = 3.0
_PAUSE, _RESUME = "SELECT pg_wal_replay_pause()::text", "SELECT pg_wal_replay_resume()::text"


@dataclass(frozen=True)
class Act:
    """What is done to two hosts, as with ``Fault``; with the ground that it is done on.

    Limits are exact where both ``count_together``. Where it ``may_lose``, what only the primary had may be
    lost, and no more.
    """

    name: str
    promise: str
    done: str
    do: Callable[[Hosts], str | None]
    allowed: frozenset[str] = frozenset()
    ground: type[Cluster] = Cluster
    count_together: bool = True
    may_lose: bool = False
    lacks: Callable[[], str | None] = lambda: None


def _go_on(hosts: Hosts) -> None:
    time.sleep(AWAY_S)


def _kill_host(hosts: Hosts) -> None:
    hosts.services[1].kill()
    time.sleep(AWAY_S)
    hosts.services[1].start()
    hosts.wait_until(hosts.is_well, "both hosts are well")


def _replace_hosts(hosts: Hosts) -> None:
    for service in hosts.services:
        assert service.stop() == 0
        service.start()
        hosts.wait_until(hosts.is_well, "both hosts are well")
        time.sleep(_BETWEEN_S)


def _stop_replica(hosts: Hosts) -> None:
    hosts.ground.standby.stop()
    time.sleep(AWAY_S)
    hosts.ground.standby.start()
    # A host tries again after five seconds.
    time.sleep(AWAY_S + _DETECTED_S)


def _hang_replica(hosts: Hosts) -> None:
    with hosts.ground.standby.hanging():
        time.sleep(2 * AWAY_S)
    time.sleep(AWAY_S + _DETECTED_S)


def _let_replica_lag(hosts: Hosts) -> None:
    hosts.ground.standby.value(_PAUSE)
    time.sleep(AWAY_S)
    hosts.ground.standby.value(_RESUME)
    time.sleep(AWAY_S)


def _crash_primary(hosts: Hosts) -> None:
    hosts.postgres.crash()
    time.sleep(AWAY_S)
    hosts.postgres.start()
    hosts.wait_until(hosts.is_well, "both hosts are well")


def _fail_over(hosts: Hosts) -> None:
    hosts.postgres.crash()
    time.sleep(_DETECTED_S)
    _let_standby_take_over(hosts)


def _fail_over_with_loss(hosts: Hosts) -> str:
    standby = hosts.ground.standby
    began_us = time.time_ns() // 1_000
    standby.stop()
    time.sleep(_DETECTED_S)
    hosts.postgres.crash()
    # One may be recorded long before it is stored.
    hosts.unreplicated_us = (began_us - 1_000_000, time.time_ns() // 1_000)
    standby.start(follows=False)
    _let_standby_take_over(hosts)
    [[fences]] = hosts.sql("SELECT count(*) - 1 FROM order_fences")
    return f"{fences} fence"


def _let_standby_take_over(hosts: Hosts) -> None:
    hosts.ground.standby.promote()
    hosts.ground.pooler.point_to(hosts.ground.standby.url)
    hosts.wait_until(hosts.is_well, "both hosts are well")


def _kill_redis(hosts: Hosts) -> None:
    hosts.redis.kill()
    time.sleep(AWAY_S)
    hosts.redis.start()
    hosts.wait_until(hosts.counts_together, "both hosts count in Redis")


def _kill_pooler(hosts: Hosts) -> None:
    hosts.ground.pooler.kill()
    time.sleep(_DETECTED_S)
    hosts.ground.pooler.start()
    hosts.wait_until(hosts.is_well, "both hosts are well")


ACTS = {
    each.name: each
    for each in (
        Act(
            "together",
            "As one service: nothing is skipped, told twice or seen to go back; limits hold over both",
            f"nothing, for {AWAY_S:.0f} s",
            _go_on,
        ),
        Act(
            "host-killed",
            "nginx goes on with the other host: its callers meet no error",
            f"kill -9 of all processes of one host, {AWAY_S:.0f} s away, started again",
            _kill_host,
        ),
        Act(
            "hosts-replaced",
            "No request is refused or broken",
            f"SIGTERM and start of one host, then of the other {_BETWEEN_S:.0f} s later",
            _replace_hosts,
        ),
        Act(
            "replica-stopped",
            "Nobody notices: the primary is read",
            f"the replica is stopped, {AWAY_S:.0f} s away, started again",
            _stop_replica,
        ),
        Act(
            "replica-hangs",
            "Reads wait for it for a second or two, then the primary is read",
            f"the replica lies still for {2 * AWAY_S:.0f} s (SIGSTOP)",
            _hang_replica,
        ),
        Act(
            "replica-lags",
            "Nobody notices: the primary is read",
            f"the replica replays nothing for {AWAY_S:.0f} s",
            _let_replica_lag,
        ),
        Act(
            "primary-crashed",
            "503 with Retry-After meanwhile; well again by itself",
            f"kill -9 of the primary, {AWAY_S:.0f} s away, started again",
            _crash_primary,
            allowed=AWAY,
        ),
        Act(
            "failover",
            "503 with Retry-After until the standby takes over; with synchronous replication no fix is lost",
            f"kill -9 of the primary; {_DETECTED_S:.0f} s later its standby is promoted, PgBouncer led to it",
            _fail_over,
            allowed=AWAY,
            ground=Synchronous,
        ),
        Act(
            "failover-with-loss",
            "503 until then; lost is what was not replicated; who has read of that begins anew",
            f"the replica is cut off, {_DETECTED_S:.0f} s later kill -9 of the primary, promoted as it is",
            _fail_over_with_loss,
            allowed=AWAY,
            may_lose=True,
        ),
        Act(
            "pooler-killed",
            "503 with Retry-After meanwhile; well again by itself",
            f"kill -9 of PgBouncer, {_DETECTED_S:.0f} s away, started again",
            _kill_pooler,
            allowed=AWAY,
        ),
        Act(
            "redis-killed",
            "Nobody is refused who may ask; counted together again once it is back",
            f"kill -9 of Redis, {AWAY_S:.0f} s away, started again",
            _kill_redis,
            count_together=False,
        ),
    )
}
"""By name, all that is done."""
