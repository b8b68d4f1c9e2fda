"""harbor-api trackers"""

import click

from harbor_api.cli.context import open_database, read_settings
from harbor_api.cli.tables import print_table
from harbor_api.services.signatures import derive_secret


@click.group(name="trackers")
def command() -> None:
    """Register and list trackers."""


@command.command()
@click.argument("vessel_id", type=click.IntRange(1, 2**31 - 1))
@click.option("--label", default="", help="What people call it: where it is mounted, its serial.")
@click.option("--test", is_flag=True, help="Under development: the check tells it what it signed wrong.")
def add(vessel_id: int, label: str, *, test: bool) -> None:
    """Register a tracker for VESSEL_ID and print its id and its secret, which is shown only now."""
    settings = read_settings()
    master_key = settings.require_master_key()
    with open_database(settings) as database, database.unit_of_work() as unit_of_work:
        unit_of_work.vessels.on_map(vessel_id)
        tracker = unit_of_work.trackers.add(vessel_id=vessel_id, label=label, test=test)
    click.echo(f"tracker {tracker.id}")
    click.echo(f"secret  {derive_secret(master_key, tracker.id, tracker.generation)}")


@command.command("list")
def list_all() -> None:
    """List all trackers, without their secrets."""
    with open_database() as database, database.statement() as unit_of_work:
        rows = [
            (t.id, t.vessel_id, t.label, t.generation, t.disabled_at) for t in unit_of_work.trackers.search()
        ]
    print_table(("id", "vessel", "label", "generation", "disabled"), rows)
