"""Whole windows of a history, however large, read part by part."""

from collections.abc import Iterator

from harbor_api.database import Database
from harbor_api.domain.history import HistoryPage, RowForm, Window
from harbor_api.postgres.sight import Sight

# How many fixes are read at once: some 200 kB as they are sent.
PART = 2_000


def parts(
    database: Database, sight: Sight, window: Window, form: RowForm, first: HistoryPage
) -> Iterator[HistoryPage]:
    """Yield a window from its first part on, as it stood then.

    Each part is a statement and a transaction of its own, and a connection is held for no longer: whoever
    reads slowly keeps nothing from anybody.
    """
    page = first
    yield page
    while page.last is not None:
        with database.autocommit() as unit_of_work:
            page = unit_of_work.history(sight).page(
                window, form, limit=PART, number=first.number, beyond=page.last, end=first.end
            )
        yield page
