"""harbor-api prune"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import click

from harbor_api.cli.output import printable
from harbor_api.cli.shared import open_database, read_settings
from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.api_keys import holds
from harbor_api.services import consumers, feed_floor
from harbor_api.services.feed_floor import Floor
from harbor_api.settings import Settings

# In a transaction each: one statement for a year's worth would take longer than PostgreSQL may.
_AT_ONCE = 5_000
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
    """Delete what is kept no longer; meant for a daily job.

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
            fixes = _pruned(database, lambda unit: unit.quarantine.prune(before, most=_AT_ONCE))
            click.echo(f"{fixes} fixes deleted from quarantine")
        if feed_days is not None:
            _prune_feed(database, settings, timedelta(days=feed_days), is_rehearsal=dry_run)
        if dry_run:
            return
        keys = _pruned(database, lambda unit: unit.idempotency_keys.prune(most=_AT_ONCE))
    if keys:
        click.echo(f"{keys} idempotency keys deleted")


def _prune_feed(database: Database, settings: Settings, age: timedelta, *, is_rehearsal: bool) -> None:
    with database.autocommit() as unit_of_work:
        floor = feed_floor.after(unit_of_work, age)
        for line in _warnings(unit_of_work, settings, floor, age):
            click.echo(printable(line))
    since = f"what came in at {floor.at:%Y-%m-%d %H:%M:%S} UTC or later"
    if not floor.number:
        click.echo("followers are told all: nothing came in so long ago")
        return
    if is_rehearsal:
        click.echo(f"followers would be told {since}")
        return
    deleted = _pruned(database, lambda unit: feed_floor.prune(unit, floor, most=_AT_ONCE))
    click.echo(f"followers are told {since}")
    if deleted:
        click.echo(f"{deleted} withdrawals deleted")


def _warnings(unit_of_work: UnitOfWork, settings: Settings, floor: Floor, age: timedelta) -> Iterator[str]:
    """Yield which consumers of keys that hold are behind a floor, and which keys see nothing above it."""
    now = datetime.now(UTC)
    watch = consumers.Watch(unit_of_work, future_tolerance=timedelta(seconds=settings.future_tolerance_s))
    for consumer, key in watch.all():
        if consumer.number < floor.number and holds(key, now):
            seen = (
                "never seen"
                if consumer.seen_at is None
                else f"last seen {consumer.seen_at:%Y-%m-%d %H:%M} UTC"
            )
            yield f"behind: consumer {consumer.name} of key {key.id} ({key.terms.name}), {seen}"
    for key in unit_of_work.api_keys.search():
        if holds(key, now) and timedelta(seconds=key.terms.delay_s) >= age:
            yield (
                f"key {key.id} ({key.terms.name}) sees {key.terms.delay_s / 86_400:g} days late: by then it "
                "can be told nothing"
            )


def _pruned(database: Database, prune: Callable[[UnitOfWork], int]) -> int:
    count = 0
    while True:
        with database.unit_of_work() as unit_of_work:
            deleted = prune(unit_of_work)
        count += deleted
        if deleted < _AT_ONCE:
            return count
