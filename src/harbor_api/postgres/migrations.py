"""Bringing a database's schema to the one that this release needs."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine


def upgrade(engine: Engine) -> None:
    """Run the migrations that are missing, all in one transaction; those that ran are left alone."""
    config = _config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@cache
def head() -> str:
    """Return the revision that this release needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise RuntimeError("this installation carries no migrations")
    return revision


def _config() -> Config:
    # An installed wheel carries the scripts inside the package; a checkout has them at its top.
    package = Path(__file__).parents[1]
    packaged = package / "migrations"
    scripts = packaged if packaged.is_dir() else package.parents[1] / "alembic"
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    return config
