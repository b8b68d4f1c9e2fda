"""harbor-api maintain"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import click

from harbor_api.cli.output import printable
from harbor_api.cli.shared import open_database, read_settings
from harbor_api.database import Database
from harbor_api.domain.api_keys import ApiKey
from harbor_api.domain.consumers import Consumer
from harbor_api.domain.errors import HarborError
from harbor_api.postgres.partitions import Partition
from harbor_api.services import feed_floor, maintenance
from harbor_api.services.feed_floor import Floor
from harbor_api.services.maintenance import Expiry
from harbor_api.settings import Settings

# Differs from other locks of ours.
_LOCK = 0x4D41494E  # "MAIN"
MAKING_FAILED, DROPPING_FAILED = 3, 4


class _MakingFailed(click.ClickException):
    """Partitions could not be made; all else was done."""

    exit_code = MAKING_FAILED

    def __init__(self, error: HarborError) -> None:
        super().__init__(f"partitions could not be made: {_cause(error)}")


class _DroppingFailed(click.ClickException):
    """Positions could not be deleted; all else was done."""

    exit_code = DROPPING_FAILED

    def __init__(self, error: HarborError) -> None:
        super().__init__(f"positions could not be deleted: {_cause(error)}")


def _cause(error: HarborError) -> str:
    return getattr(error, "cause", None) or error.detail


@click.command(name="maintain")
@click.option("--dry-run", is_flag=True, help="Only say what would be made and deleted, and whom it touches.")
@click.option(
    "--leave-behind",
    is_flag=True,
    help="Delete positions also where a named consumer has not read as far; it is told that it missed some.",
)
def command(*, dry_run: bool, leave_behind: bool) -> None:
    """Make partitions for the months to come, settle those that have gone by, and delete what is kept no
    longer; meant for a daily job.

    What goes is said by the settings HARBOR_KEEP_POSITIONS_DAYS, HARBOR_KEEP_FEED_DAYS,
    HARBOR_KEEP_QUARANTINE_DAYS and HARBOR_KEEP_AUDIT_DAYS; idempotency keys go after a day. Safe to run
    again, beside traffic and on several hosts: one does the work. Its user owns the tables. Exit status: 0
    done, 3 partitions could not be made, 4 positions could not be deleted.
    """
    settings = read_settings()
    with open_database(settings) as database:
        if dry_run:
            _rehearse(database, settings)
            return
        with database.only_one(_LOCK) as is_mine:
            if is_mine:
                _maintain(database, settings, leave_behind=leave_behind)
            else:
                click.echo("somebody else does it just now")


def _maintain(database: Database, settings: Settings, *, leave_behind: bool) -> None:
    failed: list[click.ClickException] = []
    try:
        for name in maintenance.make_ahead(database, datetime.now(UTC)):
            click.echo(f"made {name}")
    except HarborError as error:
        failed.append(_MakingFailed(error))
    _delete_beside_positions(database, settings)
    if settings.keep_positions_days:
        try:
            _expire(database, settings, leave_behind=leave_behind)
        except HarborError as error:
            failed.append(_DroppingFailed(error))
    _settle(database)
    if failed:
        raise failed[0]


def _settle(database: Database) -> None:
    try:
        for name in maintenance.settle(database, datetime.now(UTC)):
            click.echo(f"settled {name}")
    except HarborError as error:
        # All that it costs is time.
        click.echo(f"not all months could be settled, which the next run goes on with: {_cause(error)}")


def _delete_beside_positions(database: Database, settings: Settings) -> None:
    now = datetime.now(UTC)
    if settings.keep_quarantine_days:
        before = now - timedelta(days=settings.keep_quarantine_days)
        gone = maintenance.in_steps(database, lambda unit, most: unit.quarantine.prune(before, most=most))
        click.echo(f"{gone} fixes deleted from quarantine")
    if settings.keep_audit_days:
        since = now - timedelta(days=settings.keep_audit_days)
        gone = maintenance.in_steps(database, lambda unit, most: unit.audit.prune(since, most=most))
        click.echo(f"{gone} entries deleted from the audit trail")
    if settings.keep_feed_days:
        with database.autocommit() as unit_of_work:
            floor = feed_floor.after(unit_of_work, timedelta(days=settings.keep_feed_days))
        _lift(database, floor)
    gone = maintenance.in_steps(database, lambda unit, most: unit.idempotency_keys.prune(most=most))
    click.echo(f"{gone} idempotency keys deleted")


def _lift(database: Database, floor: Floor) -> None:
    if floor.number:
        gone = maintenance.lift(database, floor)
        click.echo(f"followers are told {_since(floor)}; {gone} withdrawals deleted")


def _expire(database: Database, settings: Settings, *, leave_behind: bool) -> None:
    expiry = _expiry(database, settings)
    touched = expiry.to_drop or expiry.to_trim
    for line in _told(expiry):
        click.echo(printable(line))
    if expiry.behind and touched and not leave_behind:
        raise HarborError(
            f"{len(expiry.behind)} consumers have not read as far: let them go on, delete them with "
            "harbor-api feeds delete, or say --leave-behind"
        )
    _lift(database, expiry.floor)
    for partition in expiry.to_drop:
        told = maintenance.drop(database, partition, number=expiry.floor.number)
        click.echo(f"dropped {_described(partition)}" + (f"; followers were told of {told}" if told else ""))
    if expiry.to_trim:
        gone = maintenance.trim(database, before=expiry.before, number=expiry.floor.number)
        for partition in expiry.to_trim:
            click.echo(f"{gone} positions deleted from {partition.name}")


def _rehearse(database: Database, settings: Settings) -> None:
    with database.autocommit() as unit_of_work:
        ahead = unit_of_work.partitions.ahead(datetime.now(UTC))
        there = unit_of_work.partitions.all()
    click.echo(f"partitions reach {ahead.days} days ahead; they are made for {maintenance.AHEAD.days}")
    if not settings.keep_positions_days:
        click.echo("HARBOR_KEEP_POSITIONS_DAYS is 0: all positions are kept")
        for partition in there:
            click.echo(f"keep {_described(partition)}")
        return
    expiry = _expiry(database, settings)
    for partition in there:
        what = "drop" if partition in expiry.to_drop else "trim" if partition in expiry.to_trim else "keep"
        click.echo(f"{what} {_described(partition)}")
    if expiry.floor.number:
        click.echo(f"followers would be told {_since(expiry.floor)}")
    for line in _told(expiry):
        click.echo(printable(line))


def _expiry(database: Database, settings: Settings) -> Expiry:
    keep = timedelta(days=settings.keep_positions_days)
    tolerance = timedelta(seconds=settings.future_tolerance_s)
    with database.autocommit() as unit_of_work:
        return maintenance.expiry(unit_of_work, keep, future_tolerance=tolerance)


def _since(floor: Floor) -> str:
    return f"what came in at {floor.at:%Y-%m-%d %H:%M:%S} UTC or later"


def _described(partition: Partition) -> str:
    since = "the beginning" if partition.since is None else f"{partition.since:%Y-%m-%d}"
    span = "detached" if partition.until is None else f"from {since} to {partition.until:%Y-%m-%d}"
    return f"{partition.name}, {span}: about {partition.rows} rows, {partition.bytes / 1e6:.1f} MB"


def _told(expiry: Expiry) -> Iterator[str]:
    yield from (line_of_consumer(consumer, key) for consumer, key in expiry.behind)
    yield from (line_of_blind(key) for key in expiry.blind)


def line_of_consumer(consumer: Consumer, key: ApiKey) -> str:
    """Return what an operator is told of a consumer that is behind a floor."""
    seen = "never seen" if consumer.seen_at is None else f"last seen {consumer.seen_at:%Y-%m-%d %H:%M} UTC"
    return f"behind: consumer {consumer.name} of key {key.id} ({key.terms.name}), {seen}"


def line_of_blind(key: ApiKey) -> str:
    """Return what an operator is told of a key that sees nothing above a floor."""
    late = f"{key.terms.delay_s / 86_400:g} days late"
    return f"key {key.id} ({key.terms.name}) sees {late}: by then it can be told nothing"
