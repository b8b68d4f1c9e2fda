"""harbor-api migrate"""

import click

from harbor_api.cli.shared import open_database
from harbor_api.postgres import migrations


@click.command(name="migrate")
def command() -> None:
    """Bring the database's schema up to date; safe to run again, and from several hosts at once."""
    with open_database() as database:
        before = database.schema_revision()
        migrations.upgrade(database.engine)
        after = database.schema_revision()
    click.echo(f"at {after} already" if before == after else f"from {before or 'empty'} to {after}")
