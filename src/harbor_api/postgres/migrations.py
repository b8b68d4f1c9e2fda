"""Bringing a database's schema to the one that this release needs."""

from enum import Enum
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from harbor_api.postgres import connections


class Standing(Enum):
    """How the schema of a database stands to the one that this release needs."""

    EMPTY = "no migration has run"
    BEHIND = "migrations are missing"
    CURRENT = "it is the one"
    NEWER = "a newer release has migrated it"
    FOREIGN = "no release of this line has made it"


def standing(revision: str | None) -> Standing:
    """Return how a schema stands, by the revision that Alembic left in it."""
    if revision is None:
        return Standing.EMPTY
    if revision == head():
        return Standing.CURRENT
    if revision in _known():
        return Standing.BEHIND
    # Revisions are numbers of four digits, which grow.
    return Standing.NEWER if len(revision) == len(head()) and revision > head() else Standing.FOREIGN


def upgrade(engine: Engine, *, wait_s: float = 0) -> None:
    """Run the migrations that are missing, each in a transaction of its own; those that ran are left alone.

    Where it ends in between, it goes on from there when it is run again. Where somebody else migrates the
    same database, that is waited for: some seconds, or ``wait_s`` if that is more.
    """
    config = _config()
    config.attributes["wait_s"] = wait_s
    transacting = connections.transacting(engine)
    with transacting.connect() as keeper:
        # The place in the pool is the other's: there may be one only.
        keeper.detach()
        with transacting.connect() as connection, connections.unhurried(connection):
            config.attributes.update(keeper=keeper, connection=connection)
            command.upgrade(config, "head")


@cache
def head() -> str:
    """Return the revision that this release needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise RuntimeError("this installation carries no migrations")
    return revision


@cache
def _known() -> frozenset[str]:
    return frozenset(each.revision for each in ScriptDirectory.from_config(_config()).walk_revisions())


def _config() -> Config:
    # An installed wheel carries the scripts inside the package; a checkout has them at its top.
    package = Path(__file__).parents[1]
    packaged = package / "migrations"
    scripts = packaged if packaged.is_dir() else package.parents[1] / "alembic"
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    return config
