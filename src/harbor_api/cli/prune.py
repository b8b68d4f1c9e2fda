"""harbor-api prune"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import click

from harbor_api.cli.maintain import line_of_blind, line_of_consumer
from harbor_api.cli.output import printable
from harbor_api.cli.shared import open_database, read_settings
from harbor_api.database import Database, UnitOfWork
from harbor_api.services import feed_floor, maintenance
from harbor_api.settings import Settings

# In a transaction each: one statement for a year's worth would take longer than PostgreSQL may.
_AT_ONCE = maintenance.AT_ONCE
_DAYS = click.IntRange(1, 36_500)


@click.command(name="prune")
@click.option(
    "--quarantine-days",
    type=_DAYS,
    help="Delete fixes in quarantine, decided or not, that came longer ago than this.",
)
@click.option(
    "--feed-days",
    type=_DAYS,
    help="Tell followers no more of what came longer ago than this, and delete withdrawals of then.",
)
@click.option("--dry-run", is_flag=True, help="With --feed-days alone: only say who would be behind.")
def command(*, quarantine_days: int | None, feed_days: int | None, dry_run: bool) -> None:
    """Delete what is kept no longer; ``maintain`` does this and more by the settings, and comes in its place.

    Beside what the options say these are idempotency keys of more than a day ago. No stored fix is deleted:
    followers who have not come as far as --feed-days says are told that they have missed something.
    """
    if quarantine_days is None and feed_days is None:
        raise click.UsageError("Say what to delete: by --quarantine-days, --feed-days or both")
    if dry_run and (feed_days is None or quarantine_days is not None):
        raise click.UsageError("--dry-run goes with --feed-days alone")
    settings = read_settings()
    with open_database(settings) as database:
        if quarantine_days is not None:
            before = datetime.now(UTC) - timedelta(days=quarantine_days)
            fixes = maintenance.prune_quarantine(database, before)
            click.echo(f"{fixes} fixes deleted from quarantine")
        if feed_days is not None:
            _prune_feed(database, settings, timedelta(days=feed_days), is_rehearsal=dry_run)
        if dry_run:
            return
        keys = _pruned(database, lambda unit, most: unit.idempotency_keys.prune(most=most))
    if keys:
        click.echo(f"{keys} idempotency keys deleted")


def _prune_feed(database: Database, settings: Settings, age: timedelta, *, is_rehearsal: bool) -> None:
    with database.autocommit() as unit_of_work:
        floor = feed_floor.after(unit_of_work, age)
        tolerance = timedelta(seconds=settings.future_tolerance_s)
        behind = maintenance.behind(unit_of_work, floor, future_tolerance=tolerance)
        lines = [line_of_consumer(*each) for each in behind]
        lines += [line_of_blind(key) for key in maintenance.blind(unit_of_work, age)]
    for line in lines:
        click.echo(printable(line))
    since = f"what came in at {floor.at:%Y-%m-%d %H:%M:%S} UTC or later"
    if not floor.number:
        click.echo("followers are told all: nothing came in so long ago")
        return
    if is_rehearsal:
        click.echo(f"followers would be told {since}")
        return
    deleted = _pruned(database, lambda unit, most: feed_floor.prune(unit, floor, most=most))
    click.echo(f"followers are told {since}")
    if deleted:
        click.echo(f"{deleted} withdrawals deleted")


def _pruned(database: Database, work: Callable[[UnitOfWork, int], int]) -> int:
    return maintenance.in_steps(database, work, most=_AT_ONCE)
