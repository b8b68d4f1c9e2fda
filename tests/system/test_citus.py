"""Over a real Citus, a coordinator and two workers: distributing, storing, reading, deciding, maintaining."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from tests.cli import commands
from tests.support import citus, sql
from tests.support.citus import CitusServers
from tests.support.factories import ACTOR, EPOCH, SigningTracker, a_fix
from tests.support.live_service import LiveService
from tests.support.streams import StreamClient
from tests.support.urls import BATCH, POSITIONS, QUARANTINE, VESSELS

from harbor_api.database import Database
from harbor_api.domain.times import rfc3339
from harbor_api.services import erasure

pytestmark = pytest.mark.skipif(
    citus.programs() is None,
    reason=f"Citus is not installed beside pg_config; {citus.PG_CONFIG} names another one",
)


@pytest.fixture(scope="module")
def servers() -> Iterator[CitusServers]:
    """Return a coordinator and two workers."""
    with CitusServers() as servers:
        yield servers


@pytest.fixture(scope="module")
def service(servers: CitusServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """Return the service over a distributed database."""
    log = tmp_path_factory.mktemp("citus") / "service.log"
    with LiveService(servers.make("service"), log=log, workers=2) as service:
        yield service


def _post(service: LiveService, tracker: SigningTracker, body: dict[str, Any], url: str = POSITIONS) -> Any:
    signed = tracker.signed(body, url=url)
    return service.http.post(url, content=signed["data"], headers=signed["headers"])


def _page(service: LiveService, bearer: dict[str, str], cursor: str) -> dict[str, Any]:
    answer = service.http.get(POSITIONS, params={"cursor": cursor, "limit": 1_000}, headers=bearer)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def _begin(service: LiveService, bearer: dict[str, str]) -> str:
    cursor: str = service.http.get(VESSELS, headers=bearer).json()["cursor"]
    return cursor


def _stored_at(servers: CitusServers, database: str) -> list[int]:
    """Return how many positions each of the workers has."""
    counts = []
    for number in (1, 2):
        with psycopg.connect(servers.url(database, worker=number)) as connection:
            connection.execute("SET citus.override_table_visibility = off")
            shards = connection.execute(
                "SELECT relname FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace "
                "WHERE relkind = 'p' AND relname ~ '^positions_[0-9]+$' AND nspname = 'public'"
            ).fetchall()
            counts.append(
                sum(connection.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0] for (name,) in shards)
            )
    return counts


def test_an_operator_distributes_what_is_stored(servers: CitusServers) -> None:
    url = servers.make("filled", shards=None)
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq) "
            "SELECT v, timestamptz '2026-01-01Z' + v * interval '1 day', 1, now(), 59, 10, v "
            "FROM generate_series(1, 300) AS v"
        )
    dry = commands.run("distribute", "--dry-run", database=url)
    assert dry.exit_code == 0
    assert "SELECT create_distributed_table('positions', 'vessel_id', shard_count := 32);" in dry.output
    assert "positions are distributed" not in dry.output
    done = commands.run("distribute", "--shards", "8", database=url)
    assert done.output.endswith("positions are distributed\n"), done.output
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*), sum(seq) FROM positions").fetchall() == [(300, 45_150)]
        # Nothing is left here of what went there.
        assert connection.execute(
            "SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree('positions') WHERE isleaf"
        ).fetchall() == [(0,)]
    counts = _stored_at(servers, "filled")
    assert sum(counts) == 300
    assert min(counts) > 50
    again = commands.run("distribute", database=url)
    assert (again.exit_code, again.output) == (0, "positions are distributed already\n")


def test_says_why_it_cannot(servers: CitusServers) -> None:
    url = servers.make("refused", shards=None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE stranger LOGIN IN ROLE pg_read_all_data")
    found = commands.run("distribute", database=url.replace("postgres@", "stranger@"))
    assert found.exit_code == 1
    assert "run this as that role" in found.output
    found = commands.run("distribute", database=servers.url("refused", worker=1))
    assert found.exit_code == 1
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT citus_remove_node('127.0.0.1', nodeport) FROM pg_dist_node WHERE groupid > 0"
        )
    found = commands.run("distribute", database=url)
    assert found.exit_code == 1
    assert "citus_add_node" in found.output


def test_fixes_are_stored_once_and_read_everywhere(service: LiveService, servers: CitusServers) -> None:
    bearer = service.world.bearer()
    begin = _begin(service, bearer)
    vessels = [service.world.vessel(f"Vessel {n}") for n in range(12)]
    trackers = [service.world.tracker(each) for each in vessels]
    for tracker in trackers:
        assert _post(service, tracker, a_fix(100)).status_code == 201
        again = _post(service, tracker, a_fix(100))
        assert (again.status_code, again.json()["verdict"]) == (200, "duplicate")
        batch = {"fixes": [a_fix(number, lat=59.9 + number / 1e5) for number in range(90, 130)]}
        verdicts = [each["verdict"] for each in _post(service, tracker, batch, BATCH).json()["verdicts"]]
        assert sorted(verdicts) == ["duplicate"] + ["stored"] * 39
        # Late, and in between.
        assert _post(service, tracker, a_fix(50)).status_code == 201
    assert min(_stored_at(servers, "service")) > 0
    page = _page(service, bearer, begin)
    assert len(page["items"]) == 12 * 41
    assert len({each["id"] for each in page["items"]}) == 12 * 41
    known = {each["vessel_id"] for each in page["items"] if each["late"]}
    assert known == {each.id for each in vessels}
    newest = rfc3339(EPOCH + timedelta(seconds=129))
    fleet = service.http.get(VESSELS, headers=bearer).json()
    shown = {each["properties"]["recorded_at"] for each in fleet["features"]}
    assert newest in shown
    day = timedelta(days=1)
    window = {"from": rfc3339(EPOCH - day), "to": rfc3339(EPOCH + day)}
    for limits, count in (({}, 41), ({"coordinate_decimals": 1}, 1), ({"delay_s": 3600}, 0)):
        reader = service.world.bearer(**limits)
        for path in ("positions", "track", "summary"):
            answer = service.http.get(f"{VESSELS}/{vessels[0].id}/{path}", params=window, headers=reader)
            assert answer.status_code == 200, answer.text
            assert path != "positions" or len(answer.json()["positions"]) == count
        for asked in ({}, {"as_of": newest}):
            assert service.http.get(VESSELS, params=asked, headers=reader).status_code == 200
        answer = service.http.get(POSITIONS, params={"from": rfc3339(EPOCH)}, headers=reader)
        assert bool(answer.json()["items"]) == bool(count), answer.text


def test_a_stream_has_what_is_stored_once(service: LiveService) -> None:
    bearer = service.world.bearer()
    trackers = [service.world.tracker() for _ in range(6)]
    begin = _begin(service, bearer)
    with StreamClient(service.port, bearer, cursor=begin) as stream:
        stream.until_event("hello")

        def send(tracker: SigningTracker) -> None:
            for number in range(15):
                assert _post(service, tracker, a_fix(number)).status_code == 201

        threads = [threading.Thread(target=send, args=(each,)) for each in trackers]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        stream.until(lambda it: len(it.items) == 90)
    found = _page(service, bearer, begin)["items"]
    assert [each["id"] for each in stream.items] == [each["id"] for each in found]


def test_whoever_pages_while_many_store_skips_nothing(service: LiveService) -> None:
    """A transaction becomes visible at one server before the other: nobody reads beyond what is at both."""
    bearer = service.world.bearer()
    trackers = [service.world.tracker() for _ in range(8)]
    cursor = _begin(service, bearer)
    done = threading.Event()
    seen: list[str] = []

    def send(tracker: SigningTracker) -> None:
        for number in range(25):
            batch = {"fixes": [a_fix(3 * number + part) for part in range(3)]}
            assert _post(service, tracker, batch, BATCH).status_code == 200

    threads = [threading.Thread(target=send, args=(each,)) for each in trackers]

    def follow() -> None:
        at, is_last = cursor, False
        while True:
            is_last = done.is_set()
            page = _page(service, bearer, at)
            seen.extend(each["id"] for each in page["items"])
            at = page["next"]
            if is_last and not page["has_more"]:
                return

    follower = threading.Thread(target=follow)
    for each in (follower, *threads):
        each.start()
    for each in threads:
        each.join()
    done.set()
    follower.join()
    assert len(seen) == len(set(seen)) == 600


def test_what_is_doubted_is_decided_on(service: LiveService) -> None:
    bearer = service.world.bearer("vessels:read", "quarantine:read", "quarantine:write")
    vessel = service.world.vessel("Doubted")
    tracker = service.world.tracker(vessel)
    begin = _begin(service, bearer)
    for number in (0, 60, 120):
        assert _post(service, tracker, a_fix(number)).status_code == 201
    held = _post(service, tracker, a_fix(180, lat=12))
    assert held.json()["verdict"] == "quarantined", held.text
    [found] = service.http.get(QUARANTINE, params={"vessel_id": vessel.id}, headers=bearer).json()[
        "quarantine"
    ]
    released = service.http.post(f"{QUARANTINE}/{found['id']}/release", headers=bearer)
    assert released.status_code == 200, released.text
    page = _page(service, bearer, begin)
    assert [each["recorded_at"] for each in page["items"]] == [
        a_fix(number)["recorded_at"] for number in (0, 60, 120, 180)
    ]
    withdrawn = service.http.post(
        f"{QUARANTINE}/withdraw",
        json={"vessel_id": vessel.id, "recorded_at": a_fix(180)["recorded_at"], "note": "a bus"},
        headers=bearer,
    )
    assert withdrawn.status_code == 200, withdrawn.text
    [gone] = _page(service, bearer, page["next"])["items"]
    assert (gone["op"], gone["id"]) == ("delete", page["items"][-1]["id"])
    shown = service.http.get(f"{VESSELS}/{vessel.id}", headers=bearer).json()
    assert shown["properties"]["recorded_at"] == a_fix(120)["recorded_at"]


def test_positions_are_kept_and_erased_by_the_month(service: LiveService, servers: CitusServers) -> None:
    bearer, vessel = service.world.bearer(), service.world.vessel("Old")
    tracker = service.world.tracker(vessel)
    database = Database(servers.url("service"))
    try:
        # The months between were not made ahead: what comes makes them.
        for name in [name for name, _ in _months(database) if name.startswith("positions_2")]:
            database.drop_partition(name)
        now = datetime.now(UTC)
        sent = {**a_fix(0), "recorded_at": rfc3339(now - timedelta(seconds=5))}
        assert _post(service, tracker, sent).status_code == 201
        begin = _begin(service, bearer)
        erased = erasure.erase(database, vessel.id, now - timedelta(days=1), now, actor=ACTOR)
        assert (erased.stored, erased.held) == (1, 0)
        [gone] = _page(service, bearer, begin)["items"]
        assert (gone["op"], gone["vessel_id"]) == ("delete", vessel.id)
    finally:
        database.dispose()
    for _ in range(2):
        maintained = commands.run(
            "maintain", "--leave-behind", database=servers.url("service"), HARBOR_KEEP_POSITIONS_DAYS="30"
        )
        assert maintained.exit_code == 0, maintained.output
    # Of what was recorded in January nothing is kept.
    assert sum(_stored_at(servers, "service")) == 0
    assert _post(service, tracker, {**a_fix(0), "recorded_at": rfc3339(datetime.now(UTC))}).status_code == 201


def _months(database: Database) -> list[tuple[str, bool]]:
    with database.autocommit() as unit_of_work:
        return [(each.name, each.is_going) for each in unit_of_work.partitions.all()]


def test_the_workers_hold_what_the_coordinator_does_not(servers: CitusServers) -> None:
    database = Database(servers.make("catalogue"))
    try:
        found = sql.column(
            database,
            "SELECT CAST(logicalrelid AS text) FROM pg_dist_partition WHERE partmethod <> 'h' "
            "OR column_to_column_name(logicalrelid, partkey) <> 'vessel_id'",
        )
        assert found == []
    finally:
        database.dispose()
