"""harbor-api keys"""

from datetime import UTC, datetime

import click

from harbor_api.cli.context import open_database
from harbor_api.cli.tables import print_table
from harbor_api.services import api_keys


@click.group(name="keys")
def command() -> None:
    """Issue, list and revoke API keys."""


@command.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(sorted(api_keys.SCOPES)),
    default=("vessels:read",),
    show_default=True,
    help="What the key may do; may be repeated.",
)
@click.option("--limit", type=click.IntRange(1, 1_000_000), help="Requests a minute, instead of the usual.")
@click.option("--expires", type=click.DateTime(["%Y-%m-%d"]), help="The day (UTC) it ends on.")
def add(name: str, scopes: tuple[str, ...], limit: int | None, expires: object) -> None:
    """Issue a key to NAME and print it: it is shown only now."""
    with open_database() as database, database.unit_of_work() as unit_of_work:
        _, secret = api_keys.issue(
            unit_of_work,
            name=name,
            scopes=scopes,
            requests_per_minute=limit,
            expires_at=expires.replace(tzinfo=UTC) if isinstance(expires, datetime) else None,
        )
    click.echo(secret)


@command.command("list")
def list_all() -> None:
    """List all keys, without their secrets."""
    with open_database() as database, database.statement() as unit_of_work:
        rows = [
            (k.id, k.name, f"{k.prefix}...", " ".join(sorted(k.scopes)), k.expires_at, k.revoked_at)
            for k in unit_of_work.api_keys.search()
        ]
    print_table(("id", "name", "key", "scopes", "expires", "revoked"), rows)


@command.command()
@click.argument("key_id", type=click.IntRange(1, 2**31 - 1))
def revoke(key_id: int) -> None:
    """Revoke the key with KEY_ID, for good."""
    with open_database() as database, database.unit_of_work() as unit_of_work:
        key = unit_of_work.api_keys.revoke(key_id)
    click.echo(f"revoked {key.prefix}... of {key.name}")
