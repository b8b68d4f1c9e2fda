"""harbor-api prune"""

from datetime import UTC, datetime, timedelta

import click

from harbor_api.cli.context import open_database


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
    with open_database() as database, database.unit_of_work() as unit_of_work:
        count = unit_of_work.quarantine.prune(before)
    click.echo(f"{count} fixes deleted from quarantine")
