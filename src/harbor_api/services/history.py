"""Whole windows of a history, however large, read part by part."""

from collections.abc import Iterator

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.history import HistoryPage, RowForm, Window
from harbor_api.domain.positions import FixKey
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

        def read(unit_of_work: UnitOfWork, beyond: FixKey = page.last) -> HistoryPage:
            return unit_of_work.history(sight).page(
                window, form, limit=PART, number=first.number, beyond=beyond, end=first.end
            )

        page = database.read(read)
        yield page
