"""harbor-api positions"""

from datetime import datetime

import click

from harbor_api.cli.shared import Time, actor, open_database
from harbor_api.services import erasure


@click.group(name="positions")
def command() -> None:
    """Erase positions."""


@command.command()
@click.argument("vessel_id", type=click.IntRange(1, 2**31 - 1))
@click.option("--from", "since", type=Time(), required=True, help="Recorded at that time or later.")
@click.option("--to", "until", type=Time(), required=True, help="Recorded before that time.")
@click.confirmation_option(prompt="This cannot be undone. Go on?")
def erase(*, vessel_id: int, since: datetime, until: datetime) -> None:
    """Delete all that was recorded of the vessel with VESSEL_ID in a time, for good.

    It goes from history and from quarantine, and followers are told that it is gone. Backups still hold it. A
    tracker that sends such a fix again has it stored again: disable it first where that is to be feared. One
    that is under a legal hold is refused.
    """
    with open_database() as database:
        erased = erasure.erase(database, vessel_id, since, until, actor=actor())
    click.echo(f"{erased.stored} fixes erased from history, {erased.held} from quarantine")
