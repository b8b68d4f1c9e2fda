"""A partition that is missing is made when a fix needs it, by whoever may, and nobody gets a 500."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from tests.conftest import NewDatabase
from tests.support import sql

from harbor_api.database import Database
from harbor_api.domain.errors import Unavailable
from harbor_api.domain.months import Month
from harbor_api.domain.positions import Fix, Motion, ReceivedFix
from harbor_api.domain.received_columns import ReceivedColumns
from harbor_api.postgres.partitions import Partition

_NOW = datetime.now(UTC)
_MONTH = Month.of(_NOW)


@pytest.fixture
def database(new_database: NewDatabase) -> Iterator[Database]:
    database = Database(new_database())
    yield database
    database.dispose()


def store(database: Database, *moments: datetime) -> None:
    fixes = [
        ReceivedFix(1, 1, _NOW, Fix(moment, Motion(lat=59.9, lon=10.7)), {}) for moment in sorted(moments)
    ]

    def work(unit_of_work: Any) -> None:
        unit_of_work.run_last(unit_of_work.positions.addition(ReceivedColumns.of(fixes)))

    database.transact(work)


def there(database: Database) -> list[Partition]:
    with database.autocommit() as unit_of_work:
        return unit_of_work.partitions.all()


def without(database: Database, *names: str) -> None:
    for name in names:
        database.drop_partition(name)


def test_months_are_named_and_counted():
    assert str(Month.of(datetime(2026, 12, 31, 23, tzinfo=UTC))) == "2026_12"
    assert Month.of(datetime(2026, 12, 31, tzinfo=UTC)).end == datetime(2027, 1, 1, tzinfo=UTC)
    assert Month.of(datetime.min.replace(tzinfo=UTC)).begin == datetime.min.replace(tzinfo=UTC)
    assert Month.of(datetime.max.replace(tzinfo=UTC)).end == datetime.max.replace(tzinfo=UTC)
    east = datetime(2027, 1, 1, 1, tzinfo=UTC).astimezone()
    assert Month.of(east) == Month.of(datetime(2026, 11, 1, tzinfo=UTC)).after(2)


def test_all_of_the_past_and_three_months_to_come_are_there(database: Database):
    partitions = there(database)
    assert partitions[0].since is None
    assert all(one.until == other.since for one, other in pairwise(partitions))
    with database.autocommit() as unit_of_work:
        assert unit_of_work.partitions.ahead(_NOW) >= timedelta(days=92)
    store(database, datetime(1, 1, 1, tzinfo=UTC), datetime(1999, 8, 22, tzinfo=UTC), _NOW)
    assert there(database) != []
    assert sql.count(database, "positions") == 3


def test_a_fix_of_a_month_that_is_missing_is_stored_and_all_missing_ones_are_made(database: Database):
    names = [each.name for each in there(database)]
    # Nobody has run maintain for long, and what was is dropped.
    without(database, *names[1:])
    with database.autocommit() as unit_of_work:
        assert unit_of_work.partitions.ahead(_NOW) == timedelta(0)
    store(database, _NOW + timedelta(days=100), _NOW)
    assert sql.count(database, "positions") == 2
    partitions = there(database)
    assert [each.name for each in partitions[1:3]] == [f"positions_{_MONTH}", f"positions_{_MONTH.after(1)}"]
    assert all(one.until == other.since for one, other in pairwise(partitions))


def test_what_is_older_than_all_partitions_gets_one_for_all_that_is_older(database: Database):
    """One, whatever a tracker makes up: not a partition for each month since the year 1."""
    names = [each.name for each in there(database)]
    without(database, names[0], names[1])
    many = [datetime(1, 1, 1, tzinfo=UTC) + n * timedelta(days=700) for n in range(1_000)]
    store(database, *many)
    assert sql.count(database, "positions") == 1_000
    partitions = there(database)
    assert len(partitions) == len(names) - 1
    assert partitions[0].since is None


def test_a_gap_between_two_is_closed(database: Database):
    names = [each.name for each in there(database)]
    without(database, names[2])
    store(database, _MONTH.after(1).begin)
    assert [each.name for each in there(database)] == names


def test_many_that_need_the_same_one_make_it_once(database: Database):
    names = [each.name for each in there(database)]
    for _ in range(3):
        without(database, *names[1:])
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(partial(store, database), [_NOW + n * timedelta(seconds=1) for n in range(4)]))
        assert sql.count(database, "positions") == 4
        assert [each.name for each in there(database)][1] == f"positions_{_MONTH}"
        assert all(one.until == other.since for one, other in pairwise(there(database)))


def test_whoever_may_not_make_one_is_told_who_does(database: Database, new_database: NewDatabase):
    role = f"reader_of_{database.engine.url.database}"
    sql.run(database, f"CREATE ROLE {role} LOGIN")
    sql.run(database, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    sql.run(database, f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
    service = Database(database.engine.url.set(username=role).render_as_string(False))
    try:
        store(service, _NOW)
        without(database, f"positions_{_MONTH}")
        with pytest.raises(Unavailable) as raised:
            store(service, _NOW)
        assert "harbor-api maintain" in str(raised.value.cause)
        assert f"{_NOW:%Y-%m}" in str(raised.value.cause)
        # Whoever owns the tables has done so.
        database.make_partitions(up_to=_NOW)
        store(service, _NOW)
        assert sql.count(database, "positions") == 1
    finally:
        service.dispose()
        sql.run(database, f"DROP OWNED BY {role}")
        sql.run(database, f"DROP ROLE {role}")


def test_one_that_is_on_its_way_out_is_gone_on_with(database: Database):
    """Ended after it was told to go, while it was detached, or before it was dropped."""
    name = there(database)[1].name
    store(database, _NOW)
    sql.run(database, f"COMMENT ON TABLE {name} IS 'harbor-api: to be dropped'")
    assert not there(database)[1].is_going
    url = database.engine.url.set(drivername="postgresql").render_as_string(False)
    with psycopg.connect(url) as reader:
        reader.execute("SELECT FROM positions LIMIT 1")
        with pytest.raises(Unavailable):
            database.drop_partition(name)
        assert there(database)[1].is_going
    # Nobody sees it by now, and one is made in its place for who needs it.
    assert sql.count(database, "positions") == 0
    database.drop_partition(name)
    assert name not in [each.name for each in there(database)]
    database.drop_partition(name)
    store(database, _NOW)
    sql.run(database, f"COMMENT ON TABLE {name} IS 'harbor-api: to be dropped'")
    sql.run(database, f"ALTER TABLE positions DETACH PARTITION {name}")
    assert there(database)[-1] == there(database)[-1]._replace(
        name=name, since=None, until=None, is_going=True
    )
    store(database, _NOW)
    assert f"{name}_2" in [each.name for each in there(database)]
    database.drop_partition(name)
    assert sql.count(database, "positions") == 1


def test_no_table_of_anybody_else_is_dropped(database: Database):
    sql.run(database, "CREATE TABLE mine (n integer)")
    database.drop_partition("mine")
    database.drop_partition("vessels")
    assert sql.value(database, "SELECT to_regclass('mine') IS NOT NULL")
