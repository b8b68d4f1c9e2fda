"""All that is stored, to see that what was refused has changed nothing."""

from functools import partial

from tests.support import sql
from tests.support.factories import World


def tables(world: World) -> dict[str, list[str]]:
    """Return all rows of all tables as text."""
    with world.database.unit_of_work() as unit_of_work:
        column = partial(sql.column, unit_of_work)
        names = column("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {name: sorted(column(f"SELECT t::text FROM {name} t")) for name in sorted(names)}


def without_use(tables: dict[str, list[str]]) -> dict[str, int | list[str]]:
    """Return the tables without what the mere use of a key changes in them."""
    return {name: rows if name != "api_keys" else len(rows) for name, rows in tables.items()}
