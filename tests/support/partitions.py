"""Partitions of the positions as tests want them: a month each, as far back as they say."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from tests.support import sql

from harbor_api.database import Database
from harbor_api.domain.months import Month
from harbor_api.postgres.partitions import Partition


def partitions_of(database: Database) -> list[Partition]:
    with database.autocommit() as unit_of_work:
        return unit_of_work.partitions.all()


def split(database: Database, *, months: int) -> list[str]:
    """Have a partition for each of the last months, and return their names; what was older is dropped."""
    first = partitions_of(database)[0]
    now = Month.of(datetime.now(UTC))
    oldest = now.after(-months)
    database.drop_partition(first.name)
    for number in range(months):
        month = oldest.after(number)
        sql.run(
            database,
            f"CREATE TABLE positions_{month} PARTITION OF positions "
            f"FOR VALUES FROM ('{month.begin}') TO ('{month.end}')",
        )
    sql.run(
        database,
        f"CREATE TABLE positions_before_{oldest} PARTITION OF positions "
        f"FOR VALUES FROM (MINVALUE) TO ('{oldest.begin}')",
    )
    return [f"positions_{oldest.after(number)}" for number in range(months)]


@contextmanager
def far_ahead(database: Database) -> Iterator[None]:
    """Have a partition for what is later than the service stores anything, and drop it with all that is in
    it."""
    begin = Month.of(datetime.now(UTC)).after(9).begin
    sql.run(
        database,
        f"CREATE TABLE positions_far PARTITION OF positions FOR VALUES FROM ('{begin}') TO (MAXVALUE)",
    )
    try:
        yield
    finally:
        sql.run(database, "DROP TABLE positions_far")
