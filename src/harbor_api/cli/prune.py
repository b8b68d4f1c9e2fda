"""harbor-api prune"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import click

from harbor_api.cli.shared import open_database
from harbor_api.database import Database, UnitOfWork

# In a transaction each: one statement for a year's worth would take longer than PostgreSQL may.
_AT_ONCE = 5_000


@click.command(name="prune")
@click.option(
    "--quarantine-days",
    type=click.IntRange(1, 36_500),
    required=True,
    help="Delete fixes in quarantine, decided or not, that came longer ago than this.",
)
def command(quarantine_days: int) -> None:
    """Delete what is kept no longer; meant for a daily job.

    Beside the quarantine these are idempotency keys of more than a day ago.
    """
    before = datetime.now(UTC) - timedelta(days=quarantine_days)
    with open_database() as database:
        fixes = _pruned(database, lambda unit_of_work: unit_of_work.quarantine.prune(before, most=_AT_ONCE))
        keys = _pruned(database, lambda unit_of_work: unit_of_work.idempotency_keys.prune(most=_AT_ONCE))
    click.echo(f"{fixes} fixes deleted from quarantine")
    if keys:
        click.echo(f"{keys} idempotency keys deleted")


def _pruned(database: Database, prune: Callable[[UnitOfWork], int]) -> int:
    count = 0
    while True:
        with database.unit_of_work() as unit_of_work:
            deleted = prune(unit_of_work)
        count += deleted
        if deleted < _AT_ONCE:
            return count
