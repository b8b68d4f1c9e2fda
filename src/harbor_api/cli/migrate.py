"""harbor-api migrate"""

import click

from harbor_api.cli.shared import open_database, read_settings
from harbor_api.services import master_key


@click.command(name="migrate")
def command() -> None:
    """Bring the database's schema up to date; safe to run again, and from several hosts at once."""
    settings = read_settings()
    with open_database(settings, is_to_migrate=True) as database:
        before = database.schema_revision()
        database.migrate()
        after = database.schema_revision()
        if settings.tracker_master_key is not None:
            with database.unit_of_work() as unit_of_work:
                master_key.demand(unit_of_work, settings.tracker_master_key)
    click.echo(f"at {after} already" if before == after else f"from {before or 'empty'} to {after}")
