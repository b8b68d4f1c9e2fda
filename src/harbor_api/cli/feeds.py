"""harbor-api feeds"""

from datetime import timedelta

import click

from harbor_api.cli.output import as_json, print_list, printable
from harbor_api.cli.shared import actor, open_database, read_settings
from harbor_api.services import consumers

_COLUMNS = ("key_id", "key", "feed", "lag_s", "seen_at", "expired", "key_expires")


@click.group(name="feeds")
def command() -> None:
    """List and delete the named consumers of the change feed."""


@command.command("list")
@as_json
def list_all(*, as_json: bool) -> None:
    """List the consumers of all keys, with how far each is behind, in seconds.

    The delay of a key does not count. One that has expired is behind what is kept, and its key is told so.
    """
    settings = read_settings()
    with open_database(settings) as database, database.autocommit() as unit_of_work:
        watch = consumers.Watch(unit_of_work, future_tolerance=timedelta(seconds=settings.future_tolerance_s))
        rows = [
            {
                "key_id": each.key.id,
                "key": each.key.terms.name,
                "feed": each.consumer.name,
                "filters": each.consumer.filters,
                "lag_s": round(each.lag.seconds, 3),
                "behind_at": each.lag.behind_at,
                "seen_at": each.consumer.seen_at,
                "created_at": each.consumer.created_at,
                "expired": each.lag.expired,
                "oldest_at": each.lag.oldest_at,
                "key_expires": each.key.terms.expires_at,
                "key_revoked": each.key.revoked_at,
            }
            for each in watch.behind()
        ]
    print_list(rows, _COLUMNS, as_json=as_json)


@command.command()
@click.argument("key_id", type=click.IntRange(1, 2**31 - 1))
@click.argument("name")
def delete(key_id: int, name: str) -> None:
    """Delete the consumer with NAME of the key with KEY_ID: it has to begin anew."""
    with open_database() as database, database.unit_of_work() as unit_of_work:
        consumers.remove(unit_of_work, key_id, name, actor=actor())
    click.echo(printable(f"deleted {name} of key {key_id}"))
