"""harbor-api prune"""

from datetime import UTC, datetime, timedelta

import click

from harbor_api.cli.shared import open_database

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
    """Delete what is kept no longer; meant for a daily job."""
    before = datetime.now(UTC) - timedelta(days=quarantine_days)
    count = 0
    with open_database() as database:
        while True:
            with database.unit_of_work() as unit_of_work:
                deleted = unit_of_work.quarantine.prune(before, most=_AT_ONCE)
            count += deleted
            if deleted < _AT_ONCE:
                break
    click.echo(f"{count} fixes deleted from quarantine")
