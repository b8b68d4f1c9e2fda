"""The change feed as one key may see it: what happened to fixes, in the committed order."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from harbor_api.domain.feed import ALL, Expired, FeedPage, FeedRow, FeedScan, Following
from harbor_api.domain.history import MEMBERS
from harbor_api.domain.order import UNDER_WAY
from harbor_api.postgres import shown, statements
from harbor_api.postgres.order import IS_LOST, NEWEST, above, halving
from harbor_api.postgres.sight import BEGAN, Sight
from harbor_api.postgres.statements import Statement

# How many numbers of the order are gone through at most for one stretch, where not all that there is is told.
# Of what a coarse key sees each costs a look at its step.
MOST_SCANNED, MOST_SCANNED_COARSELY = 20_000, 5_000
_SCANNED_FOR_ONE = 10

_MEASURES = tuple(name for name in MEMBERS if name != "recorded_at")

# All that lies behind a number, of one snapshot: rows of positions, and of withdrawals with nulls for what
# they have not. Both are read from where the number is in an index, and no further than asked for.
_SCANNED = f"""
clock AS MATERIALIZED (
    SELECT now() AS moment, {NEWEST} AS newest, floor.number AS floor, floor.at AS floor_at,
        {IS_LOST.format("%(after)s")} AS is_lost
    FROM (SELECT 1) AS one LEFT JOIN feed_floor AS floor ON true
), scanned AS MATERIALIZED (
    SELECT * FROM (
        (
            SELECT p.seq, p.vessel_id, p.recorded_at, p.tracker_id,
                {", ".join(f"p.{name}" for name in _MEASURES)}, p.late, p.released_at, true AS is_stored
            FROM positions AS p
            WHERE {above("%(after)s")} AND p.seq <= %(number)s
            ORDER BY p.seq LIMIT %(scan)s
        ) UNION ALL (
            SELECT w.seq, w.vessel_id, w.recorded_at, w.tracker_id,
                NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false
            FROM withdrawals AS w
            WHERE w.seq > %(after)s AND w.seq <= %(number)s
            ORDER BY w.seq LIMIT %(scan)s
        )
    ) AS found
    ORDER BY seq LIMIT %(scan)s
)"""  # noqa: S608 - constants of ours are put in, none from a caller
_IS_ASKED_FOR = """(%(all_vessels)s OR p.vessel_id IN (
        SELECT g.vessel_id FROM grants AS g WHERE g.api_key_id = %(key_id)s
    )) AND (%(vessel_ids)s::integer[] IS NULL OR p.vessel_id IN (
        SELECT unnest(%(vessel_ids)s::integer[])
    )) AND (p.recorded_at >= %(oldest)s OR NOT p.is_stored)"""
# As ``domain.fleet_search.Box.holds``; %(west)s is null where there is no box.
_SPANS = """CASE WHEN %(west)s::float8 <= %(east)s::float8 THEN {0} BETWEEN %(west)s AND %(east)s
    ELSE {0} >= %(west)s OR {0} <= %(east)s END"""
_IS_THERE = f"""(%(west)s::float8 IS NULL OR p.at_lat IS NULL OR (
        p.at_lat BETWEEN %(south)s AND %(north)s AND (
            abs(p.at_lat) = 90 OR {_SPANS.format("p.at_lon")}
            OR (abs(p.at_lon) = 180 AND {_SPANS.format("-p.at_lon")})
        )
    ))"""
_FINE = "SELECT p.*, p.lat AS at_lat, p.lon AS at_lon FROM scanned AS p"
# Of each step of time the first fix is shown, as the order stands at %(number)s. A fix that is not, or is not
# any more, is told at the number of the one that took its place; and where one was withdrawn, what is the
# first now, whether it was before or not: what it was is forgotten. Of these all take the place of something,
# but the first that came of a step. Of a step further back than the key sees all that is told is that what it
# was is not any more.
_COARSE = """
SELECT s.seq, s.vessel_id, coalesce(f.recorded_at, s.recorded_at) AS recorded_at, f.tracker_id,
    {measures}, f.late, f.released_at, f.seq IS NOT NULL AS is_stored,
    CASE WHEN is_new THEN round(f.lat::numeric, %(decimals)s)::float8 END AS at_lat,
    CASE WHEN is_new THEN round(f.lon::numeric, %(decimals)s)::float8 END AS at_lon
FROM (SELECT p.* FROM scanned AS p WHERE {is_asked_for}) AS s
LEFT JOIN LATERAL (
    SELECT p.* FROM positions AS p
    WHERE p.vessel_id = s.vessel_id AND p.seq + 0 <= %(number)s
        AND p.recorded_at >= {began} AND p.recorded_at < {began} + %(step)s
    ORDER BY p.recorded_at, p.tracker_id LIMIT 1
) AS f ON f.recorded_at >= %(oldest)s
CROSS JOIN LATERAL (SELECT {is_new} AS is_new) AS step
WHERE NOT s.is_stored OR f.seq = s.seq
"""
# Without an OFFSET PostgreSQL passes over the LIMIT, and reads the whole step where there are partitions.
_IS_NEW = """s.is_stored AND NOT EXISTS (
    SELECT FROM positions AS p
    WHERE p.vessel_id = s.vessel_id AND p.seq + 0 < s.seq
        AND p.recorded_at >= {began} AND p.recorded_at < {began} + %(step)s
    ORDER BY p.recorded_at, p.tracker_id LIMIT 1 OFFSET 0
)"""


def _coarse(*, is_page: bool) -> str:
    began = BEGAN.format("s")
    is_new = _IS_NEW.format(began=began)
    return _COARSE.format(
        measures=", ".join(f"f.{name}" for name in _MEASURES),
        is_asked_for=_IS_ASKED_FOR,
        began=began,
        # A page without a box does not look at it.
        is_new=f"CASE WHEN %(west)s::float8 IS NOT NULL THEN {is_new} ELSE true END" if is_page else is_new,
    )


_NAME = {
    False: "int4send(p.vessel_id) || int4send(p.tracker_id) || timestamptz_send(p.recorded_at)",
    True: f"int4send(p.vessel_id) || timestamptz_send({BEGAN.format('p')})",
}
# Nine bytes of a digest: twelve characters, as a name for what nobody else is to know, the tracker.
_ID = "translate(encode(substring(sha256(%(item_key)s || {0}) FROM 1 FOR 9), 'base64'), '+/', '-_')"
_TIMES = {"recorded_at", "received_at"}
_MEMBERS = ",".join(
    f'"{name}":"{{{name}}}"' if name in _TIMES else f'"{name}":{{{name}}}' for name in MEMBERS
)
_UPSERT = (
    f'{{{{"op":"upsert","id":"{{id}}","vessel_id":{{vessel_id}},{_MEMBERS},'
    '"late":{late},"released":{released}}}'
)
_DELETE = '{{"op":"delete","id":"{id}","vessel_id":{vessel_id},"recorded_at":"{recorded_at}"}}'


def _item(*, is_coarse: bool) -> str:
    also = {
        "id": _ID.format(_NAME[is_coarse]),
        "vessel_id": "p.vessel_id",
        "late": "CASE WHEN p.late THEN 'true' ELSE 'false' END",
        "released": "CASE WHEN p.released_at IS NULL THEN 'false' ELSE 'true' END",
    }
    upsert, delete = (
        shown.text(form, is_coarse=is_coarse, null="null", also=also) for form in (_UPSERT, _DELETE)
    )
    return f"CASE WHEN p.is_stored THEN {upsert} ELSE {delete} END"


def _told(*, is_coarse: bool, is_page: bool) -> str:
    return f"""
WITH {_SCANNED}, told AS MATERIALIZED (
    SELECT p.* FROM ({_coarse(is_page=is_page) if is_coarse else _FINE}) AS p
    WHERE {"true" if is_coarse else _IS_ASKED_FOR} AND {_IS_THERE}
    ORDER BY p.seq LIMIT %(limit)s + 1
), ends AS MATERIALIZED (
    SELECT moment, newest, floor, floor_at, is_lost, CASE
        WHEN (SELECT count(*) FROM told) > %(limit)s
        THEN (SELECT seq FROM told ORDER BY seq OFFSET %(limit)s - 1 LIMIT 1)
        WHEN (SELECT count(*) FROM scanned) = %(scan)s THEN (SELECT max(seq) FROM scanned)
    END AS last
    FROM clock
)"""  # noqa: S608 - constants of ours are put in, none from a caller


def _page(*, is_coarse: bool) -> bytes:
    return f"""{_told(is_coarse=is_coarse, is_page=True)}
SELECT ends.*, string_agg({_item(is_coarse=is_coarse)}, ',' ORDER BY p.seq), count(p.seq)
FROM ends LEFT JOIN told AS p ON p.seq <= coalesce(ends.last, p.seq)
GROUP BY moment, newest, floor, floor_at, is_lost, last
""".encode()  # noqa: S608 - constants of ours are put in, none from a caller


def _scan(*, is_coarse: bool) -> bytes:
    return f"""{_told(is_coarse=is_coarse, is_page=False)}
SELECT ends.*, p.seq, p.vessel_id, p.at_lat, p.at_lon, {_item(is_coarse=is_coarse)}
FROM ends LEFT JOIN told AS p ON p.seq <= coalesce(ends.last, p.seq)
ORDER BY p.seq
""".encode()  # noqa: S608 - constants of ours are put in, none from a caller


_PAGES = {is_coarse: _page(is_coarse=is_coarse) for is_coarse in (False, True)}
_SCANS = {is_coarse: _scan(is_coarse=is_coarse) for is_coarse in (False, True)}

_SINCE = f"""
WITH RECURSIVE {halving("%(since)s::timestamptz")}, begun AS MATERIALIZED (
    SELECT max(low) AS number FROM halving
)
SELECT least(
    (
        SELECT p.seq - 1 FROM positions AS p
        WHERE {above("(SELECT number FROM begun)")}
            AND coalesce(p.released_at, p.received_at) >= %(since)s
        ORDER BY p.seq LIMIT 1
    ),
    (
        SELECT w.seq - 1 FROM withdrawals AS w
        WHERE w.seq > (SELECT number FROM begun) AND w.withdrawn_at >= %(since)s
        ORDER BY w.seq LIMIT 1
    ),
    {NEWEST}, %(number)s
), floor.number, floor.at
FROM (SELECT 1) AS one LEFT JOIN feed_floor AS floor ON true
""".encode()  # noqa: S608 - constants of ours are put in, none from a caller


_STANDING = f"""
SELECT {NEWEST}, floor.number, floor.at, {IS_LOST.format("%(after)s")}
FROM (SELECT 1) AS one LEFT JOIN feed_floor AS floor ON true
""".encode()  # noqa: S608 - constants of ours are put in
_CAME = f"""
SELECT at FROM (
    (
        SELECT p.seq, coalesce(p.released_at, p.received_at) AS at FROM positions AS p
        WHERE {above("%(after)s")} AND p.seq <= %(number)s ORDER BY p.seq LIMIT 1
    ) UNION ALL (
        SELECT w.seq, w.withdrawn_at FROM withdrawals AS w
        WHERE w.seq > %(after)s AND w.seq <= %(number)s ORDER BY w.seq LIMIT 1
    )
) AS found
ORDER BY seq LIMIT 1
""".encode()  # noqa: S608 - a constant of ours is put in


class _Ends(NamedTuple):
    """Of what snapshot a stretch is; ``last`` is where it ends if not at the end of what the key sees."""

    moment: datetime
    newest: int
    floor: int | None
    floor_at: datetime | None
    is_lost: bool
    last: int | None

    def next(self, after: int, number: int) -> tuple[int, int]:
        """Return where a stretch goes on that comes after one number and no further than another, and
        where all ends that there is by now; Expired."""
        _demand(after, self.newest, self.floor, self.floor_at, is_lost=self.is_lost)
        bound = max(after, min(self.newest, number))
        return bound if self.last is None else self.last, bound


_ENDS = len(_Ends.__annotations__)


def _demand(number: int, newest: int, floor: int | None, floor_at: datetime | None, *, is_lost: bool) -> None:
    """Raise Expired unless all is there that comes after a number; ``is_lost`` as with ``IS_LOST``."""
    if is_lost or not (floor or 0) <= number <= newest:
        raise Expired(floor or 0, floor_at, is_unknown=is_lost or number > newest)


class Feed:
    """What happened to fixes, as far as a key may see it, and as it sees them."""

    def __init__(self, connection: Connection, sight: Sight, *, item_key: bytes) -> None:
        """Look as a key does; with ``item_key`` the ids of items are made."""
        self._connection = connection
        self._sight = sight
        self._item_key = item_key

    def page(
        self, after: int, following: Following = ALL, *, limit: int, number: int | None = None
    ) -> FeedPage:
        """Return up to ``limit`` items that come after a number, as one text.

        Nothing is told beyond ``number``. Expired where something after it was removed.
        """
        values = self._values(after, following, limit, number)
        statement = Statement(_PAGES[self._sight.is_coarse], values)
        [(*found, items, count)] = statements.rows(self._connection, statement)
        ends = _Ends(*found)
        end, bound = ends.next(after, values["number"])
        return FeedPage(moment=ends.moment, items=items or "", count=count, next=end, has_more=end < bound)

    def scan(
        self, after: int, following: Following = ALL, *, limit: int, number: int | None = None
    ) -> FeedScan:
        """Return up to ``limit`` items that come after a number, each by itself; else as ``page``."""
        values = self._values(after, following, limit, number)
        found = statements.rows(self._connection, Statement(_SCANS[self._sight.is_coarse], values))
        ends = _Ends(*found[0][:_ENDS])
        end, bound = ends.next(after, values["number"])
        rows = [FeedRow(*row[_ENDS:]) for row in found if row[_ENDS] is not None]
        return FeedScan(moment=ends.moment, rows=rows, next=end, bound=bound)

    def since(self, moment: datetime) -> int:
        """Return the number after which all is that came in at a moment or later.

        That is as finely as the key may know it (``Sight.received_since``). Expired where a part of what came
        in at the moment or later was removed.
        """
        since = self._sight.received_since(moment)
        values = {**self._sight.bounded(), "since": since, "under_way": UNDER_WAY}
        [(number, floor, floor_at)] = statements.rows(self._connection, Statement(_SINCE, values))
        # What was withdrawn then may be gone as well, where no fix of then is. What is told of before the
        # moment may be removed.
        if floor is not None and (moment < floor_at or (number < floor and since == moment)):
            raise Expired(floor, floor_at)
        return max(0, int(number), floor or 0)

    def demand(self, number: int) -> None:
        """Raise Expired where something that comes after a number was removed, or there is no such number."""
        [found] = statements.rows(self._connection, Statement(_STANDING, {"after": number}))
        newest, floor, floor_at, is_lost = found
        _demand(number, newest, floor, floor_at, is_lost=is_lost)

    def came_at(self, after: int) -> datetime | None:
        """Return when the first came in, whoever may see it, that comes after a number; None if none has.

        To a coarse key that is the beginning of the step in which it came.
        """
        values = {**self._sight.bounded(), "after": after}
        found = statements.rows(self._connection, Statement(_CAME, values))
        return self._sight.whole(found[0][0]) if found else None

    def _values(self, after: int, following: Following, limit: int, number: int | None) -> dict[str, Any]:
        sight, ids, box = self._sight, following.vessel_ids, following.box
        # One beyond those that are told shows that there is more.
        scan = limit + 1
        if sight.is_coarse or not (sight.sees_all and following.is_everything):
            most = MOST_SCANNED_COARSELY if sight.is_coarse else MOST_SCANNED
            scan = min(max(_SCANNED_FOR_ONE * limit, most // 4), most)
        return {
            **sight.bounded(number),
            **shown.values(sight),
            "after": after,
            "limit": limit,
            "scan": scan,
            "vessel_ids": None if ids is None else sorted(ids),
            "west": None if box is None else box.west,
            "south": None if box is None else box.south,
            "east": None if box is None else box.east,
            "north": None if box is None else box.north,
            "item_key": self._item_key,
        }
