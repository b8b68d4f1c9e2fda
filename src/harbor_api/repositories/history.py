"""The history of a vessel as one key may see it, in pages."""

from datetime import datetime

from sqlalchemy import Connection

from harbor_api.domain.errors import NotFound
from harbor_api.domain.history import HistoryPage, RowForm, Window
from harbor_api.domain.positions import FixKey
from harbor_api.domain.vessels import floored
from harbor_api.postgres import shown, statements
from harbor_api.postgres.order import NEWEST
from harbor_api.postgres.sight import IS_GRANTED, OLDEST, SEEN, Sight, stretch
from harbor_api.postgres.statements import Statement
from harbor_api.schemas.history import WRITERS

# When the last fix of a window was recorded that goes on behind this page. A page against the order of time
# looks at nothing that is later than itself.
_END = "CASE WHEN last.tracker_id IS NOT NULL THEN (SELECT recorded_at FROM {seen} AS p LIMIT 1) END"
_ENDS = {False: _END.format(seen=SEEN[False, True]), True: "NULL::timestamptz"}

# One row for a vessel that the key may see, with its fixes as one text: PostgreSQL makes it for a quarter of
# what rows cost, and the worker only hands it on. The key is asked for once more because a window is read for
# as long as the client takes: whose key has ended since is told no more.
_PAGE = """
WITH read AS MATERIALIZED (
    SELECT p.* FROM {seen} AS p LIMIT %(limit)s + 1
)
SELECT now(), least({newest}, %(number)s), v.name,
    {oldest},
    (SELECT string_agg({text}, {between}) FROM (SELECT * FROM read LIMIT %(limit)s) AS p),
    (SELECT count(*) FROM read),
    last.recorded_at, last.tracker_id, {end}
FROM vessels AS v
LEFT JOIN (SELECT recorded_at, tracker_id FROM read OFFSET %(limit)s - 1 LIMIT 1) AS last ON true
WHERE v.id = %(vessel_id)s AND {is_granted} AND NOT EXISTS (
    SELECT FROM api_keys AS k
    WHERE k.id = %(key_id)s AND (k.revoked_at IS NOT NULL OR k.expires_at <= now())
)
"""


class History:
    """The stored fixes of vessels, as far as a key may see them, and as it sees them."""

    def __init__(self, connection: Connection, sight: Sight) -> None:
        self._connection = connection
        self._sight = sight

    def page(
        self,
        window: Window,
        form: RowForm,
        *,
        limit: int,
        number: int | None = None,
        beyond: FixKey | None = None,
        end: datetime | None = None,
    ) -> HistoryPage:
        """Return up to ``limit`` fixes of a window, as they are shown.

        A further page is asked for with the ``number`` and the ``end`` of the first and ``beyond`` the last
        of the one before: together they show what was stored at the first one, whatever comes meanwhile.
        NotFound where the key may not see the vessel, or does not hold any more.
        """
        sight = self._sight
        values = {
            **sight.bounded(number),
            **stretch(
                sight, window.since, window.until, beyond=beyond, end=end, descending=window.descending
            ),
            "vessel_id": window.vessel_id,
            "limit": limit,
            **shown.values(sight),
        }
        statement = Statement(_PAGES[form, sight.is_coarse, window.descending], values)
        found = statements.rows(self._connection, statement)
        if not found:
            raise NotFound(f"There is no vessel {window.vessel_id}")
        [(moment, pinned, name, available_from, fixes, many, last_at, last_tracker, end)] = found
        if sight.is_coarse:
            available_from = available_from and floored(available_from, sight.step)
        return HistoryPage(
            moment=moment,
            number=pinned,
            name=name,
            available_from=available_from,
            fixes=fixes or "",
            last=(last_at, last_tracker) if many > limit else None,
            end=end,
        )


def _page(form: RowForm, *, is_coarse: bool, descending: bool) -> bytes:
    return _PAGE.format(
        seen=SEEN[is_coarse, descending],
        newest=NEWEST,
        oldest=OLDEST,
        end=_ENDS[descending],
        text=shown.text(form.text, is_coarse=is_coarse, null=form.null),
        between=shown.literal(form.between),
        is_granted=IS_GRANTED,
    ).encode()


_PAGES = {
    (form, is_coarse, descending): _page(form, is_coarse=is_coarse, descending=descending)
    for form in (each.form for each in WRITERS.values())
    for is_coarse in (False, True)
    for descending in (False, True)
}
