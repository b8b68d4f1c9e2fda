"""Where positions are distributed statements are others, and find and leave the same: over one PostgreSQL.

``tests/system/test_citus.py`` tries them with a real Citus.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import NewDatabase
from tests.repositories.test_plans_at_size import MODULES, _statements
from tests.support import sql
from tests.support.examples import many
from tests.support.factories import ACTOR, EPOCH, STALE_AFTER, World

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.errors import Conflict, NotFound, Unavailable
from harbor_api.domain.feed import Following
from harbor_api.domain.fleet_search import Box
from harbor_api.domain.history import Window
from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.moments import GAP
from harbor_api.domain.order import Horizon
from harbor_api.domain.positions import Fix, Motion, ReceivedFix, Submission
from harbor_api.domain.quarantine import Selection, Withdrawal
from harbor_api.ingest import settling
from harbor_api.postgres import distributed_forms, distribution
from harbor_api.postgres.distributed_forms import StatementUnfit
from harbor_api.postgres.sight import Sight
from harbor_api.schemas.history import WRITERS
from harbor_api.services import quarantine

STATEMENTS = dict(each for module in MODULES for each in _statements(module) if isinstance(each[1], bytes))
NOW = EPOCH + timedelta(hours=5)
VESSELS, TRACKERS = 2, 2


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_has_a_form(name: str):
    forms = distributed_forms.of(STATEMENTS[name])
    for form in forms:
        assert b"positions AS p" not in form.replace(b"latest_positions AS p", b"")
    assert forms == distributed_forms.of(STATEMENTS[name])


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT * FROM positions",
        b"SELECT * FROM positions AS p WHERE p.lat > 0",
        b"UPDATE positions SET late = NULL",
        b"SELECT 1 FROM vessels AS v JOIN positions AS p ON p.vessel_id = v.id",
    ],
)
def test_what_has_none_is_refused(text: bytes):
    with pytest.raises(StatementUnfit):
        distributed_forms.of(text)


@dataclass(frozen=True)
class Pair:
    """A database, and one of which the statements are those for distributed positions."""

    plain: Database
    distributed: Database

    def each(self) -> Sequence[Database]:
        return self.plain, self.distributed


@pytest.fixture(scope="module")
def pair(new_database: NewDatabase) -> Iterator[Pair]:
    """Return two databases with the same vessels and trackers."""
    plain, url = Database(new_database()), new_database()
    maker = Database(url)
    for function in distribution.FUNCTIONS:
        sql.run(maker, function.definition)
    maker.dispose()
    # What is connected already would not know.
    distributed = Database(url)
    for database in (plain, distributed):
        world = World(database)
        for _ in range(VESSELS):
            vessel = world.vessel()
            for _ in range(TRACKERS):
                world.tracker(vessel)
    with plain.autocommit() as one, distributed.autocommit() as other:
        connections = [sql.connection_of(each).connection.driver_connection for each in (one, other)]
        assert [getattr(each, "is_distributed", None) for each in connections] == [False, True]
    yield Pair(plain, distributed)
    plain.dispose()
    distributed.dispose()


def test_by_way_of_a_pooler_nothing_is_asked(pair: Pair):
    url = pair.distributed.engine.url.render_as_string(hide_password=False)
    pair.distributed.let_pool()
    pooled = Database(url, is_pooled=True)
    with pytest.raises(Unavailable) as raised:
        sql.run(pooled, "SELECT 1")
    assert raised.value.cause is not None
    assert "has to lead to the coordinator itself" in raised.value.cause
    pooled.dispose()


fixes = st.lists(
    st.tuples(
        *(st.integers(0, most - 1) for most in (VESSELS, TRACKERS)),
        st.integers(0, 40),
        st.sampled_from([59.9, 59.9, 59.9001, 12.5]),
    ),
    min_size=1,
    max_size=12,
)
deeds = st.one_of(
    st.tuples(st.just("store"), fixes),
    st.tuples(st.just("store"), fixes),
    st.tuples(st.just("withdraw"), st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 40))),
    st.tuples(st.just("decide"), st.sampled_from(["released", "rejected"])),
    st.tuples(st.just("erase"), st.tuples(st.integers(0, 1), st.integers(0, 40))),
    st.tuples(st.just("trim"), st.tuples(st.integers(0, 1), st.integers(0, 40))),
)


def _at(second: int) -> Any:
    return EPOCH + timedelta(minutes=7 * second)


def _received(vessel: int, tracker: int, second: int, lat: float) -> ReceivedFix:
    fix = Fix(recorded_at=_at(second), motion=Motion(lat=lat, lon=10.5, sog=8.4, accuracy_m=4, nav_status=3))
    return ReceivedFix(1 + vessel, 1 + TRACKERS * vessel + tracker, NOW, fix)


def _do(database: Database, deed: tuple[str, Any]) -> Any:
    """Do something, and return what came of it."""
    what, told = deed

    def done(unit_of_work: UnitOfWork) -> Any:
        if what == "store":
            submission = Submission(tracker_id=1, fixes=tuple(_received(*each) for each in told))
            [receipt] = settling.settle(unit_of_work, [submission], thresholds=Thresholds())
            return receipt.verdicts
        if what == "decide":
            return quarantine.decide_all(
                unit_of_work,
                Selection(reason="impossible_jump"),
                told,
                now=NOW,
                tolerance=timedelta(minutes=5),
                actor=ACTOR,
                is_rehearsal=False,
            )
        if what == "withdraw":
            vessel, tracker, second = told
            withdrawal = Withdrawal(
                vessel_id=1 + vessel,
                recorded_at=_at(second),
                tracker_id=None if tracker > 1 else 1 + TRACKERS * vessel + tracker,
                note="wrong",
            )
            try:
                held = quarantine.withdraw(
                    unit_of_work, withdrawal, now=NOW, thresholds=Thresholds(), actor=ACTOR
                )
            except (Conflict, NotFound) as error:
                return type(error)
            return replace(held, id=0)
        vessel, second = told
        since, until = _at(second), _at(second + 5)
        if what == "trim":
            return unit_of_work.partitions.trim(1 + vessel, since, until, number=2**62, most=3)
        unit_of_work.positions.admit([1 + vessel], [])
        names = unit_of_work.partitions.of_vessel(1 + vessel, since, until, most=3)
        erased = unit_of_work.partitions.erase(names, since, until) if names else 0
        unit_of_work.run_last(unit_of_work.revisions.moving_back([1 + vessel]))
        return names, erased

    if what == "store":
        return database.transact(done)
    with database.unit_of_work() as unit_of_work:
        return done(unit_of_work)


_EMPTY = "TRUNCATE positions, latest_positions, quarantine, withdrawals RESTART IDENTITY"
# Of those that are taken at once any may be told first.
_LEFT = {
    "positions": "vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, nav_status, late, seq, "
    "accuracy_m, released_at",
    "latest_positions": "vessel_id, recorded_at, tracker_id, lat, seq",
    "quarantine": "vessel_id, recorded_at, tracker_id, reason, fix, state, decided_by, note",
    "withdrawals": "vessel_id, recorded_at, tracker_id",
}


def _left(database: Database) -> list[list[Any]]:
    found = [
        [tuple(row) for row in sql.run(database, f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3")]
        for table, columns in _LEFT.items()
    ]
    return [*found, sql.column(database, "SELECT seq FROM withdrawals ORDER BY seq")]


def _found(database: Database, number: int, second: int, limit: int) -> Iterator[Any]:
    """Yield what readers find up to a number of the order, whatever they may see."""
    horizon = Horizon(moment=NOW, number=number)
    item_key = b"k" * 16
    window = Window(vessel_id=1, since=_at(-100), until=_at(100))
    for decimals in (7, 1):
        for seen, oldest in ((None, {}), (horizon, {}), (None, {"oldest": _at(second)})):
            sight = Sight(key_id=0, all_vessels=True, decimals=decimals, horizon=seen, **oldest)
            with database.autocommit() as unit_of_work:
                history, feed = unit_of_work.history(sight), unit_of_work.feed(sight, item_key=item_key)
                fleet = unit_of_work.fleet(sight, stale_after=STALE_AFTER)
                form = next(iter(WRITERS.values())).form
                for descending in (False, True):
                    asked = replace(window, descending=descending)
                    page = history.page(asked, form, limit=limit, number=number)
                    yield page.fixes, page.last, page.available_from, page.end
                for follows in (Following(), Following(box=Box(10, 59, 11, 60))):
                    page_of_feed = feed.page(0, follows, limit=1_000, number=number)
                    items = [each.rstrip(",") for each in page_of_feed.items.split('{"op"')]
                    yield sorted(items), page_of_feed.count
                    yield [row[0] for row in feed.scan(0, follows, limit=limit, number=number).rows]
                yield [(each.vessel.id, each.latest) for each in fleet.after(0, most=10)]
                news = fleet.news(0)
                yield [(each.vessel.id, each.latest) for each in news.vessels or ()], news.is_behind
                yield unit_of_work.tracks(sight).columns(1, most=limit, number=number).fixes.lat.tolist()
                moments = unit_of_work.moments(sight, _at(second), number=number)
                yield moments.fixes([1, 2], gap=GAP)
    with database.autocommit() as unit_of_work:
        received = [_received(0, 0, second, 59.9), _received(0, 1, second + 3, 59.9)]
        yield unit_of_work.positions.around([(1, [each.key for each in received])])
        yield unit_of_work.positions.trackers_at(1, _at(second))


@given(done=st.lists(deeds, min_size=1, max_size=8), second=st.integers(0, 40), limit=st.integers(1, 9))
@settings(max_examples=many(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_leave_and_find_the_same(pair: Pair, done, second, limit):
    for database in pair.each():
        sql.run(database, _EMPTY)
        sql.run(database, "SELECT setval('fleet_order', 1000)")
    for deed in done:
        assert _do(pair.plain, deed) == _do(pair.distributed, deed)
        assert _left(pair.plain) == _left(pair.distributed)
    for number in (1000 + second // 2, 2**62):
        plain, distributed = (_found(database, number, second, limit) for database in pair.each())
        for one, other in zip(plain, distributed, strict=True):
            assert one == other
