"""harbor-api vessels"""

import click

from harbor_api.cli.context import open_database
from harbor_api.cli.tables import print_table
from harbor_api.entities import VesselDetails
from harbor_api.services import vessels


@click.group(name="vessels")
def command() -> None:
    """Register and list vessels."""


@command.command()
@click.argument("name")
@click.option("--imo", help="IMO number: 7 digits, the last a check digit.")
@click.option("--mmsi", help="MMSI: 9 digits.")
@click.option("--call-sign")
@click.option("--flag", help="ISO 3166-1 alpha-2 code of the flag state.")
@click.option("--kind", help="Such as cargo, tanker, passenger.")
@click.option("--length", "length_m", type=click.FloatRange(0), help="Metres.")
@click.option("--beam", "beam_m", type=click.FloatRange(0), help="Metres.")
@click.option("--draught", "draught_m", type=click.FloatRange(0), help="Metres.")
def add(**details: object) -> None:
    """Register a vessel under NAME and print its id."""
    with open_database() as database, database.unit_of_work() as unit_of_work:
        vessel = vessels.register(unit_of_work, VesselDetails(**details))  # type: ignore[arg-type]  # click checked them
    click.echo(vessel.id)


@command.command("list")
def list_all() -> None:
    """List all vessels."""
    with open_database() as database, database.statement() as unit_of_work:
        rows = [
            (v.id, v.details.name, v.details.imo, v.details.mmsi, v.details.flag, v.details.kind)
            for v in unit_of_work.vessels.search()
        ]
    print_table(("id", "name", "imo", "mmsi", "flag", "kind"), rows)
