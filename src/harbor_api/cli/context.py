"""What commands share: the settings, and the database that they say."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from harbor_api.database import Database
from harbor_api.postgres import embedded
from harbor_api.settings import Settings


def read_settings() -> Settings:
    """Read the settings; where no database is set, start or join the embedded one and fill it in."""
    settings = Settings.from_environ(os.environ)
    if settings.database_url is None:
        settings = replace(settings, database_url=embedded.start(settings.data_dir))
    return settings


@contextmanager
def open_database(settings: Settings | None = None) -> Iterator[Database]:
    """Open the database of the settings for one command."""
    settings = settings or read_settings()
    assert settings.database_url is not None
    database = Database(settings.database_url, timeout_ms=settings.database_timeout_ms)
    try:
        yield database
    finally:
        database.dispose()
