"""The history of a vessel as one key may see it, in pages."""

from datetime import datetime
from functools import lru_cache
from string import Formatter
from typing import Any

import orjson
from sqlalchemy import Connection

from harbor_api.domain.errors import NotFound
from harbor_api.domain.history import MEMBERS, HistoryPage, RowForm, Window
from harbor_api.domain.positions import FixKey, Motion
from harbor_api.domain.times import rfc3339
from harbor_api.domain.vessels import LatestPosition, coarsened, floored
from harbor_api.postgres import statements
from harbor_api.postgres.sight import IS_GRANTED, NEWEST, OLDEST, SEEN, Sight, stretch
from harbor_api.postgres.statements import Statement
from harbor_api.schemas.history import WRITERS

_TIME = """to_char(p.{0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
# A double is written with an exponent where it is small, a real where it is large, and a numeric never: that
# takes longer, and few numbers need it.
_PLAIN = "CASE WHEN abs(p.{0}) < 0.0001 THEN p.{0}::numeric::text ELSE p.{0}::text END"
_ROUNDED = "round(p.{0}::numeric, %(decimals)s)::text"
_LARGE = "CASE WHEN p.{0} >= 1000000 THEN p.{0}::text::numeric::text ELSE p.{0}::text END"
_KNOWN = {"recorded_at": _TIME, "received_at": _TIME}
_MEASURED = dict.fromkeys(MEMBERS[4:], "p.{0}::text") | {"accuracy_m": _LARGE}
_WRITTEN = {
    is_coarse: {**_KNOWN, **dict.fromkeys(("lat", "lon"), _ROUNDED if is_coarse else _PLAIN), **_MEASURED}
    for is_coarse in (False, True)
}
# What a coarse key is shown of a fix is decided here and not in PostgreSQL, so it comes as JSON.
_PLAIN_FORM = RowForm(
    "[" + ",".join(f'"{{{name}}}"' if name in _KNOWN else f"{{{name}}}" for name in MEMBERS) + "]",
    between=",",
)

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
            "decimals": sight.decimals,
        }
        asked = _PLAIN_FORM if sight.is_coarse else form
        statement = Statement(_PAGES[asked, sight.is_coarse, window.descending], values)
        found = statements.rows(self._connection, statement)
        if not found:
            raise NotFound(f"There is no vessel {window.vessel_id}")
        [(moment, pinned, name, available_from, fixes, many, last_at, last_tracker, end)] = found
        if sight.is_coarse:
            fixes = fixes and self._coarsened(fixes, form)
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

    def _coarsened(self, fixes: str, form: RowForm) -> str:
        """Return fixes that came in the plain form as a coarse key sees them, in another one."""
        written = []
        for recorded_at, received_at, *motion in orjson.loads(f"[{fixes}]"):
            shown = coarsened(
                LatestPosition(
                    recorded_at=datetime.fromisoformat(recorded_at),
                    received_at=datetime.fromisoformat(received_at),
                    motion=Motion(*motion),
                ),
                self._sight.decimals,
            )
            members = {name: getattr(shown.motion, name) for name in MEMBERS if name not in _KNOWN}
            members |= {"recorded_at": shown.recorded_at, "received_at": shown.received_at}
            written.append(
                form.text.format_map(
                    {name: form.null if each is None else _text(each) for name, each in members.items()}
                )
            )
        return form.between.join(written)


@lru_cache(maxsize=10_000)
def _text(value: Any) -> str:
    # Coarse values are few.
    if isinstance(value, datetime):
        return rfc3339(value)
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _page(form: RowForm, *, is_coarse: bool, descending: bool) -> bytes:
    expressions = {
        name: expression.format(name)
        if name in {*_KNOWN, "lat", "lon"}
        else f"coalesce({expression.format(name)}, {_literal(form.null)})"
        for name, expression in _WRITTEN[is_coarse].items()
    }
    pieces: list[str] = []
    for text, name, _, _ in Formatter().parse(form.text):
        pieces += [_literal(text)] if text else []
        pieces += [expressions[name]] if name else []
    return _PAGE.format(
        seen=SEEN[is_coarse, descending],
        newest=NEWEST,
        oldest=OLDEST,
        end=_ENDS[descending],
        text=" || ".join(pieces),
        between=_literal(form.between),
        is_granted=IS_GRANTED,
    ).encode()


def _literal(text: str) -> str:
    # Forms are constants of ours; psycopg looks for placeholders in the text.
    return "'" + text.replace("'", "''").replace("%", "%%") + "'"


_PAGES = {
    (form, is_coarse, descending): _page(form, is_coarse=is_coarse, descending=descending)
    for form, is_coarse in (*((each.form, False) for each in WRITERS.values()), (_PLAIN_FORM, True))
    for descending in (False, True)
}
