"""The mark that the demo leaves in a database which was empty when it began, by which it knows it again."""

from sqlalchemy import Engine, text

from harbor_api.postgres import connections

_MARK = "made by harbor-api demo"
# A comment: it needs no table, and a dump carries it along.
_LEAVE = text(f"COMMENT ON TABLE alembic_version IS '{_MARK}'")
_FIND = text("SELECT obj_description(to_regclass('alembic_version'), 'pg_class')")
_LOOK = text(
    "SELECT NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%')"
)


def leave(engine: Engine) -> None:
    """Mark a database, once it is migrated."""
    with connections.translated(engine.url), engine.connect() as connection:
        connection.execute(_LEAVE)


def is_left(engine: Engine) -> bool:
    """Return whether a database is marked; Unavailable where it does not answer."""
    with connections.translated(engine.url), engine.connect() as connection:
        return bool(connection.scalar(_FIND) == _MARK)


def is_empty(engine: Engine) -> bool:
    """Return whether a database has no table, view or sequence yet."""
    with connections.translated(engine.url), engine.connect() as connection:
        return bool(connection.scalar(_LOOK))
