"""The daily job: partitions ahead, what is kept no longer, and whoever still needs it."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from click.testing import Result
from tests.cli import commands
from tests.conftest import NewDatabase
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import MASTER_KEY, World
from tests.support.partitions import partitions_of, split
from tests.support.urls import FEEDS, POSITIONS, VESSELS

from harbor_api.app import create_app
from harbor_api.database import Database
from harbor_api.domain.months import Month
from harbor_api.domain.times import rfc3339
from harbor_api.postgres import partitions as making
from harbor_api.services import maintenance
from harbor_api.settings import Settings
from harbor_api.web import runtime

VERBS = {"drop", "trim", "keep"}
_NOW = datetime.now(UTC)
_EVER = {"from": "2000-01-01T00:00:00Z"}
_STORE = """
WITH stored AS (
    INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
    SELECT :vessel, CAST(:at AS timestamptz) + n * interval '1 s', 1, coalesce(:received, :at), 59.9, 10.7,
        nextval('fleet_order')
    FROM generate_series(0, :count - 1) AS n
    RETURNING *
)
INSERT INTO latest_positions AS latest (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
SELECT vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq
FROM stored ORDER BY recorded_at DESC LIMIT 1
ON CONFLICT (vessel_id) DO UPDATE SET recorded_at = excluded.recorded_at, seq = excluded.seq
WHERE latest.recorded_at < excluded.recorded_at
"""


@dataclass
class Kept:
    """A service over a database with a year of months, and a vessel with three fixes in each of them."""

    url: str
    world: World
    client: CheckedClient
    bearer: dict[str, str]
    vessel: int
    months: list[str]

    @property
    def database(self) -> Database:
        return self.world.database

    def maintain(self, *arguments: str, **variables: Any) -> Result:
        named = {f"HARBOR_{name}": str(value) for name, value in variables.items()}
        return commands.run("maintain", *arguments, database=self.url, **named)

    def names(self) -> list[str]:
        return [each.name for each in partitions_of(self.database)]

    def feed(self, status: int = 200, **query: Any) -> Any:
        answer = self.client.get(POSITIONS, query_string={"limit": 1_000, **query}, headers=self.bearer)
        assert answer.status_code == status, answer.text
        return answer.json

    def follow_slowly(self) -> None:
        """Keep a consumer that has read one fix."""
        place = {"cursor": self.feed(limit=1, **_EVER)["next"]}
        assert self.client.put(f"{FEEDS}/slow", json=place, headers=self.bearer).status_code == 201

    def fixes(self) -> int:
        return sql.count(self.database, "positions")


def store(
    database: Database, vessel: int, at: datetime, *, count: int = 1, received: datetime | None = None
) -> None:
    values = {"vessel": vessel, "at": at, "count": count, "received": received}
    database.transact(lambda unit_of_work: sql.run(unit_of_work, _STORE, **values))


@pytest.fixture
def kept(new_database: NewDatabase) -> Iterator[Kept]:
    url = new_database()
    application = create_app(Settings(database_url=url, tracker_master_key=MASTER_KEY, stream_s=0))
    database = runtime.of(application).database
    months = split(database, months=12)
    world = World(database)
    vessel = world.vessel().id
    for number in range(-12, 1):
        store(database, vessel, Month.of(_NOW).after(number).begin + timedelta(hours=1), count=3)
    yield Kept(url, world, CheckedClient(application), world.bearer(), vessel, months)
    database.dispose()


def test_months_are_made_ahead_once(kept: Kept):
    ahead = kept.names()[-3:]
    for name in ahead:
        kept.database.drop_partition(name)
    result = kept.maintain()
    assert result.exit_code == 0, result.output
    made = [line for line in result.output.splitlines() if not line.startswith("settled")]
    assert made == [*(f"made {name}" for name in ahead), "0 idempotency keys deleted"]
    assert kept.maintain().output == "0 idempotency keys deleted\n"
    with kept.database.autocommit() as unit_of_work:
        assert unit_of_work.partitions.ahead(_NOW) >= maintenance.AHEAD


def test_months_that_have_gone_by_are_settled_once_and_followers_miss_nothing(kept: Kept):
    begun = kept.feed(**{"from": "now"})["next"]
    month = Month.of(_NOW).after(-3)
    settled = [line.split()[1] for line in kept.maintain().output.splitlines() if line.startswith("settled")]
    assert {f"positions_{month}", kept.names()[0]} < {*settled} < {*kept.names()}
    assert "settled" not in kept.maintain().output
    store(kept.database, kept.vessel, _NOW - timedelta(days=200))
    store(kept.database, kept.vessel, _NOW - timedelta(days=1))
    assert [each["op"] for each in kept.feed(cursor=begun)["items"]] == ["upsert", "upsert"]
    # Of a month that goes, too, whatever is stored late is told.
    assert kept.maintain(KEEP_POSITIONS_DAYS=100).exit_code == 0
    store(kept.database, kept.vessel, _NOW - timedelta(days=201))
    assert [each["op"] for each in kept.feed(cursor=begun)["items"]] == ["upsert", "delete", "upsert"]


def test_somebody_who_holds_a_month_costs_time_and_nothing_else(kept: Kept, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(maintenance, "_ATTEMPTS", 1)
    with psycopg.connect(kept.url) as holder:
        holder.execute(f"LOCK TABLE {kept.months[3]} IN ROW EXCLUSIVE MODE")
        result = kept.maintain()
        assert result.exit_code == 0
        assert "not all months could be settled, which the next run goes on with: " in result.output
    assert f"settled {kept.months[3]}" in kept.maintain().output


def test_months_that_are_kept_no_longer_go_and_the_latest_position_stays(kept: Kept):
    silent = kept.world.vessel("Silent").id
    store(kept.database, silent, _NOW - timedelta(days=250))
    begun = kept.feed(**{"from": "now"})["next"]
    result = kept.maintain(KEEP_POSITIONS_DAYS=100)
    assert result.exit_code == 0, result.output
    gone = [name for name in kept.months if name not in kept.names()]
    horizon = _NOW - timedelta(days=100)
    assert gone == [name for name in kept.months if Month.of(horizon) > _month_of(name)]
    assert len(gone) >= 8
    assert [line.split(",")[0] for line in result.output.splitlines() if line.startswith("dropped")] == [
        f"dropped {name}" for name in [f"positions_before_{kept.months[0][-7:]}", *gone]
    ]
    # Where she was last is known, though no fix of hers is left: also to who sees late, or coarsely.
    for terms in (
        {},
        {"delay_s": 3_600},
        {"coordinate_decimals": 1},
        {"coordinate_decimals": 1, "delay_s": 60},
    ):
        fleet = kept.client.get(VESSELS, headers=kept.world.bearer(**terms)).json["features"]
        assert [each["geometry"] is not None for each in fleet] == [True, True]
    assert kept.client.get(f"{VESSELS}/{silent}/positions", headers=kept.bearer).json["positions"] == []
    # It was stored out of turn, so whoever follows is told.
    [item] = kept.feed(cursor=begun)["items"]
    assert (item["op"], item["vessel_id"]) == ("delete", silent)
    again = kept.maintain(KEEP_POSITIONS_DAYS=100)
    assert again.exit_code == 0
    assert "dropped" not in again.output


def _month_of(name: str) -> Month:
    year, month = name.split("_")[-2:]
    return Month.of(datetime(int(year), int(month), 1, tzinfo=UTC))


def test_a_rehearsal_changes_nothing_and_tells_all(kept: Kept):
    kept.follow_slowly()
    store(kept.database, kept.vessel, _NOW - timedelta(days=120), received=_NOW - timedelta(days=101))
    names, fixes = kept.names(), kept.fixes()
    result = kept.maintain("--dry-run", KEEP_POSITIONS_DAYS=100)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("partitions reach ")
    verbs = {line.split()[1].rstrip(","): line.split()[0] for line in lines if line.split()[0] in VERBS}
    assert verbs.keys() == set(names)
    gone = [name for name, verb in verbs.items() if verb == "drop"]
    assert len(gone) >= 9
    assert verbs[f"positions_{Month.of(_NOW)}"] == "keep"
    assert any(line.startswith("behind: consumer slow of key ") for line in lines)
    assert any(line.startswith("followers would be told what came in at ") for line in lines)
    assert all("rows" in line and "MB" in line for line in lines if line.split()[0] in VERBS)
    assert (kept.names(), kept.fixes()) == (names, fixes)
    all_kept = kept.maintain("--dry-run").output.splitlines()
    assert all_kept[1] == "HARBOR_KEEP_POSITIONS_DAYS is 0: all positions are kept"
    assert sum(line.startswith("keep ") for line in all_kept) == len(names)


def test_a_consumer_that_has_not_read_as_far_keeps_all_until_it_is_left_behind(kept: Kept):
    kept.follow_slowly()
    names = kept.names()
    result = kept.maintain(KEEP_POSITIONS_DAYS=100)
    assert "1 consumers have not read as far" in commands.told(result, 4)
    assert "behind: consumer slow" in result.output
    assert kept.names() == names
    assert kept.fixes() == 39
    result = kept.maintain("--leave-behind", KEEP_POSITIONS_DAYS=100)
    assert result.exit_code == 0, result.output
    assert len(kept.names()) < len(names)
    answer = kept.client.get(f"{FEEDS}/slow/positions", headers=kept.bearer)
    assert answer.status_code == 410
    # Nobody else is in the way of the next one.
    assert kept.maintain(KEEP_POSITIONS_DAYS=60).exit_code == 4


def test_whoever_reads_on_finds_no_hole(kept: Kept):
    """Beyond the floor all is told: what was recorded long ago and came in since is told to be gone."""
    late = _NOW - timedelta(days=120)
    store(kept.database, kept.vessel, late, count=700, received=_NOW - timedelta(days=1))
    early = kept.feed(limit=1, **_EVER)["next"]
    first = kept.feed(limit=1, **{"from": rfc3339(_NOW - timedelta(days=2))})
    after_floor = first["next"]
    told = first["items"] + kept.feed(cursor=after_floor)["items"]
    assert [each["op"] for each in told] == ["upsert"] * 700
    ids = {each["id"] for each in told}
    begun = kept.feed(**{"from": "now"})["next"]
    result = kept.maintain(KEEP_POSITIONS_DAYS=100)
    assert result.exit_code == 0, result.output
    assert "followers were told of 700" in result.output
    assert kept.feed(410, cursor=early)["code"] == "cursor_expired"
    deleted = kept.feed(cursor=begun)["items"]
    assert [each["op"] for each in deleted] == ["delete"] * 700
    assert {each["id"] for each in deleted} == ids
    # Nor does whoever has not read them wait for what is not there any more.
    assert [each["op"] for each in kept.feed(cursor=after_floor)["items"]] == ["delete"] * 700


def test_followers_are_told_what_a_vessel_keeps_no_longer_by_her_own_rule(kept: Kept):
    """No floor moves for her, so nobody else's cursor expires: whoever reads on or anew finds the same."""
    other = kept.world.vessel().id
    store(kept.database, other, _NOW - timedelta(days=200), count=2)
    everything = kept.feed(**_EVER)
    early = kept.feed(limit=1, **_EVER)["next"]
    ids = {each["id"] for each in everything["items"] if each["vessel_id"] == kept.vessel}
    assert commands.run("vessels keep", str(kept.vessel), "--days", "0", database=kept.url).exit_code == 0
    assert "of vessel" not in kept.maintain().output
    assert commands.run("vessels keep", str(kept.vessel), "--days", "100", database=kept.url).exit_code == 0
    result = kept.maintain()
    assert result.exit_code == 0, result.output
    told = kept.feed(cursor=everything["next"])["items"]
    assert {each["op"] for each in told} == {"delete"}
    gone = {each["id"] for each in told}
    assert gone < ids
    assert f"{len(gone)} positions of vessel {kept.vessel} deleted" in result.output
    left = {each["id"] for each in kept.feed(**_EVER)["items"] if each["op"] == "upsert"}
    assert left == {each["id"] for each in everything["items"]} - gone
    # Who stood in the midst of them neither waits for what is gone, nor is sent back to the beginning.
    on = kept.feed(cursor=early)["items"]
    assert gone <= {each["id"] for each in on if each["op"] == "delete"}
    history = kept.client.get(f"{VESSELS}/{kept.vessel}/positions", headers=kept.bearer).json
    assert datetime.fromisoformat(history["available_from"]) >= _NOW - timedelta(days=100)


def test_what_came_in_last_may_go_and_followers_go_on(kept: Kept):
    """A fleet that has been silent for longer than its positions are kept: the order does not go back."""
    sql.run(kept.database, "DELETE FROM positions WHERE recorded_at > :at", at=_NOW - timedelta(days=150))
    begun = kept.feed(**{"from": "now"})["next"]
    assert kept.maintain(KEEP_POSITIONS_DAYS=100).exit_code == 0
    assert kept.fixes() == 0
    assert kept.feed(cursor=begun)["items"] == []
    store(kept.database, kept.vessel, _NOW)
    [item] = kept.feed(cursor=begun)["items"]
    assert item["op"] == "upsert"


def test_of_the_partition_of_all_that_is_older_only_that_goes_which_is_too_old(new_database: NewDatabase):
    url = new_database()
    database = Database(url)
    world = World(database)
    one, other = world.vessel().id, world.vessel().id
    # As a migration leaves them: all that there was is in one partition.
    wide = partitions_of(database)[0]
    assert wide.until is not None
    for vessel in (one, other):
        store(database, vessel, wide.until - timedelta(days=400), count=20)
        store(database, vessel, wide.until - timedelta(hours=1), count=5)
    days = (_NOW - wide.until).days + 30
    result = commands.run("maintain", database=url, HARBOR_KEEP_POSITIONS_DAYS=str(days))
    assert result.exit_code == 0, result.output
    assert f"40 positions deleted from {wide.name}" in result.output
    assert sql.count(database, "positions") == 10
    assert partitions_of(database)[0].name == wide.name
    database.dispose()


def test_making_and_dropping_fail_apart(kept: Kept, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(maintenance, "_ATTEMPTS", 2)
    monkeypatch.setattr(making, "_LOCK_MS", 50)
    ahead = kept.names()[-1]
    kept.database.drop_partition(ahead)
    with psycopg.connect(kept.url) as reader:
        reader.execute("SELECT FROM positions LIMIT 1")
        result = kept.maintain(KEEP_POSITIONS_DAYS=100)
        assert commands.told(result, 4).startswith("harbor-api: positions could not be deleted: ")
        # What is made is made, and what is on its way out is seen by nobody.
        assert ahead in kept.names()
        reader.rollback()
    again = kept.maintain(KEEP_POSITIONS_DAYS=100)
    assert again.exit_code == 0, again.output + again.stderr
    kept.database.drop_partition(ahead)
    with psycopg.connect(kept.url) as other:
        other.execute("LOCK TABLE positions IN SHARE UPDATE EXCLUSIVE MODE")
        result = kept.maintain()
        assert commands.told(result, 3).startswith("harbor-api: partitions could not be made: ")
    assert kept.maintain().exit_code == 0


def test_two_at_once_do_it_once_and_nobody_notices(kept: Kept):
    """Beside a tracker that stores: neither sees anything but its own work."""
    ended = threading.Event()
    stored = 0

    def write() -> None:
        nonlocal stored
        while not ended.is_set():
            store(kept.database, kept.vessel, _NOW + timedelta(seconds=stored))
            stored += 1

    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HARBOR_")},
        "HARBOR_DATABASE_URL": kept.url,
        "HARBOR_KEEP_POSITIONS_DAYS": "100",
    }
    asked = [sys.executable, "-m", "harbor_api.cli", "maintain"]
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        running = [subprocess.Popen(asked, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        told = [each.communicate(timeout=60)[0] for each in running]
        ended.set()
        writing.result()
    assert [each.returncode for each in running] == [0, 0, 0]
    dropped = [line for each in told for line in each.splitlines() if line.startswith("dropped")]
    assert len(dropped) == len(set(dropped)) >= 9
    assert kept.maintain(KEEP_POSITIONS_DAYS=100).exit_code == 0
    now = Month.of(_NOW).begin
    text = "SELECT count(*) FROM positions WHERE recorded_at >= :now AND tracker_id = 1"
    assert sql.value(kept.database, text, now=now) == stored + 3


def test_all_else_that_is_kept_no_longer_goes_by_its_setting(kept: Kept):
    sql.run(
        kept.database,
        "INSERT INTO quarantine (vessel_id, recorded_at, tracker_id, received_at, reason, fix) "
        "SELECT 1, now(), n, now() - n * interval '10 days', 'future', '{}' FROM generate_series(0, 9) AS n",
    )
    sql.run(kept.database, "UPDATE audit SET at = now() - interval '50 days' WHERE id = 1")
    entries = sql.count(kept.database, "audit")
    result = kept.maintain(KEEP_QUARANTINE_DAYS=45, KEEP_AUDIT_DAYS=45, KEEP_FEED_DAYS=100)
    assert result.exit_code == 0, result.output
    assert "5 fixes deleted from quarantine" in result.output
    assert "1 entries deleted from the audit trail" in result.output
    assert "followers are told what came in at " in result.output
    assert sql.count(kept.database, "audit") == entries - 1
    assert kept.fixes() == 39
