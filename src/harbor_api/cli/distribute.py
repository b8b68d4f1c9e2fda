"""harbor-api distribute"""

import click

from harbor_api.cli.shared import open_database


@click.command(name="distribute")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.option(
    "--shards",
    type=click.IntRange(1, 1_024),
    default=32,
    show_default=True,
    help="Into how many parts positions are cut; no fewer than there will ever be servers.",
)
def command(*, dry_run: bool, shards: int) -> None:
    """Have Citus keep positions on several servers, those of a vessel together; see deploy/citus.md.

    Prints each statement, and runs them in one transaction. Stop the service before, and start it again
    after: what is connected meanwhile asks as before. Safe to run again; run it after each migrate, as a
    newer release may need other functions.
    """
    with open_database() as database:
        missing = database.undistributed(shards=shards)
        for each in missing:
            click.echo(f"{each};")
        if not missing:
            click.echo("positions are distributed already")
        elif not dry_run:
            database.distribute(missing)
            click.echo("positions are distributed")
