"""harbor-api master-key"""

import click

from harbor_api.cli.shared import actor, open_database, read_settings
from harbor_api.services import master_key


@click.group(name="master-key")
def command() -> None:
    """Check and change the key that all trackers' secrets are derived from, HARBOR_TRACKER_MASTER_KEY."""


@command.command()
def check() -> None:
    """Tell whether the key that is set is the one of this database; the first that is used becomes it."""
    settings = read_settings()
    key = settings.require_master_key()
    with open_database(settings) as database, database.unit_of_work() as unit_of_work:
        master_key.demand(unit_of_work, key)
    click.echo("the master key is the one of this database")


@command.command()
@click.option("--yes", is_flag=True, help="Do it, although trackers are in use.")
def change(*, yes: bool) -> None:
    """Make the key that is set the one of this database, in place of the one that was.

    All trackers' secrets come from it. So from now on each tracker is refused (its fixes wait aboard) until
    it has its new secret, which `harbor-api trackers secret` prints; there is no time in which both hold.
    API keys of partners and operators are not touched. Stop the services before and start them afterwards
    with the new key: one that still runs with the old key is not ready. The change is in the audit trail.
    """
    settings = read_settings()
    key = settings.require_master_key()
    with open_database(settings) as database, database.unit_of_work() as unit_of_work:
        in_use = sum(each.disabled_at is None for each in unit_of_work.trackers.search())
        is_change = master_key.change(unit_of_work, key, actor=actor())
        if is_change and in_use and not yes:
            raise click.UsageError(
                f"trackers in use: {in_use}; each would be refused until it has its new secret, so nothing "
                "was changed; --yes does it"
            )
    click.echo("changed" if is_change else "it is the key of this database already")
