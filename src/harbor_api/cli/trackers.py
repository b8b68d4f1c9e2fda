"""harbor-api trackers"""

from datetime import UTC, datetime, timedelta

import click

from harbor_api.cli.output import as_json, print_list, print_now
from harbor_api.cli.shared import TrackerId, actor, open_database, read_settings
from harbor_api.domain.changes import ANY
from harbor_api.domain.signatures import derive_secret
from harbor_api.domain.trackers import Tracker
from harbor_api.services import master_key as master_keys
from harbor_api.services import trackers

_TRACKER = click.argument("tracker", type=TrackerId())
_VESSEL_ID = click.argument("vessel_id", type=click.IntRange(1, 2**31 - 1))


@click.group(name="trackers")
def command() -> None:
    """Register, reassign, disable, rotate and list trackers."""


@command.command()
@_VESSEL_ID
@click.option("--label", default="", help="What people call it: where it is mounted, its serial.")
@click.option("--test", is_flag=True, help="Under development: the check tells it what it signed wrong.")
def add(vessel_id: int, label: str, *, test: bool) -> None:
    """Register a tracker for VESSEL_ID and print its id and its secret."""
    settings = read_settings()
    master_key = settings.require_master_key()
    with open_database(settings) as database, database.unit_of_work() as unit_of_work:
        master_keys.demand(unit_of_work, master_key)
        tracker = trackers.register(unit_of_work, vessel_id=vessel_id, label=label, test=test, actor=actor())
        _print_secret(master_key, tracker)


@command.command()
@_TRACKER
@_VESSEL_ID
@click.option(
    "--from",
    "starts_at",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ"]),
    help="The first moment (UTC) whose fixes belong to it; now if left out.",
)
def reassign(tracker: int, vessel_id: int, starts_at: datetime | None) -> None:
    """Let the fixes of TRACKER belong to VESSEL_ID from a moment on; what is stored stays."""
    now = datetime.now(UTC)
    moment = now if starts_at is None else starts_at.replace(tzinfo=UTC)
    with open_database() as database, database.unit_of_work() as unit_of_work:
        trackers.reassign(
            unit_of_work, tracker, vessel_id=vessel_id, starts_at=moment, now=now, versions=ANY, actor=actor()
        )


@command.command()
@_TRACKER
def disable(tracker: int) -> None:
    """Refuse what TRACKER signs from now on."""
    with open_database() as database, database.unit_of_work() as unit_of_work:
        trackers.disable(unit_of_work, tracker, now=datetime.now(UTC), actor=actor())


@command.command()
@_TRACKER
def enable(tracker: int) -> None:
    """Let TRACKER post again."""
    with open_database() as database, database.unit_of_work() as unit_of_work:
        trackers.enable(unit_of_work, tracker, actor=actor())


@command.command()
@_TRACKER
@click.option("--grace", type=click.IntRange(0, 365), default=7, show_default=True, help="Days.")
def rotate(tracker: int, grace: int) -> None:
    """Give TRACKER its next secret and print it; the one it has holds for the grace time."""
    settings = read_settings()
    master_key = settings.require_master_key()
    with open_database(settings) as database, database.unit_of_work() as unit_of_work:
        master_keys.demand(unit_of_work, master_key)
        rotated = trackers.rotate(
            unit_of_work, tracker, grace=timedelta(days=grace), now=datetime.now(UTC), actor=actor()
        )
        _print_secret(master_key, rotated)


@command.command()
@_TRACKER
def secret(tracker: int) -> None:
    """Print the secret of TRACKER again: it is derived from the master key."""
    settings = read_settings()
    master_key = settings.require_master_key()
    with open_database(settings) as database, database.autocommit() as unit_of_work:
        master_keys.demand(unit_of_work, master_key)
        _print_secret(master_key, unit_of_work.trackers.get(tracker))


@command.command("list")
@as_json
def list_all(*, as_json: bool) -> None:
    """List all trackers, without their secrets."""
    with open_database() as database, database.autocommit() as unit_of_work:
        rows = [
            {
                "id": t.id,
                "vessel": t.vessel_id,
                "label": t.label,
                "test": t.test,
                "generation": t.generation,
                "old_secret_until": t.previous_valid_until,
                "disabled": t.disabled_at,
            }
            for t in unit_of_work.trackers.search()
        ]
    columns = ("id", "vessel", "label", "generation", "old_secret_until", "disabled")
    print_list(rows, columns, as_json=as_json)


def _print_secret(master_key: bytes, tracker: Tracker) -> None:
    print_now(f"tracker {tracker.id}\nsecret  {derive_secret(master_key, tracker.id, tracker.generation)}")
