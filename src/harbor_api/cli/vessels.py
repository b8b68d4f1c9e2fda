"""harbor-api vessels"""

from dataclasses import asdict
from typing import Any

import click

from harbor_api.cli.output import as_json, print_list
from harbor_api.cli.shared import actor, open_database
from harbor_api.domain.changes import ANY, Edit
from harbor_api.domain.vessels import VesselDetails
from harbor_api.services import vessels

_VESSEL_ID = click.argument("vessel_id", type=click.IntRange(1, 2**31 - 1))


def _details(command: Any) -> Any:
    for option in reversed(
        (
            click.option("--imo", help="IMO number: 7 digits, the last a check digit."),
            click.option("--mmsi", help="MMSI: 9 digits."),
            click.option("--call-sign"),
            click.option("--flag", help="ISO 3166-1 alpha-2 code of the flag state."),
            click.option("--kind", help="Such as cargo, tanker, passenger."),
            click.option("--length", "length_m", type=float, help="Metres."),
            click.option("--beam", "beam_m", type=float, help="Metres."),
            click.option("--draught", "draught_m", type=float, help="Metres."),
            click.option(
                "--max-speed",
                "max_speed_kn",
                type=float,
                help="Knots that it cannot exceed, instead of the usual limit.",
            ),
        )
    ):
        command = option(command)
    return command


@click.group(name="vessels")
def command() -> None:
    """Register, change, retire, restore and list vessels."""


@command.command()
@click.argument("name")
@_details
def add(**details: Any) -> None:
    """Register a vessel under NAME and print its id."""
    with open_database() as database, database.unit_of_work() as unit_of_work:
        vessel = vessels.register(unit_of_work, VesselDetails(**details), actor=actor())
    click.echo(vessel.id)


@command.command("set")
@_VESSEL_ID
@click.option("--name")
@_details
def change(vessel_id: int, **details: Any) -> None:
    """Change what is known of VESSEL_ID; an empty text or 0 takes it away."""
    members = {
        name: value if name == "name" else value or None
        for name, value in details.items()
        if value is not None
    }
    if not members:
        raise click.UsageError("nothing to change: name at least one option")
    with open_database() as database, database.unit_of_work() as unit_of_work:
        vessels.change(unit_of_work, vessel_id, Edit(members), versions=ANY, actor=actor())


@command.command()
@_VESSEL_ID
def retire(vessel_id: int) -> None:
    """Take VESSEL_ID off the map; its history stays."""
    with open_database() as database, database.unit_of_work() as unit_of_work:
        vessels.retire(unit_of_work, vessel_id, actor=actor())


@command.command()
@_VESSEL_ID
def restore(vessel_id: int) -> None:
    """Put VESSEL_ID on the map again."""
    with open_database() as database, database.unit_of_work() as unit_of_work:
        vessels.restore(unit_of_work, vessel_id, actor=actor())


@command.command("list")
@as_json
def list_all(*, as_json: bool) -> None:
    """List all vessels."""
    with open_database() as database, database.autocommit() as unit_of_work:
        rows = [
            {"id": v.id, **asdict(v.details), "retired": v.retired_at} for v in unit_of_work.vessels.search()
        ]
    print_list(rows, ("id", "name", "imo", "mmsi", "flag", "kind", "retired"), as_json=as_json)
