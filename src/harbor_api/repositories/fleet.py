"""The fleet as one key may see it: its vessels, each at the newest position that it sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from harbor_api.domain.errors import NotFound
from harbor_api.domain.positions import Motion
from harbor_api.domain.vessels import (
    LatestPosition,
    Vessel,
    VesselDetails,
    VesselOnMap,
    coarsened,
    is_stale,
    stale_from,
)
from harbor_api.postgres import statements
from harbor_api.postgres.order import FLOOR, NEWEST_OF_EACH, above
from harbor_api.postgres.rows import DETAILS
from harbor_api.postgres.sight import IS_GRANTED, WITHIN_HORIZON, Sight, first_of_step
from harbor_api.postgres.statements import Statement

# More numbers of the order than this are not gone through: to read the whole fleet is quicker.
MOST_NEWS = 20_000

_POSITION = ("recorded_at", "received_at", "lat", "lon", "sog", "cog", "heading", "nav_status", "accuracy_m")
_ROUNDED = {"lat", "lon"}
_KNOWN = len(DETAILS)

# The newest position of a vessel v: kept in a table of its own, or for a key that sees late the newest one
# that it sees, through the one index. LIMIT 1 makes each look-up one probe of a key. Where the fix itself is
# kept no longer, its copy in the table tells where she was last.
_SHOWN = ", ".join(("vessel_id", "tracker_id", "seq", *_POSITION))
_LATEST = f"SELECT {_SHOWN} FROM latest_positions AS p WHERE p.vessel_id = v.id LIMIT 1"  # noqa: S608 - as below
_DELAYED = f"""
    SELECT * FROM (
        (
            SELECT {_SHOWN} FROM positions AS p WHERE p.vessel_id = v.id AND {WITHIN_HORIZON}
            ORDER BY p.recorded_at DESC, p.tracker_id DESC LIMIT 1
        ) UNION ALL (
            SELECT {_SHOWN} FROM latest_positions AS p WHERE p.vessel_id = v.id AND {WITHIN_HORIZON} LIMIT 1
        )
    ) AS either ORDER BY recorded_at DESC, tracker_id DESC LIMIT 1
"""  # noqa: S608 - constants of ours are put in, none from a caller
# The fix that a coarse key sees in place of the newest, of whose step nothing may be kept any more.
_FIRST = f"""
    SELECT * FROM (
        (SELECT {_SHOWN} FROM ({first_of_step("newest", "v.id")}) AS first)
        UNION ALL (SELECT {", ".join(f"newest.{name}" for name in _SHOWN.split(", "))}
            WHERE newest.recorded_at IS NOT NULL)
    ) AS either LIMIT 1
"""  # noqa: S608 - constants of ours are put in, none from a caller
# Whether the fix next behind what a key with a delay sees is due: it was committed late, or one that stood
# before it was withdrawn.
_IS_BEHIND = f"""coalesce((
    SELECT greatest(p.received_at, p.recorded_at) <= %(moment)s
    FROM positions AS p WHERE {above("%(number)s")} ORDER BY p.seq LIMIT 1
), false)"""  # noqa: S608 - a constant of ours is put in
# Numbers go back where a database is restored or made anew, and go on from there: whoever has read up to one
# has then read something else. Another server, one that was started again, another database and tables that
# were filled anew have another origin.
_ORIGIN = """concat_ws(' ',
    pg_postmaster_start_time(), (SELECT oid FROM pg_database WHERE datname = current_database()),
    pg_relation_filenode('vessels'), pg_relation_filenode('latest_positions'))"""

_NAMES = ", ".join(["id", "version", "retired_at", "edited", *DETAILS, "shown", *_POSITION])
_ASKED = {
    "one": f"SELECT v.* FROM vessels AS v WHERE v.id = %(vessel_id)s AND {IS_GRANTED} LIMIT 1",  # noqa: S608 - as above
    "after": "SELECT v.* FROM vessels AS v WHERE v.id > %(after)s ORDER BY v.id LIMIT %(most)s",
    # Of any fix, not of the newest alone: one that comes late may be the first of its step.
    "changed": f"""
        SELECT v.* FROM (
            SELECT p.vessel_id AS id FROM positions AS p
            WHERE {above("%(beyond)s")} AND p.seq <= %(number)s AND clock.number - %(since)s <= %(most)s
            UNION SELECT vessel_id FROM withdrawals
            WHERE seq > %(since)s AND clock.number - %(since)s <= %(most)s
            UNION SELECT id FROM vessels
            WHERE seq > %(since)s AND clock.number - %(since)s <= %(most)s
        ) AS changed CROSS JOIN LATERAL (
            SELECT v.* FROM vessels AS v WHERE v.id = changed.id LIMIT 1
        ) AS v
    """,  # noqa: S608 - a constant of ours is put in
}
_GRANTED = b"SELECT vessel_id FROM grants WHERE api_key_id = %(key_id)s ORDER BY vessel_id"


def _statement(asked: str, *, late: bool, coarse: bool) -> bytes:
    """Return the text that reads vessels with one position each, and the clock by which that is so."""
    position = "shown" if coarse else "newest"
    columns = [
        *("v.id", "v.version", "v.retired_at", "v.seq"),
        *(f"v.{name}" for name in DETAILS),
        f"{position}.seq",
        *(
            f"round({position}.{name}::numeric, %(decimals)s)::float8"
            if name in _ROUNDED
            else f"{position}.{name}"
            for name in _POSITION
        ),
    ]
    is_news = asked == "changed"
    tops, floor = (f"ARRAY[{NEWEST_OF_EACH}]", f"{FLOOR}, 0") if is_news else ("NULL::bigint[]", "0")
    # The one that coarse keys see.
    shown = f"LEFT JOIN LATERAL ({_FIRST}) AS shown ON true" if coarse else ""
    return f"""
        SELECT clock.*, fleet.* FROM (
            SELECT now() AS moment, greatest(tops[1], tops[2], tops[3], {floor}) AS number,
                {_ORIGIN} AS origin, {_IS_BEHIND if is_news and late else "false"} AS is_behind, tops
            FROM (SELECT {tops} AS tops OFFSET 0) AS newest
            OFFSET 0
        ) AS clock LEFT JOIN LATERAL (
            SELECT {", ".join(columns)}
            FROM ({_ASKED[asked]}) AS v
            LEFT JOIN LATERAL ({_DELAYED if late else _LATEST}) AS newest ON true
            {shown}
            ORDER BY v.id
        ) AS fleet ({_NAMES}) ON true
    """.encode()  # noqa: S608 - constants of ours are put in, none from a caller


_TEXTS = {
    (asked, late, coarse): _statement(asked, late=late, coarse=coarse)
    for asked in _ASKED
    for late in (False, True)
    for coarse in (False, True)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What has changed of the fleet, read with one look at all of it.

    ``moment`` is PostgreSQL's time then, ``number`` where the committed order stood, ``tops`` the greatest
    number in each of its tables, and ``origin`` tells the order itself from others. ``vessels`` is None where
    there are too many. The horizon of a key with a delay ``is_behind`` where its moment lets more be seen.
    """

    moment: datetime
    number: int
    tops: Sequence[int | None]
    origin: str
    vessels: Sequence[VesselOnMap] | None
    is_behind: bool = False


class Fleet:
    """Vessels with their latest positions, as far as a key may see them, and as it sees them."""

    def __init__(self, connection: Connection, sight: Sight, *, stale_after: timedelta) -> None:
        """Look as a key does; a vessel not heard of for longer than ``stale_after`` is stale."""
        self._connection = connection
        self._stale_after = stale_after
        self._sight = sight
        self._step = sight.step if sight.is_coarse else timedelta()
        self._values = {"decimals": sight.decimals, **sight.bounded()}

    def get(self, vessel_id: int) -> VesselOnMap:
        """Return one vessel, in service or retired; NotFound also where the key may not see it."""
        [(moment, _, _, _, _, *row)] = self._rows("one", vessel_id=vessel_id)
        if row[0] is None:
            raise NotFound(f"There is no vessel {vessel_id}")
        return self._on_map(row, moment)

    def after(self, vessel_id: int, *, most: int) -> list[VesselOnMap]:
        """Return the first vessels with greater ids, in service or retired, in order of id.

        Whoever may see all of them is asked about: grants are not looked at.
        """
        found = self._rows("after", after=vessel_id, most=most)
        return [self._on_map(row, moment) for moment, _, _, _, _, *row in found if row[0] is not None]

    def news(self, since: int, *, beyond: int | None = None) -> News:
        """Return the vessels that have changed since a number of the committed order, whoever may see them.

        ``beyond`` is the number up to which fixes are known, where that is another one.
        """
        known = since if beyond is None else beyond
        found = self._rows("changed", since=since, beyond=known, most=MOST_NEWS)
        moment, number, origin, is_behind, tops, *_ = found[0]
        told = None
        if number - since <= MOST_NEWS:
            told = [self._on_map(row, moment) for _, _, _, _, _, *row in found if row[0] is not None]
        return News(moment=moment, number=number, tops=tops, origin=origin, vessels=told, is_behind=is_behind)

    def granted(self) -> list[int]:
        """Return the ids of the vessels that the key may see by their names, in order."""
        values = {"key_id": self._sight.key_id}
        return [each for (each,) in statements.rows(self._connection, Statement(_GRANTED, values))]

    def _rows(self, asked: str, **values: Any) -> list[tuple[Any, ...]]:
        text = _TEXTS[asked, self._sight.horizon is not None, self._sight.is_coarse]
        return statements.rows(self._connection, Statement(text, self._values | values))

    def _on_map(self, row: Sequence[Any], moment: datetime) -> VesselOnMap:
        horizon = self._sight.horizon
        vessel_id, version, retired_at, edited, *rest = row
        details, [number, recorded_at, received_at, lat, lon, *motion] = rest[:_KNOWN], rest[_KNOWN:]
        latest = stale_at = None
        if recorded_at is not None:
            sog, cog, heading, nav_status, accuracy_m = motion
            latest = LatestPosition(
                recorded_at=recorded_at,
                received_at=received_at,
                motion=Motion(lat, lon, sog, cog, heading, nav_status, accuracy_m),
            )
            if self._sight.is_coarse:
                latest = coarsened(latest, self._sight.decimals)
            stale_at = stale_from(latest.recorded_at, stale_after=self._stale_after, step=self._step)
        return VesselOnMap(
            vessel=Vessel(
                id=vessel_id,
                details=VesselDetails(**dict(zip(DETAILS, details, strict=True))),
                version=version,
                retired_at=retired_at,
            ),
            latest=latest,
            stale=is_stale(stale_at, moment if horizon is None else horizon.moment),
            stale_at=stale_at,
            # What is known of a vessel is shown at once, wherever in the order a key with a delay is.
            number=max(edited, number or 0) if horizon is None else number or 0,
        )
