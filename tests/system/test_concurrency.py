"""The order, the overlap and the repeats in which fixes arrive do not matter to what is stored of them.

Real AIS data is posted by eight clients at once to two services over one database, in shuffled batches
that overlap and repeat; the outcome is that of one sorted pass into another database. Inside one batch the
same holds for whatever Hypothesis thinks of.
"""

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import sql
from tests.support.examples import many
from tests.support.factories import MASTER_KEY, World, rolled_back
from tests.support.live_service import LiveService
from tests.support.signed_posts import (
    VERDICT_OF_STATUS,
    Connection,
    backwards,
    in_both,
    register_fleet,
    signed_headers,
)
from tests.support.urls import BATCH
from tests.support.urls import POSITIONS as SINGLE

from harbor_api.app import create_app
from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.positions import Fix, Motion, Receipt, ReceivedFix, Submission
from harbor_api.ingest import settling
from harbor_api.settings import Settings
from harbor_api.simulation import ais
from harbor_api.simulation.replay import fix_of
from harbor_api.web import runtime

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FILES = ("ais-denmark-2026-04-26.csv", "ais-us-2014-01-01.csv")
CLIENTS = 8
Ships = dict[int, list[dict[str, Any]]]
_KEPT = "vessel_id, recorded_at, tracker_id, lat, lon, sog, cog, heading, nav_status, accuracy_m, battery_v"


def _ships(one_of: int) -> Ships:
    """Return the fixes of one of so many ships of both files, by the number of her tracker, in order of time.

    Every twentieth has been without a fix once, and once ahead of her time.
    """
    lines = ((DATA / name).read_bytes().splitlines(keepends=True) for name in FILES)
    read = itertools.chain.from_iterable(map(ais.Reader, lines))
    reported: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read:
        if isinstance(row, ais.AisRow):
            reported[row.ship.mmsi].append(orjson.loads(orjson.dumps(fix_of(row), option=orjson.OPT_UTC_Z)))
    ships = {number: fixes for number, (_, fixes) in enumerate(sorted(reported.items())[::one_of], start=1)}
    for number, fixes in ships.items():
        if number % 20 == 0:
            fixes.append({"recorded_at": "2026-04-25T23:59:59Z", "lat": 0, "lon": 0})
            fixes.append({"recorded_at": "2099-01-01T00:00:00Z", "lat": 55.5, "lon": 11.1})
        fixes.sort(key=lambda fix: fix["recorded_at"])
        for count, fix in enumerate(fixes):
            fix["number"] = count
    return ships


def _posts(ships: Ships, chance: random.Random) -> list[tuple[int, list[dict[str, Any]]]]:
    """Return batches in no order: each fix is in one to three of them, and some batches come twice."""
    posts = []
    for number, fixes in ships.items():
        sent = [fix for fix in fixes for _ in range(chance.choice((1, 1, 1, 1, 2, 3)))]
        chance.shuffle(sent)
        while sent:
            size = chance.choice((1, 20, 60, 100))
            posts += [(number, sent[:size])] * chance.choice((1, 1, 1, 1, 1, 2))
            del sent[:size]
    chance.shuffle(posts)
    return posts


def _send(port: int, posts: Sequence[tuple[int, list[dict[str, Any]]]]) -> Counter[tuple[Any, ...]]:
    """Post everything over one connection, single fixes as such; count the verdicts of each fix."""
    told: Counter[tuple[Any, ...]] = Counter()
    with Connection(port) as connection:
        for number, fixes in posts:
            # Latitude 91: of a fix that is refused when posted alone, the number is not noted.
            if len(fixes) == 1 and fixes[0]["lat"] <= 90:
                status, answer = connection.post(SINGLE, number, fixes[0])
                assert status in VERDICT_OF_STATUS, answer
                verdicts = [answer]
            else:
                status, answer = connection.post(BATCH, number, {"fixes": fixes})
                assert status == 200, answer
                verdicts = answer["verdicts"]
            for fix, verdict in zip(fixes, verdicts, strict=True):
                told[number, fix["recorded_at"], verdict["verdict"], verdict.get("differs", False)] += 1
    return told


def _sorted_pass(url: str, ships: Ships) -> None:
    """Post each ship's fixes once and in order, one request after another."""
    app = create_app(
        Settings(database_url=url, tracker_master_key=MASTER_KEY, tracker_requests_per_minute=1_000_000)
    )
    client = app.test_client()
    for number, fixes in ships.items():
        for first in range(0, len(fixes), 1_000):
            data = app.json.dumps({"fixes": fixes[first : first + 1_000]}).encode()
            answer = client.post(BATCH, data=data, headers=signed_headers(number, data))
            assert answer.status_code == 200, answer.text
    runtime.of(app).database.dispose()


def _positions(database: Database) -> dict[Any, Any]:
    return {tuple(row[:3]): tuple(row[3:]) for row in sql.run(database, f"SELECT {_KEPT} FROM positions")}


def _latest(database: Database) -> dict[Any, Any]:
    return {row[0]: tuple(row[1:3]) for row in sql.run(database, f"SELECT {_KEPT} FROM latest_positions")}


def _held(database: Database) -> list[Any]:
    return list(
        sql.run(
            database,
            "SELECT vessel_id, recorded_at, tracker_id, reason, state, fix, raw FROM quarantine "
            "ORDER BY 1, 2, 3",
        )
    )


def _ambiguous(ships: Ships) -> set[tuple[int, datetime, int]]:
    """Return the keys that a ship has reported with different content: which comes first is chance."""
    contents = defaultdict(set)
    for number, fixes in ships.items():
        for fix in fixes:
            content = tuple(sorted((name, fix[name]) for name in fix if name != "number"))
            contents[number, datetime.fromisoformat(fix["recorded_at"]), number].add(content)
    return {key for key, different in contents.items() if len(different) > 1}


@pytest.mark.skipif(not DATA.is_dir(), reason="the AIS files are not beside this checkout")
@pytest.mark.parametrize("one_of", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_real_data_from_eight_clients_at_once_ends_as_one_sorted_pass(
    new_database, tmp_path: Path, one_of: int
):
    ships = _ships(one_of)
    posts = _posts(ships, random.Random(5))
    url, sorted_url = new_database(), new_database()
    with LiveService(url, log=tmp_path / "one.log") as one, LiveService(url, log=tmp_path / "two.log") as two:
        database = one.world.database
        register_fleet(database, len(ships))
        ports = [one.port, two.port] * (CLIENTS // 2)
        with ThreadPoolExecutor(CLIENTS) as pool:
            shares = [posts[client::CLIENTS] for client in range(CLIENTS)]
            told = sum(pool.map(_send, ports, shares), Counter())
        after = Database(sorted_url, pool_size=1)
        register_fleet(after, len(ships))
        _sorted_pass(sorted_url, ships)
        try:
            ambiguous = _ambiguous(ships)
            shuffled, in_order = _positions(database), _positions(after)
            print(
                f"{len(posts)} posts with {sum(told.values())} fixes of {len(ships)} ships: "
                f"{len(shuffled)} stored, {len(_held(database))} held, {len(ambiguous)} told in two ways"
            )
            assert len(in_order) > 10_000 / one_of
            assert shuffled.keys() == in_order.keys()
            assert {key for key in shuffled if shuffled[key] != in_order[key]} <= ambiguous
            assert _latest(database) == _latest(after)
            assert _held(database) == _held(after)
            assert len(_held(after)) == 2 * (len(ships) // 20)
            numbers = "SELECT tracker_id, numbers FROM arrived_numbers ORDER BY tracker_id"
            assert sql.run(database, numbers) == sql.run(after, numbers)
            assert len(sql.run(database, numbers)) == len(ships)
            for each in (database, after):
                assert not backwards(each)
                assert not in_both(each)
        finally:
            after.dispose()
    _assert_told_once(told, shuffled, {(key[0], key[1]) for key in ambiguous})


def _assert_told_once(
    told: Counter[tuple[Any, ...]], stored: dict[Any, Any], ambiguous: set[tuple[int, datetime]]
) -> None:
    """Over all answers of both services each stored fix is told "stored" exactly once."""
    verdicts: dict[tuple[int, datetime], Counter[str]] = defaultdict(Counter)
    for (number, recorded_at, verdict, differs), count in told.items():
        key = (number, datetime.fromisoformat(recorded_at))
        verdicts[key][verdict] += count
        assert not differs or key in ambiguous, f"{key} was told to differ from itself"
    assert {key for key, counts in verdicts.items() if counts["stored"]} == {key[:2] for key in stored}
    for key, counts in verdicts.items():
        assert counts["stored"] <= 1, (key, counts)
        kinds = {"stored" if verdict == "duplicate" else verdict for verdict in counts}
        assert len(kinds) == 1 or key in ambiguous, (key, counts)


# Inside one batch

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
# Two places that a ship reaches from one another, one that she does not, one where no ship is.
_PLACES = ((59.9, 10.7), (59.901, 10.702), (-33.9, 151.2), (0.0, 0.0))
_fixes = st.builds(
    lambda minute, place, sog, tracker: (tracker, minute, place, sog),
    st.integers(-3, 8),
    st.sampled_from(_PLACES),
    st.sampled_from((None, 0.0, 8.4)),
    st.integers(0, 1),
)


def _submissions(sent: Sequence[Any], trackers: Sequence[int], vessel: int) -> list[Submission]:
    """Return one submission for each run of fixes from the same tracker."""
    return [
        Submission(
            tracker_id=trackers[sender],
            fixes=tuple(
                ReceivedFix(
                    vessel_id=vessel,
                    tracker_id=trackers[sender],
                    received_at=NOW,
                    # The last minutes are beyond what a clock may be ahead.
                    fix=Fix(
                        recorded_at=NOW + timedelta(minutes=minute),
                        motion=Motion(lat=lat, lon=lon, sog=sog),
                    ),
                    raw={"lat": lat, "lon": lon, "sog": sog},
                )
                for _, minute, (lat, lon), sog in run
            ),
            numbers=(),
        )
        for sender, run in itertools.groupby(sent, key=lambda each: each[0])
    ]


def _outcome(
    unit_of_work: UnitOfWork, submissions: list[Sequence[Submission]]
) -> tuple[dict[Any, Counter[Any]], list[Any]]:
    """Settle groups one after another; return the last one's verdicts of each fix, and all that is kept."""
    receipts: list[Receipt] = []
    for group in submissions:
        receipts = settling.settle(unit_of_work, group, thresholds=Thresholds())
    verdicts: dict[Any, Counter[Any]] = defaultdict(Counter)
    for submission, receipt in zip(submissions[-1], receipts, strict=True):
        for received_fix, verdict in zip(submission.fixes, receipt.verdicts, strict=True):
            verdicts[received_fix.tracker_id, received_fix.fix.recorded_at][
                repr((received_fix.fix.motion, verdict))
            ] += 1
    kept: list[Any] = [
        sql.run(unit_of_work, f"SELECT {_KEPT} FROM {table} ORDER BY 1, 2, 3")
        for table in ("positions", "latest_positions")
    ]
    held = "SELECT recorded_at, tracker_id, reason, fix, raw FROM quarantine ORDER BY 1, 2"
    kept.append(sql.run(unit_of_work, held))
    return verdicts, kept


def test_order_and_repeats_inside_a_batch_do_not_matter(database: Database, world: World):
    vessel = world.vessel()
    trackers = [world.tracker(vessel).tracker.number for _ in range(2)]

    @settings(
        max_examples=many(150), deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(st.lists(_fixes, max_size=8), st.lists(_fixes, min_size=1, max_size=14), st.data())
    def check(earlier, sent, data):
        shuffled = data.draw(st.permutations(sent))
        repeated = data.draw(st.permutations(sent + data.draw(st.lists(st.sampled_from(sent), max_size=6))))

        def settled(batch):
            groups = [_submissions(each, trackers, vessel.id) for each in (earlier, batch)]
            # Nothing stays: each batch meets the same vessel.
            with rolled_back(database) as unit_of_work:
                return _outcome(unit_of_work, groups)

        verdicts, kept = settled(sent)
        assert settled(shuffled) == (verdicts, kept)
        more, kept_of_repeats = settled(repeated)
        assert kept_of_repeats == kept
        assert {key: set(counts) for key, counts in verdicts.items()}.keys() == more.keys()
        for key, counts in verdicts.items():
            # A repeat adds verdicts that say "duplicate" or "quarantined", and takes none away.
            assert not counts - more[key]
            assert not [told for told in more[key] - counts if "'stored'" in told]

    check()


def test_of_two_contents_for_one_time_the_one_that_was_judged_is_held(database: Database, world: World):
    vessel = world.vessel()
    tracker = world.tracker(vessel).tracker.number
    # The first in order of content is null island, for which both are held.
    sent = [(0, 0, (59.9, 10.7), None), (0, 0, (0.0, 0.0), None)]
    groups = [_submissions(sent, [tracker], vessel.id)]
    with rolled_back(database) as unit_of_work:
        _, (_, _, held) = _outcome(unit_of_work, groups)
    assert [(row.reason, row.fix["lat"], row.raw["lat"]) for row in held] == [("null_island", 0, 0)]
