"""Reads go to a streaming replica that keeps up, and nobody can tell: neither by what it says nor by when.

Two hosts, one of which has a replica: whoever goes from one to the other never sees time go back.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import MASTER_KEY, SigningTracker, World, a_fix
from tests.support.live_service import OwnPostgres
from tests.support.standby import Standby
from tests.support.urls import POSITIONS

from harbor_api.app import create_app
from harbor_api.domain import cursors, feed_cursors
from harbor_api.postgres import replica
from harbor_api.postgres.replica import Replica
from harbor_api.server.database_figures import DatabaseFigures
from harbor_api.settings import Settings
from harbor_api.web import runtime

_NOW = re.compile(rb'"now":"[^"]*"')
_PAUSE, _RESUME = "SELECT pg_wal_replay_pause()::text", "SELECT pg_wal_replay_resume()::text"


class _Hosts:
    """Two hosts over one primary, of which the second reads from a replica; and who sends and reads."""

    def __init__(self, primary: OwnPostgres, standby: Standby, **settings: Any) -> None:
        self.primary, self.standby = primary, standby
        replicated = {"database_replica_url": standby.url, **settings}
        self._apps = [_app(primary.url), _app(primary.url, **replicated)]
        self.plain, self.replicated = (CheckedClient(app) for app in self._apps)
        database = runtime.of(self._apps[1]).database
        assert database.replica is not None
        self.replica: Replica = database.replica
        self.database = database
        self.world = World(runtime.of(self._apps[0]).database)
        self.vessel = self.world.vessel()
        self.tracker: SigningTracker = self.world.tracker(self.vessel)
        self.bearer = self.world.bearer()
        self._numbers = iter(range(100_000))

    def send(self) -> str:
        """Have a fix stored, and return when it was recorded."""
        fix = a_fix(next(self._numbers))
        assert self.plain.post(POSITIONS, **self.tracker.signed(fix)).status_code == 201
        return str(fix["recorded_at"])

    def history(self, client: CheckedClient, **query: Any) -> list[str]:
        path = f"/api/v1/vessels/{self.vessel.id}/positions"
        answer = client.get(path, headers=self.bearer, query_string={"order": "desc", **query})
        assert answer.status_code == 200
        return [each["recorded_at"] for each in answer.json["positions"]]

    def number(self, client: CheckedClient) -> int:
        """Return where the order stands, as a host says by the cursor that a feed begins with."""
        answer = client.get(POSITIONS, headers=self.bearer, query_string={"from": "now"})
        cursor = answer.json["next"]
        return feed_cursors.number_in(cursors.cursor_key(MASTER_KEY), cursor, tag=cursor.partition(".")[0])

    def rested(self) -> None:
        """Let the time be over for which the replica is left alone."""
        self.replica._rests_until = 0.0

    def close(self) -> None:
        for app in self._apps:
            runtime.of(app).database.dispose()


def _app(url: str, **settings: Any) -> Flask:
    return create_app(
        Settings(
            database_url=url,
            tracker_master_key=MASTER_KEY,
            database_pool=4,
            tracker_requests_per_minute=1_000_000,
            stream_s=0,
            **settings,
        )
    )


@contextmanager
def _standing(**settings: Any) -> Iterator[_Hosts]:
    with OwnPostgres() as primary, Standby(primary) as standby:
        hosts = _Hosts(primary, standby, **settings)
        try:
            yield hosts
        finally:
            hosts.close()


@pytest.fixture(scope="module")
def standing() -> Iterator[_Hosts]:
    """Return both hosts: a replica takes a second to make."""
    with _standing() as hosts:
        yield hosts


@pytest.fixture
def hosts(standing: _Hosts) -> _Hosts:
    """Return them with the replica in rotation."""
    if standing.standby.value("SELECT pg_is_wal_replay_paused()"):
        standing.standby.value(_RESUME)
    standing.standby.catch_up(standing.primary)
    standing.rested()
    standing.send()
    return standing


def test_the_past_and_the_feed_are_read_at_the_replica_and_are_the_same(hosts: _Hosts) -> None:
    begin = hosts.plain.get("/api/v1/vessels", headers=hosts.bearer).json["cursor"]
    at = hosts.send()
    vessel = f"/api/v1/vessels/{hosts.vessel.id}"
    for path in (
        f"{vessel}/positions",
        f"{vessel}/positions?format=csv",
        f"{vessel}/positions?format=gpx",
        f"{vessel}/track?from=2026-01-02T00:00:00Z&to=2026-01-03T00:00:00Z",
        f"{vessel}/summary?from=2026-01-02T00:00:00Z&to=2026-01-03T00:00:00Z",
        f"/api/v1/vessels?as_of={at}",
        f"{POSITIONS}?cursor={begin}",
    ):
        served = hosts.replica.served
        answers = [client.get(path, headers=hosts.bearer) for client in (hosts.plain, hosts.replicated)]
        assert [each.status_code for each in answers] == [200, 200], path
        # The feed tells the time.
        assert len({_NOW.sub(b"", each.data) for each in answers}) == 1, path
        assert hosts.replica.served > served, path


def test_operators_are_told_how_the_replica_is(hosts: _Hosts) -> None:
    hosts.standby.catch_up(hosts.primary)
    checks = hosts.replicated.get("/health/ready").json["checks"]
    assert checks["postgresql:replica"] == [
        {"componentType": "datastore", "status": "pass", "observedValue": 0.0, "observedUnit": "s"}
    ]
    families = DatabaseFigures(hosts.database).collect()
    told = {sample.name: sample.value for each in families for sample in each.samples}
    assert (told["harbor_replica_up"], told["harbor_replica_lag_seconds"]) == (1, 0)
    assert "postgresql:replica" not in hosts.plain.get("/health/ready").json["checks"]


@pytest.mark.parametrize(
    "reads", [600, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1_800)])]
)
def test_time_never_goes_back_for_who_goes_from_host_to_host_beside_writes(hosts: _Hosts, reads: int) -> None:
    served, before = hosts.replica.served, 0
    for turn in range(reads):
        at = hosts.send() if turn % 3 == 0 else None
        client = hosts.replicated if turn % 2 else hosts.plain
        number = hosts.number(client)
        assert number >= before
        before = number
        if at is not None:
            # Whoever has just written finds it.
            assert hosts.history(hosts.replicated, limit=1) == [at]
        hosts.rested()
    took = hosts.replica.served - served
    print(f"{took} of {reads // 2 + -(-reads // 3)} reads of the one host were at the replica")
    assert took > reads // 4


def test_a_replica_that_is_behind_is_not_read_and_is_told_of(
    hosts: _Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = hosts.database.replica_state()
    assert state is not None
    assert state.status == "ok"
    hosts.standby.value(_PAUSE)
    served = hosts.replica.served
    at = hosts.send()
    assert hosts.history(hosts.replicated, limit=1) == [at]
    # It is not waited for each time.
    assert not hosts.replica.is_in_rotation()
    state = hosts.database.replica_state()
    assert state is not None
    assert state.status == "ok"
    assert state.lag_s is not None
    assert state.lag_s > 0
    monkeypatch.setattr(replica, "TOO_LATE_S", 0.0)
    lagging = hosts.database.replica_state()
    assert lagging is not None
    assert lagging.status == "lagging"
    hosts.standby.value(_RESUME)
    hosts.standby.catch_up(hosts.primary)
    hosts.rested()
    assert hosts.history(hosts.replicated, limit=1) == [at]
    assert hosts.replica.served == served + 1


def test_what_was_revoked_is_revoked_though_the_replica_is_behind(hosts: _Hosts) -> None:
    key, secret = hosts.world.key(vessel_ids=frozenset({hosts.vessel.id}))
    bearer = {"Authorization": f"Bearer {secret}"}
    path = f"/api/v1/vessels/{hosts.vessel.id}/positions"
    assert hosts.replicated.get(path, headers=bearer).status_code == 200
    hosts.standby.catch_up(hosts.primary)
    hosts.standby.value(_PAUSE)
    sql.run(hosts.world.database, "DELETE FROM grants WHERE api_key_id = :key", key=key.id)
    hosts.rested()
    assert hosts.replicated.get(path, headers=bearer).status_code == 404


def test_a_replica_that_is_gone_costs_no_caller_an_error_and_comes_back() -> None:
    with _standing() as hosts:
        at = hosts.send()
        assert hosts.history(hosts.replicated, limit=1) == [at]
        assert hosts.replica.served == 1
        hosts.standby.stop()
        for _ in range(20):
            at = hosts.send()
            assert hosts.history(hosts.replicated, limit=1) == [at]
        hosts.rested()
        assert hosts.database.replica_state() == ("away", None)
        # Whoever probes this host does not wait for it again: a hanging replica must not make it look away.
        with pytest.MonkeyPatch.context() as nobody_asks:
            nobody_asks.setattr(hosts.replica, "engine", None)
            assert hosts.database.replica_state() == ("away", None)
        hosts.standby.start()
        hosts.standby.catch_up(hosts.primary)
        hosts.rested()
        assert hosts.history(hosts.replicated, limit=1) == [at]
        assert hosts.replica.served == 2
        # One that has taken over is another server, and follows nobody.
        hosts.standby.promote()
        at = hosts.send()
        hosts.rested()
        assert hosts.history(hosts.replicated, limit=1) == [at]
        assert hosts.replica.served == 2
        assert hosts.database.replica_state() == ("lagging", None)


@pytest.mark.timeout(100)
def test_a_replica_that_hangs_is_waited_for_a_moment_however_long_postgresql_may_take() -> None:
    with _standing(database_timeout_ms=60_000) as hosts:
        for _ in range(3):
            at = hosts.send()
            assert hosts.history(hosts.replicated, limit=1) == [at]
        served = hosts.replica.served
        with hosts.standby.hanging():
            # By a connection that there is, then by a new one.
            for _ in range(2):
                at = hosts.send()
                assert hosts.history(hosts.replicated, limit=1) == [at]
                hosts.rested()
            assert hosts.database.replica_state() == ("away", None)
        assert hosts.replica.served == served
        hosts.standby.catch_up(hosts.primary)
        hosts.rested()
        assert hosts.history(hosts.replicated, limit=1) == [at]
        assert hosts.replica.served == served + 1
