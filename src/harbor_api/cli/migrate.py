"""harbor-api migrate"""

import time
from dataclasses import replace

import click

from harbor_api.cli.shared import open_database, read_settings
from harbor_api.database import Database
from harbor_api.domain.errors import Unavailable
from harbor_api.services import master_key
from harbor_api.settings import SettingsError

_LOOK_AGAIN_S = 0.5


@click.command(name="migrate")
@click.option(
    "--wait",
    type=click.IntRange(0, 3_600),
    default=0,
    metavar="SECONDS",
    help="For how long to wait for a database that does not answer yet, and for a migration that another "
    "host runs.",
)
def command(wait: int) -> None:
    """Bring the database's schema up to date; safe to run again, and from several hosts at once."""
    settings = read_settings()
    is_pooled = settings.is_pooled
    if is_pooled:
        if settings.database_direct_url is None:
            raise SettingsError("HARBOR_DATABASE_DIRECT_URL must be set to migrate past the pooler")
        settings = replace(settings, database_url=settings.database_direct_url, database_pooler="none")
    with open_database(settings, is_to_migrate=True) as database:
        before = _revision_once_it_answers(database, wait)
        database.migrate(wait_s=wait)
        if is_pooled:
            database.let_pool()
        after = database.schema_revision()
        if settings.tracker_master_key is not None:
            with database.unit_of_work() as unit_of_work:
                master_key.demand(unit_of_work, settings.tracker_master_key)
    click.echo(f"at {after} already" if before == after else f"from {before or 'empty'} to {after}")


def _revision_once_it_answers(database: Database, wait_s: float) -> str | None:
    """Return the schema's revision; Unavailable where the database does not answer in so many seconds."""
    deadline = time.monotonic() + wait_s
    is_told = False
    while True:
        try:
            return database.schema_revision()
        except Unavailable as error:
            if time.monotonic() >= deadline:
                raise
            if not is_told:
                # Waiting does not mend each cause: who looks on sees at once which it is.
                click.echo(f"waiting for up to {wait_s} s: {error.cause or error.detail}", err=True)
                is_told = True
        time.sleep(_LOOK_AGAIN_S)
