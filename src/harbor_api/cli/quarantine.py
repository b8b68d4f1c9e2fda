"""harbor-api quarantine"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import click

from harbor_api.cli.output import as_json, print_list
from harbor_api.cli.shared import Time, TrackerId, actor, open_database, read_settings
from harbor_api.database import UnitOfWork
from harbor_api.domain.judgement import REASONS, Thresholds
from harbor_api.domain.quarantine import Decided, Selection, Withdrawal
from harbor_api.domain.trackers import tracker_id
from harbor_api.ingest.intake import thresholds_of
from harbor_api.services import quarantine

_STATES = ("held", "released", "rejected", "withdrawn")
_COLUMNS = (
    "id",
    "vessel_id",
    "tracker_id",
    "recorded_at",
    "reason",
    "state",
    "decided_at",
    "decided_by",
    "note",
)
_PAGE = 500


_VESSEL_ID = click.IntRange(1, 2**31 - 1)
_HELD_ID = click.IntRange(1, 2**63 - 1)


def _selects(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a selection."""
    for option in reversed(
        (
            click.option("--reason", type=click.Choice(sorted(REASONS)), help="Only held for this reason."),
            click.option("--vessel", "vessel_id", type=_VESSEL_ID, help="Only of this vessel."),
            click.option("--tracker", "tracker_id", type=TrackerId(), help="Only of this tracker."),
            click.option("--from", "since", type=Time(), help="Only recorded at that time or later."),
            click.option("--to", "until", type=Time(), help="Only recorded before that time."),
            click.option("--dry-run", is_flag=True, help="Only count them, and decide nothing."),
        )
    ):
        command = option(command)
    return command


@click.group(name="quarantine")
def command() -> None:
    """List, release, reject and withdraw fixes that cannot be believed."""


@command.command("list")
@click.option("--vessel", "vessel_id", type=_VESSEL_ID, help="Only of this vessel.")
@click.option("--reason", type=click.Choice(sorted(REASONS)), help="Only held for this reason.")
@click.option("--state", type=click.Choice(_STATES), help="Only in this state.")
@as_json
def list_all(*, as_json: bool, **wanted: Any) -> None:
    """List the quarantine in the order in which the fixes came, those that are decided included."""
    rows: list[dict[str, Any]] = []
    with open_database() as database, database.autocommit() as unit_of_work:
        while True:
            after = rows[-1]["id"] if rows else 0
            page = unit_of_work.quarantine.search(after=after, limit=_PAGE, **wanted)
            rows += [
                {
                    "id": held.id,
                    "vessel_id": held.received.vessel_id,
                    "tracker_id": tracker_id(held.received.tracker_id),
                    "recorded_at": held.received.fix.recorded_at,
                    "received_at": held.received.received_at,
                    "lat": held.received.fix.motion.lat,
                    "lon": held.received.fix.motion.lon,
                    "reason": held.reason,
                    "state": held.state,
                    "decided_at": held.decided_at,
                    "decided_by": held.decided_by,
                    "note": held.note,
                }
                for held in page
            ]
            if len(page) < _PAGE:
                break
    print_list(rows, _COLUMNS, as_json=as_json)


@command.command()
@click.argument("ids", nargs=-1, type=_HELD_ID)
@_selects
def release(ids: Sequence[int], *, dry_run: bool, **wanted: Any) -> None:
    """Let the fixes with these IDS enter history, or those that the options select, if nobody has decided."""
    _decide(ids, "released", Selection(**wanted), is_rehearsal=dry_run)


@command.command()
@click.argument("ids", nargs=-1, type=_HELD_ID)
@_selects
def reject(ids: Sequence[int], *, dry_run: bool, **wanted: Any) -> None:
    """Keep the fixes with these IDS off the map, or those that the options select, if nobody has decided."""
    _decide(ids, "rejected", Selection(**wanted), is_rehearsal=dry_run)


@command.command()
@click.argument("vessel_id", type=_VESSEL_ID)
@click.argument("recorded_at", type=Time())
@click.option(
    "--tracker", "tracker_id", type=TrackerId(), help="Needed where several have a fix of that time."
)
@click.option("--note", required=True, help="Why: kept with the fix and in the audit trail.")
def withdraw(**named: Any) -> None:
    """Take the stored fix of VESSEL_ID that was recorded at RECORDED_AT out of history, and print its id."""
    settings = read_settings()
    with open_database(settings) as database, database.unit_of_work() as unit_of_work:
        withdrawn = quarantine.withdraw(
            unit_of_work,
            Withdrawal(**named),
            now=datetime.now(UTC),
            thresholds=thresholds_of(settings),
            actor=actor(),
        )
    click.echo(withdrawn.id)


def _decide(
    ids: Sequence[int],
    state: Literal["released", "rejected"],
    selection: Selection,
    *,
    is_rehearsal: bool,
) -> None:
    if bool(ids) == (selection != Selection()):
        raise click.UsageError(
            "Say which fixes: by IDS, or by --reason, --vessel, --tracker, --from and --to"
        )
    if ids and is_rehearsal:
        raise click.UsageError("--dry-run counts what options select; IDS are counted already")
    settings = read_settings()
    thresholds = thresholds_of(settings)
    with open_database(settings) as database:
        if ids:
            for held_id in ids:
                # In a transaction each: two vessels' locks are never taken one after the other.
                with database.unit_of_work() as unit_of_work:
                    _decide_one(unit_of_work, held_id, state, thresholds)
            click.echo(f"{len(ids)} {state}")
            return
        done = 0
        while True:
            # In a transaction each: nobody waits for more than are decided on at once.
            with database.unit_of_work() as unit_of_work:
                told = quarantine.decide_all(
                    unit_of_work,
                    selection,
                    state,
                    now=datetime.now(UTC),
                    tolerance=thresholds.future_tolerance,
                    actor=actor(),
                    is_rehearsal=is_rehearsal,
                )
            done += told.decided
            if is_rehearsal or not told.decided or not told.left:
                break
    click.echo(_told(told, done, state, is_rehearsal=is_rehearsal))


def _decide_one(
    unit_of_work: UnitOfWork, held_id: int, state: Literal["released", "rejected"], thresholds: Thresholds
) -> None:
    now = datetime.now(UTC)
    if state == "rejected":
        quarantine.reject(unit_of_work, held_id, now=now, actor=actor())
    else:
        tolerance = thresholds.future_tolerance
        quarantine.release(unit_of_work, held_id, now=now, tolerance=tolerance, actor=actor())


def _told(told: Decided, done: int, state: str, *, is_rehearsal: bool) -> str:
    lines = [f"{told.matched} would be {state}" if is_rehearsal else f"{done} {state}"]
    if told.left and not is_rehearsal:
        lines.append(f"{told.left} left")
    if told.too_early:
        lines.append(f"{told.too_early} still in the future, and held")
    return "\n".join(lines)
