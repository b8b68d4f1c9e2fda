"""The fleet that a process keeps warm: what it reads, and that it notices when all of it is another one."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from tests.live.uncached import uncached
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import EVERYTHING, World
from tests.support.urls import VESSELS as URL

from harbor_api.database import Database
from harbor_api.domain.errors import Unavailable
from harbor_api.domain.fleet_search import EVERYTHING as ALL
from harbor_api.live import fleet, fragments
from harbor_api.live.fleet import LiveFleet, Reading
from harbor_api.live.fragments import BLOCK, Fragment, Question
from harbor_api.repositories import fleet as repository
from harbor_api.web import compression, runtime

_FIX = """
WITH fix AS (
    INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
    VALUES (:vessel, now() + :ago * interval '-1 second', :tracker, now(), 59, 10, nextval('fleet_order'))
    RETURNING *
)
INSERT INTO latest_positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
SELECT vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq FROM fix
ON CONFLICT (vessel_id) DO UPDATE SET (recorded_at, received_at, seq) =
    (excluded.recorded_at, excluded.received_at, excluded.seq)
"""
LATE = replace(EVERYTHING, delay_s=60)
COARSE = replace(EVERYTHING, coordinate_decimals=2)


def _fix(database: Database, vessel: int, ago: float = 0, tracker: int = 1) -> None:
    sql.run(database, _FIX, vessel=vessel, ago=ago, tracker=tracker)


def _shown(reading: Reading) -> dict[int, Fragment]:
    return {each.id: each for each in reading.picture}


@pytest.fixture
def live(app: Flask, world: World) -> LiveFleet:
    """Return a fleet of three that nobody has read yet."""
    for name in ("One", "Two", "Three"):
        world.vessel(name)
    now = runtime.of(app)
    return LiveFleet(now.database, now.settings)


@pytest.fixture
def rows(database: Database) -> Iterator[list[int]]:
    """Return the numbers of rows that statements have found."""
    found: list[int] = []
    fetch = repository.statements.rows

    def counting(*args: Any) -> list[tuple[Any, ...]]:
        read: list[tuple[Any, ...]] = fetch(*args)
        found.append(len(read))
        return read

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repository.statements, "rows", counting)
        yield found


def test_reads_what_has_changed_and_no_more(live: LiveFleet, database: Database, rows: list[int]):
    live.read(EVERYTHING)
    rows.clear()
    before = live.read(EVERYTHING)
    # One row, of the clock.
    assert rows == [1]
    again = live.read(EVERYTHING)
    assert again.picture is before.picture
    assert again.moment > before.moment
    _fix(database, 2)
    rows.clear()
    after = live.read(EVERYTHING)
    assert rows == [1]
    assert after.number > before.number
    changed = {number for number, each in _shown(after).items() if each != _shown(before)[number]}
    assert changed == {2}


def test_a_late_fix_changes_what_a_coarse_key_sees_alone(live: LiveFleet, database: Database):
    _fix(database, 1, ago=1)
    fine, coarse = live.read(EVERYTHING), live.read(COARSE)
    sql.run(
        database,
        "INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq) "
        "SELECT vessel_id, date_bin('432 s', recorded_at, 'epoch'), 1, now(), 58, 10, nextval('fleet_order') "
        "FROM latest_positions",
    )
    assert live.read(EVERYTHING).picture is fine.picture
    assert _shown(coarse)[1].lat == 59
    assert _shown(live.read(COARSE))[1].lat == 58


@pytest.mark.parametrize("viewer", [EVERYTHING, COARSE, LATE], ids=["all", "coarse", "late"])
@pytest.mark.parametrize(
    "becomes",
    [
        # Restored: numbers that were there are gone.
        ["UPDATE vessels SET name = 'Older', seq = id"],
        # And have come again meanwhile, for something else.
        ["TRUNCATE latest_positions", "TRUNCATE positions"],
        [
            "CREATE TABLE kept AS SELECT * FROM vessels",
            "TRUNCATE vessels CASCADE",
            "INSERT INTO vessels OVERRIDING SYSTEM VALUE SELECT * FROM kept",
            "UPDATE vessels SET name = 'Another'",
            "DROP TABLE kept",
        ],
    ],
    ids=["numbers gone back", "positions gone", "vessels replaced"],
)
def test_notices_that_the_database_is_another(
    app: Flask, live: LiveFleet, database: Database, viewer, becomes
):
    sql.run(database, "UPDATE vessels SET seq = seq + 1000")
    _fix(database, 1, ago=120)
    sql.run(database, "UPDATE positions SET received_at = recorded_at")
    live.read(viewer)
    if "Older" in becomes[0]:
        sql.run(database, "TRUNCATE positions, latest_positions")
        live.read(viewer)
    for statement in becomes:
        sql.run(database, statement)
    found = live.read(viewer).picture
    fresh = LiveFleet(database, runtime.of(app).settings).read(viewer).picture
    assert list(found) == list(fresh)


def test_notices_that_a_dump_is_restored_table_by_table(live: LiveFleet, database: Database):
    """The tables are there and the positions are, but no vessels yet, when somebody reads."""
    sql.run(database, "CREATE TABLE kept AS SELECT * FROM vessels")
    _fix(database, 1)
    sql.run(database, "TRUNCATE vessels CASCADE")
    assert not _shown(live.read(EVERYTHING))
    sql.run(database, "INSERT INTO vessels OVERRIDING SYSTEM VALUE SELECT * FROM kept")
    sql.run(database, "DROP TABLE kept")
    assert len(_shown(live.read(EVERYTHING))) == 3


def test_a_clock_that_is_put_back_makes_vessels_fresh_again(live: LiveFleet, database: Database):
    _fix(database, 1, ago=1_000)
    _fix(database, 2, ago=10)
    before = live.read(EVERYTHING)
    assert [each.stale for each in before.picture] == [True, False, True]
    [view] = live._views.values()
    assert view._state is not None
    ahead = view._aged(view._state.picture, before.moment + timedelta(days=365), since=before.moment)
    assert [each.stale for each in ahead] == [True, True, True]
    back = view._aged(ahead, before.moment, since=before.moment + timedelta(days=365))
    assert list(back) == list(before.picture)
    # And each of them turns again when its time comes.
    assert [
        each.stale for each in view._aged(back, before.moment + timedelta(days=1), since=before.moment)
    ] == [
        True,
        True,
        True,
    ]


@pytest.mark.parametrize("viewer", [EVERYTHING, LATE])
def test_is_read_in_chunks_and_anew_where_too_much_has_changed(
    app: Flask, live: LiveFleet, database: Database, monkeypatch, viewer
):
    monkeypatch.setattr(fleet, "_CHUNK", 1)
    monkeypatch.setattr(repository, "MOST_NEWS", 4)
    monkeypatch.setattr(fleet, "MOST_NEWS", 4)
    assert len(live.read(viewer).picture) == 3
    for tracker in range(6):
        _fix(database, 3, ago=100 - tracker, tracker=tracker)
    sql.run(database, "UPDATE positions SET received_at = recorded_at")
    fresh = LiveFleet(database, runtime.of(app).settings)
    assert list(live.read(viewer).picture) == list(fresh.read(viewer).picture)


def test_stays_right_where_the_database_was_away(live: LiveFleet, database: Database, monkeypatch):
    live.read(EVERYTHING)
    _fix(database, 1)
    with monkeypatch.context() as patch:

        def away() -> None:
            raise Unavailable("away")

        patch.setattr(database, "autocommit", away)
        for _ in range(2):
            with pytest.raises(Unavailable):
                live.read(EVERYTHING)
    assert _shown(live.read(EVERYTHING))[1].lat == 59


def test_what_a_key_comes_to_see_it_sees_at_once(client: CheckedClient, world: World, admin):
    for _ in range(3):
        world.vessel()
    key, secret = world.key(vessel_ids=frozenset({1}))
    bearer = {"Authorization": f"Bearer {secret}"}

    def seen() -> list[int]:
        return [each["id"] for each in client.get(URL, headers=bearer).json["features"]]

    assert seen() == [1]
    for ids in ([2, 3], [], [1, 2, 3]):
        url = f"/api/v1/api-keys/{key.id}"
        assert (
            client.patch(url, json={"vessel_ids": ids}, headers=admin | {"If-Match": "*"}).status_code == 200
        )
        assert seen() == ids


def test_what_is_due_and_comes_late_is_seen_at_once(live: LiveFleet, database: Database):
    # The clock of a view with a delay stands still for the length of the test.
    late = replace(EVERYTHING, delay_s=31_536_000)
    assert _shown(live.read(late))[2].lat is None
    _fix(database, 2, ago=31_536_000 * 2)
    assert _shown(live.read(late))[2].lat is None
    sql.run(database, "UPDATE positions SET received_at = recorded_at")
    assert _shown(live.read(late))[2].lat == 59
    # One that is not due keeps back what stands behind it, until it is withdrawn.
    _fix(database, 1)
    _fix(database, 3, ago=31_536_000 * 2)
    sql.run(database, "UPDATE positions SET received_at = recorded_at WHERE vessel_id = 3")
    assert _shown(live.read(late))[3].lat is None
    sql.run(database, "DELETE FROM positions WHERE vessel_id = 1")
    assert _shown(live.read(late))[3].lat == 59


def test_keeps_no_more_views_than_it_may(live: LiveFleet, monkeypatch):
    monkeypatch.setattr(fleet, "_MOST_FRAGMENTS", 7)
    for delay_s in range(5):
        live.read(replace(EVERYTHING, delay_s=delay_s))
    # Those before hold three each; the one that is read is kept, whatever it holds.
    assert len(live._views) == 3
    monkeypatch.setattr(fleet, "_IDLE_S", -1.0)
    live.read(COARSE)
    assert len(live._views) == 1


def test_keeps_no_more_answers_than_it_may(live: LiveFleet, monkeypatch):
    """Each that is kept may be as large as the fleet."""
    monkeypatch.setattr(fragments, "_FEW_KEPT", 0)
    picture = live.read(EVERYTHING).picture
    asked = [Question(ALL, retired=False, limit=3 + n, behind=None, granted=None) for n in range(4)]
    found = [picture.find(each) for each in asked[:2]]
    assert picture.find(asked[0]) is found[0]
    # Three vessels each: two are kept, of which the first was asked for last.
    picture.find(asked[2])
    assert picture.find(asked[0]) is found[0]
    assert picture.find(asked[1]) is not found[1]
    monkeypatch.setattr(fragments, "_TIMES_KEPT", 0)
    last = picture.find(asked[3])
    assert picture.find(asked[3]) is last


def test_many_blocks_are_one_answer(app: Flask, world: World):
    client = app.test_client()
    sql.run(
        world.database,
        f"INSERT INTO vessels (name, seq) SELECT n, nextval('fleet_order') "
        f"FROM generate_series(1, {3 * BLOCK}) AS n",
    )
    sql.run(world.database, f"UPDATE vessels SET retired_at = now() WHERE id BETWEEN {BLOCK} AND {2 * BLOCK}")
    _, secret = world.key()
    bearer = {"Authorization": f"Bearer {secret}"}
    viewer = runtime.of(app).known_keys.look_up(secret)
    for retired in (False, True):
        url = f"{URL}?retired=true" if retired else URL
        plain = client.get(url, headers=bearer)
        assert plain.data == uncached(app, viewer, ALL, retired=retired)
        # The same bytes have the same tag, whatever was asked for.
        all_of_them = client.get(f"{url}{'&' if retired else '?'}stale=true", headers=bearer)
        assert (all_of_them.data, all_of_them.headers["ETag"]) == (plain.data, plain.headers["ETag"])


def test_a_body_is_coded_once_for_all_who_want_it_at_once(app: Flask, world: World, live, monkeypatch):
    """Others have their turns while it is coded, and would all begin to code it, too."""
    began: list[str] = []
    encode = compression.encode

    def counted(content: bytes, coding: compression.Coding) -> bytes:
        began.append(coding)
        time.sleep(0.05)
        return encode(content, coding)

    monkeypatch.setattr(compression, "encode", counted)
    headers = {**world.bearer(), "Accept-Encoding": "br, identity;q=0"}
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: app.test_client().get(URL, headers=headers).data, range(8))
        assert len(set(answers)) == 1
    assert began == ["br"]


@pytest.mark.parametrize("viewer", [EVERYTHING, LATE, COARSE])
def test_what_was_withdrawn_and_forgotten_while_nobody_read_is_not_shown(
    database: Database, live: LiveFleet, viewer: Any
) -> None:
    """Withdrawals are kept for days, and a view that rests for longer is read anew."""
    _fix(database, 1, ago=3_600)
    sql.run(database, "UPDATE positions SET received_at = recorded_at")
    assert _shown(live.read(viewer))[1].lat is not None
    for view in live._views.values():
        view._asked_at -= timedelta(days=1)
    sql.run(
        database,
        """
        DELETE FROM positions; DELETE FROM latest_positions;
        INSERT INTO withdrawals SELECT nextval('fleet_order'), number, now(), 1, now()
        FROM unnest(ARRAY[1, 2]) AS number;
        DELETE FROM withdrawals WHERE seq < (SELECT max(seq) FROM withdrawals)
        """,
    )
    assert _shown(live.read(viewer))[1].lat is None
