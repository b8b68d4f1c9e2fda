"""harbor-api maintain"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import click

from harbor_api.cli.output import printable
from harbor_api.cli.shared import open_database, read_settings
from harbor_api.database import Database
from harbor_api.domain.api_keys import ApiKey
from harbor_api.domain.consumers import Consumer
from harbor_api.domain.errors import HarborError
from harbor_api.postgres.partitions import Partition
from harbor_api.services import expiry, feed_floor, maintenance
from harbor_api.services.expiry import Expiry, Own
from harbor_api.services.feed_floor import Floor
from harbor_api.settings import Settings

# Differs from other locks of ours.
_LOCK = 0x4D41494E  # "MAIN"
MAKING_FAILED, DROPPING_FAILED = 3, 4
# So many vessels are named because of which a month stays.
_NAMED = 10


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
    HARBOR_KEEP_QUARANTINE_DAYS and HARBOR_KEEP_AUDIT_DAYS; idempotency keys go after a day. Positions of a
    vessel go sooner or later where that is said of her (harbor-api vessels keep), and nothing of hers while
    she is under a legal hold. Safe to run again, beside traffic and on several hosts: one does the work. Its
    user owns the tables. Exit status: 0 done, 3 partitions could not be made, 4 positions could not be
    deleted.
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
        gone = maintenance.prune_quarantine(database, before)
        click.echo(f"{gone} fixes deleted from quarantine")
    if settings.keep_audit_days:
        since = now - timedelta(days=settings.keep_audit_days)
        gone = maintenance.prune_audit(database, since)
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
    found = _planned(database, settings)
    for line in _told(found):
        click.echo(printable(line))
    if found.behind and found.is_general and not leave_behind:
        # Whoever follows is told of what goes by what is said of vessels: that hangs on nobody.
        with database.autocommit() as unit_of_work:
            number, _ = unit_of_work.feed_floor.find() or (0, None)
        _trim_own(database, found, number)
        raise HarborError(
            f"{len(found.behind)} consumers have not read as far: let them go on, delete them with "
            "harbor-api feeds delete, or say --leave-behind"
        )
    number = found.floor.number
    if settings.keep_positions_days:
        _lift(database, found.floor)
    _trim_own(database, found, number)
    to_trim = [*(each for each, _ in found.to_empty), *found.to_trim]
    spared = []
    for partition in found.to_drop:
        dropped = expiry.drop(database, partition, now=found.now, number=number)
        told = f"; followers were told of {dropped.told}" if dropped.told else ""
        if dropped.is_gone:
            click.echo(f"dropped {_described(partition)}{told}")
        elif dropped.is_spared:
            spared.append(partition.name)
        else:
            to_trim.append(partition)
    for partition in to_trim:
        gone = expiry.trim(database, partition, before=found.before, now=found.now, number=number)
        click.echo(f"{gone} positions deleted from {partition.name}")
    if spared:
        raise HarborError(
            f"{', '.join(spared)}: detached, and something in it is of a vessel that has come under a legal "
            "hold since; attach it again, or lift the hold"
        )


def _trim_own(database: Database, found: Expiry, number: int) -> None:
    for vessel_id, gone in expiry.trim_own(database, now=found.now, number=number):
        click.echo(f"{gone} positions of vessel {vessel_id} deleted")


def _rehearse(database: Database, settings: Settings) -> None:
    with database.autocommit() as unit_of_work:
        ahead = unit_of_work.partitions.ahead(datetime.now(UTC))
        there = unit_of_work.partitions.all()
    click.echo(f"partitions reach {ahead.days} days ahead; they are made for {maintenance.AHEAD.days}")
    found = _planned(database, settings)
    if not settings.keep_positions_days:
        click.echo("HARBOR_KEEP_POSITIONS_DAYS is 0: all positions are kept")
    to_drop, to_trim = ({each.name for each in some} for some in (found.to_drop, found.to_trim))
    because = {each.name: vessels for each, vessels in found.to_empty}
    for partition in there:
        what, why = "keep", ""
        if partition.name in to_drop:
            what = "drop"
        elif partition.name in to_trim:
            what = "trim"
        elif partition.name in because:
            what, why = "empty", f"; kept of {_several(because[partition.name])}"
        click.echo(f"{what} {_described(partition)}{why}")
    with database.autocommit() as unit_of_work:
        for own in expiry.own(unit_of_work, found.now):
            click.echo(printable(_line_of_own(own)))
            for key in own.blind:
                click.echo(printable(line_of_blind(key, of=f" of vessel {own.keeping.vessel_id}")))
    if settings.keep_positions_days and found.floor.number:
        click.echo(f"followers would be told {_since(found.floor)}")
    for line in _told(found):
        click.echo(printable(line))


def _planned(database: Database, settings: Settings) -> Expiry:
    days = settings.keep_positions_days
    tolerance = timedelta(seconds=settings.future_tolerance_s)
    with database.autocommit() as unit_of_work:
        return expiry.plan(unit_of_work, timedelta(days=days) if days else None, future_tolerance=tolerance)


def _several(vessel_ids: Sequence[int]) -> str:
    named = ", ".join(map(str, vessel_ids[:_NAMED]))
    more = len(vessel_ids) - _NAMED
    return f"{'vessel' if len(vessel_ids) == 1 else 'vessels'} {named}" + (
        f" and {more} more" if more > 0 else ""
    )


def _line_of_own(own: Own) -> str:
    keeping = own.keeping
    who, days = f"vessel {keeping.vessel_id} ({own.name})", keeping.terms.keep_positions_days
    if keeping.is_held:
        since = f"{keeping.held_since:%Y-%m-%d %H:%M} UTC"
        return f"{who} is under a legal hold since {since} by {keeping.held_by}: {keeping.terms.hold_reason}"
    if days == 0:
        return f"{who}: all of hers is kept"
    before = f"{own.before:%Y-%m-%d %H:%M} UTC"
    return f"{who}: {own.count} positions recorded before {before} go, {days} days are kept"


def _since(floor: Floor) -> str:
    return f"what came in at {floor.at:%Y-%m-%d %H:%M:%S} UTC or later"


def _described(partition: Partition) -> str:
    since = "the beginning" if partition.since is None else f"{partition.since:%Y-%m-%d}"
    span = "detached" if partition.until is None else f"from {since} to {partition.until:%Y-%m-%d}"
    return f"{partition.name}, {span}: about {partition.rows} rows, {partition.bytes / 1e6:.1f} MB"


def _told(found: Expiry) -> Iterator[str]:
    yield from (line_of_consumer(consumer, key) for consumer, key in found.behind)
    yield from (line_of_blind(key) for key in found.blind)


def line_of_consumer(consumer: Consumer, key: ApiKey) -> str:
    """Return what an operator is told of a consumer that is behind a floor."""
    seen = "never seen" if consumer.seen_at is None else f"last seen {consumer.seen_at:%Y-%m-%d %H:%M} UTC"
    return f"behind: consumer {consumer.name} of key {key.id} ({key.terms.name}), {seen}"


def line_of_blind(key: ApiKey, *, of: str = "") -> str:
    """Return what an operator is told of a key that sees nothing above a floor, or ``of`` a vessel."""
    late = f"{key.terms.delay_s / 86_400:g} days late"
    return f"key {key.id} ({key.terms.name}) sees {late}: by then it can be told nothing{of}"
