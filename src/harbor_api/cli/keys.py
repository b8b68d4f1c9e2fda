"""harbor-api keys"""

from datetime import UTC, datetime, timedelta

import click

from harbor_api.cli.output import as_json, print_list, print_now, printable
from harbor_api.cli.shared import actor, open_database
from harbor_api.domain.api_keys import SCOPES, KeyTerms
from harbor_api.services import api_keys

_KEY_ID = click.argument("key_id", type=click.IntRange(1, 2**31 - 1))


@click.group(name="keys")
def command() -> None:
    """Issue, rotate, revoke and list API keys."""


@command.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(sorted(SCOPES)),
    help="What the key may do; may be repeated. [default: vessels:read]",
)
@click.option("--admin", is_flag=True, help="All scopes and vessels: for the first operator.")
@click.option("--owner", default="", help="Whom to ask about it.")
@click.option(
    "--vessel",
    "vessel_ids",
    multiple=True,
    type=click.IntRange(1, 2**31 - 1),
    help="See only this one; may be repeated.",
)
@click.option("--delay", "delay_s", type=click.IntRange(0, 31_536_000), default=0, help="Seconds late.")
@click.option("--decimals", type=click.IntRange(0, 6), help="Of coordinates: 2 is about 1 km.")
@click.option(
    "--history-days",
    type=click.IntRange(1, 36_500),
    help="Days that it sees back, instead of as far as positions are kept.",
)
@click.option("--limit", type=click.IntRange(1, 1_000_000), help="Requests a minute, instead of the usual.")
@click.option(
    "--expires", type=click.DateTime(["%Y-%m-%d"]), help="The day (UTC) at whose beginning it ends."
)
def add(
    *,
    name: str,
    scopes: tuple[str, ...],
    owner: str,
    vessel_ids: tuple[int, ...],
    delay_s: int,
    decimals: int | None,
    history_days: int | None,
    limit: int | None,
    expires: datetime | None,
    admin: bool,
) -> None:
    """Issue a key to NAME and print it: it is shown only now."""
    if admin and (scopes or vessel_ids or delay_s or decimals is not None or history_days):
        raise click.UsageError("--admin is all scopes and vessels: it takes none of what limits a key")
    if expires is not None and expires.replace(tzinfo=UTC) <= datetime.now(UTC):
        raise click.UsageError("--expires is over: a key that holds ends on a later day")
    terms = KeyTerms(
        name=name,
        owner=owner,
        scopes=frozenset(SCOPES if admin else scopes or ("vessels:read",)),
        vessel_ids=frozenset(vessel_ids) if vessel_ids else None,
        delay_s=delay_s,
        coordinate_decimals=decimals,
        history_days=history_days,
        requests_per_minute=limit,
        expires_at=expires and expires.replace(tzinfo=UTC),
    )
    with open_database() as database, database.unit_of_work() as unit_of_work:
        _, secret = api_keys.issue(unit_of_work, terms, actor=actor())
        print_now(secret)


@command.command("list")
@as_json
def list_all(*, as_json: bool) -> None:
    """List all keys, without their secrets."""
    with open_database() as database, database.autocommit() as unit_of_work:
        rows = [
            {
                "id": k.id,
                "name": k.terms.name,
                "owner": k.terms.owner,
                "key": f"{k.prefix}...",
                "scopes": sorted(k.terms.scopes),
                "vessels": "all" if k.terms.vessel_ids is None else sorted(k.terms.vessel_ids),
                "delay_s": k.terms.delay_s,
                "coordinate_decimals": k.terms.coordinate_decimals,
                "history_days": k.terms.history_days,
                "requests_per_minute": k.terms.requests_per_minute,
                "created_at": k.created_at,
                "last_used": k.last_used_at,
                "expires": k.terms.expires_at,
                "revoked": k.revoked_at,
            }
            for k in unit_of_work.api_keys.search()
        ]
    columns = ("id", "name", "key", "scopes", "vessels", "last_used", "expires", "revoked")
    print_list(rows, columns, as_json=as_json)


@command.command()
@_KEY_ID
@click.option("--grace", type=click.IntRange(0, 365), default=7, show_default=True, help="Days.")
def rotate(key_id: int, grace: int) -> None:
    """Give the key with KEY_ID a new secret and print it; the old one holds for the grace time."""
    with open_database() as database, database.unit_of_work() as unit_of_work:
        _, secret = api_keys.rotate(
            unit_of_work, key_id, grace=timedelta(days=grace), now=datetime.now(UTC), actor=actor()
        )
        print_now(secret)


@command.command()
@_KEY_ID
@click.option("--keep-issued", is_flag=True, help="The keys that it has issued stand alone from now on.")
def revoke(key_id: int, *, keep_issued: bool) -> None:
    """Revoke the key with KEY_ID, for good, and the keys that it has issued."""
    with open_database() as database, database.unit_of_work() as unit_of_work:
        key = api_keys.revoke(unit_of_work, key_id, actor=actor(), keep_issued=keep_issued)
    click.echo(printable(f"revoked {key.prefix}... of {key.terms.name}"))
