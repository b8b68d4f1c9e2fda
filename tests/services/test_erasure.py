"""An interval of a vessel is erased for good, over partitions, and followers are told."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import ACTOR, World
from tests.support.urls import POSITIONS, VESSELS

from harbor_api.domain.errors import Conflict, NotFound
from harbor_api.domain.months import Month
from harbor_api.services import erasure

_STORE = """
INSERT INTO {table} (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
SELECT :vessel, timestamptz '2026-01-01' + n * interval '1 h', 1, now(), 59.9, 10.7, nextval('fleet_order')
FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
"""


def test_what_is_erased_is_gone_from_all_that_shows_it(client: CheckedClient, world: World):
    database = world.database
    bearer, one, other = world.bearer(), world.vessel().id, world.vessel().id
    # Of two partitions: the wide one of all that is older, and this month's.
    month = Month.of(datetime.now(UTC)).begin
    hours = int((month - datetime(2026, 1, 1, tzinfo=UTC)) / timedelta(hours=1))
    for vessel in (one, other):
        sql.run(database, _STORE.format(table="positions"), vessel=vessel, first=hours - 700, last=hours + 9)
        sql.run(
            database, _STORE.format(table="latest_positions"), vessel=vessel, first=hours + 9, last=hours + 9
        )
    sql.run(
        database,
        "INSERT INTO quarantine (vessel_id, recorded_at, tracker_id, received_at, reason, fix) "
        "SELECT v, :at, 2, now(), 'future', '{}' FROM unnest(ARRAY[:one, :other]) AS v",
        at=month,
        one=one,
        other=other,
    )
    begun = client.get(POSITIONS, query_string={"from": "now"}, headers=bearer).json["next"]
    since, until = month - timedelta(hours=650), month + timedelta(days=400)
    erased = erasure.erase(database, one, since, until, actor=ACTOR)
    assert erased == erasure.Erased(stored=660, held=1)
    count = "SELECT count(*) FROM positions WHERE vessel_id = :vessel"
    assert [sql.value(database, count, vessel=each) for each in (one, other)] == [50, 710]
    assert sql.column(database, "SELECT vessel_id FROM quarantine") == [other]
    told = client.get(POSITIONS, query_string={"cursor": begun, "limit": 1_000}, headers=bearer).json
    assert {(each["op"], each["vessel_id"]) for each in told["items"]} == {("delete", one)}
    assert len(told["items"]) == 660
    # The map goes back to the newest that is left.
    shown = client.get(VESSELS, headers=bearer).json["features"]
    latest = {each["id"]: each["properties"]["recorded_at"] for each in shown}
    assert datetime.fromisoformat(latest[one]) == month - timedelta(hours=651)
    assert datetime.fromisoformat(latest[other]) == month + timedelta(hours=9)
    entry = sql.run(database, "SELECT action, subject, after FROM audit ORDER BY id DESC LIMIT 1")[0]
    assert tuple(entry[:2]) == ("vessel.positions_erased", f"vessels/{one}")
    assert entry[2].keys() == {"since", "until"}
    assert erasure.erase(database, one, since, until, actor=ACTOR) == erasure.Erased(stored=0, held=0)


def test_what_is_asked_must_make_sense(world: World):
    now = datetime.now(UTC)
    with pytest.raises(NotFound):
        erasure.erase(world.database, 99, now - timedelta(days=1), now, actor=ACTOR)
    with pytest.raises(Conflict):
        erasure.erase(world.database, world.vessel().id, now, now, actor=ACTOR)
