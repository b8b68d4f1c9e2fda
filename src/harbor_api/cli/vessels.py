"""harbor-api vessels"""

from dataclasses import asdict
from typing import Any

import click

from harbor_api.cli.output import as_json, print_list
from harbor_api.cli.shared import actor, open_database
from harbor_api.domain.changes import ANY, Edit
from harbor_api.domain.keeping import Keeping
from harbor_api.domain.vessels import VesselDetails
from harbor_api.services import keeping, vessels

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
    """Register, change, retire, restore and list vessels, and say how long their positions are kept."""


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


@command.command()
@_VESSEL_ID
@click.option(
    "--days",
    type=click.IntRange(0, 36_500),
    help="For how many days of 24 hours; 0 keeps all of hers.",
)
@click.option("--as-others", is_flag=True, help="For as long as HARBOR_KEEP_POSITIONS_DAYS says.")
def keep(vessel_id: int, *, days: int | None, as_others: bool) -> None:
    """Say for how long positions of VESSEL_ID are kept, whatever HARBOR_KEEP_POSITIONS_DAYS says."""
    if (days is None) != as_others:
        raise click.UsageError("say either --days or --as-others")
    _keep(vessel_id, keep_positions_days=days)


@command.command()
@_VESSEL_ID
@click.option("--reason", required=True, help="Why; it is kept in the audit trail, too.")
def hold(vessel_id: int, *, reason: str) -> None:
    """Put VESSEL_ID under a legal hold: nothing that is stored of her is deleted until it is lifted."""
    _keep(vessel_id, hold_reason=reason)


@command.command()
@_VESSEL_ID
def lift(vessel_id: int) -> None:
    """Lift the legal hold of VESSEL_ID."""
    _keep(vessel_id, hold_reason=None)


def _keep(vessel_id: int, **members: Any) -> None:
    with open_database() as database, database.unit_of_work() as unit_of_work:
        keeping.change(unit_of_work, vessel_id, Edit(members), versions=ANY, actor=actor())


@command.command("list")
@as_json
def list_all(*, as_json: bool) -> None:
    """List all vessels."""
    with open_database() as database, database.autocommit() as unit_of_work:
        said = {each.vessel_id: each for _, each in unit_of_work.keeping.all()}
        rows = [
            {
                "id": v.id,
                **asdict(v.details),
                "retired": v.retired_at,
                **_said(said.get(v.id, Keeping(vessel_id=v.id))),
            }
            for v in unit_of_work.vessels.search()
        ]
    columns = ("id", "name", "imo", "mmsi", "flag", "kind", "retired", "kept_days", "held")
    print_list(rows, columns, as_json=as_json)


def _said(of: Keeping) -> dict[str, Any]:
    return {
        "kept_days": of.terms.keep_positions_days,
        "held": of.held_since,
        "held_by": of.held_by,
        "hold_reason": of.terms.hold_reason,
    }
