"""Positions: the history of fixes, and the latest one of each vessel."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection

from harbor_api.domain.columns import Floats
from harbor_api.domain.positions import FixKey, Neighbour, ReceivedFix, Stretch, Surroundings
from harbor_api.domain.received_columns import NO_STATUS, ReceivedColumns
from harbor_api.postgres import statements
from harbor_api.postgres.arrays import (
    BOOLEAN,
    DOUBLE,
    INTEGER,
    REAL,
    SINCE_1970,
    SMALLINT,
    TIMESTAMPTZ,
    Encoded,
    encoded,
)
from harbor_api.postgres.rows import MOTION, move_forward
from harbor_api.postgres.statements import Rows, Statement
from harbor_api.postgres.tables import TAKE_ORDER, VESSELS_LOCK

_MOTION = ", ".join(MOTION)

# Fixes by the column: PostgreSQL reads binary arrays in half the time that it takes to parse JSON.
_INPUT = f"""
    SELECT *
    FROM unnest(%(vessel_id)b::integer[], %(recorded_at)b::timestamptz[], %(tracker_id)b::integer[],
        %(received_at)b::timestamptz[], %(lat)b::float8[], %(lon)b::float8[], %(sog)b::real[],
        %(cog)b::real[], %(heading)b::real[], %(nav_status)b::smallint[], %(accuracy_m)b::real[],
        %(battery_v)b::real[], %(late)b::boolean[], %(newest)b::boolean[])
    WITH ORDINALITY
        AS fix (vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, late, newest, place)
"""  # noqa: S608 - only names of columns are put in, none from a caller


def _of(relation: str) -> str:
    return ", ".join(f"{relation}.{name}" for name in MOTION)


_MOVE = move_forward(f"""
SELECT vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, before + place FROM drawn, input
WHERE newest
ORDER BY vessel_id""")  # noqa: S608 - only names of columns are put in, none from a caller

# One statement stores any number of fixes and moves the latest positions of their vessels forward, each by
# the `newest` of its vessel.
# `turn` takes the lock before any number is drawn, and the lock is held to the commit, so numbers of
# `fleet_order` become visible in their own order. All else waits for it, so it comes as late as it can: once
# the fixes are read. Nobody else draws meanwhile, so all numbers are taken at once: the last one is looked up
# behind the lock, of which the subquery depends. Whoever draws one by hand has to take the lock first, else a
# fix may get the same. Of a new sequence the first number is passed over.
_ADD = f"""
WITH input AS MATERIALIZED ({_INPUT}), turn AS MATERIALIZED (
    SELECT many, {TAKE_ORDER} FROM (SELECT count(*) AS many FROM input) AS parsed
), drawn AS MATERIALIZED (
    SELECT setval('fleet_order', (SELECT last_value FROM fleet_order WHERE many > 0) + many) - many AS before
    FROM turn
), stored AS (
    INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, late, seq)
    SELECT vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, late, before + place
    FROM drawn, input
)
{_MOVE}""".encode()  # noqa: S608 - only names of columns are put in, none from a caller

# Locks are taken in order, so that two groups cannot deadlock.
_ADMIT = b"""
WITH locked AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(%(vessels_lock)s, vessel_id)
    FROM unnest(%(vessel_ids)s::integer[]) AS vessel_id
)
SELECT done.locks, trackers.id, trackers.version
FROM (SELECT count(*) AS locks FROM locked) AS done
LEFT JOIN trackers ON trackers.id = ANY (%(tracker_ids)s::integer[])
"""

# What is known around stretches of fixes, each from its first to its last fix of one vessel: the stored
# fixes within, the nearest one on each side, and which ones were held. Most fixes are newer than all that is
# stored of their vessel; then the latest position is all that there is to look at, and no partition is
# opened:
# of forty that takes longer than all the rest.
# Here and below LIMIT 1 makes each look-up one probe of a key: a plain join leaves it to the statistics
# whether all that is stored is read instead, once or even for each row.
_STRETCHES = """json_to_recordset(%(stretches)s) AS stretch (
    ord integer, vessel_id integer, most integer,
    first_at timestamptz, first_tracker integer, last_at timestamptz, last_tracker integer)"""
_LOOK = f"""
SELECT
    stretch.ord, vessel.max_speed_kn, latest.recorded_at, latest.tracker_id,
    near.reason, near.recorded_at, near.lat, near.lon, near.accuracy_m, near.tracker_id
FROM {_STRETCHES}
CROSS JOIN LATERAL (
    SELECT v.max_speed_kn FROM vessels AS v WHERE v.id = stretch.vessel_id LIMIT 1
) AS vessel
LEFT JOIN LATERAL (
    SELECT p.recorded_at, p.lat, p.lon, p.accuracy_m, p.tracker_id
    FROM latest_positions AS p WHERE p.vessel_id = stretch.vessel_id LIMIT 1
) AS latest ON true
LEFT JOIN LATERAL (
    (
        SELECT NULL AS reason, latest.recorded_at, latest.lat, latest.lon, latest.accuracy_m,
            latest.tracker_id
        WHERE (latest.recorded_at, latest.tracker_id) < (first_at, first_tracker)
    ) UNION ALL (
        SELECT q.reason, q.recorded_at, NULL, NULL, NULL, q.tracker_id
        FROM quarantine AS q
        WHERE q.vessel_id = stretch.vessel_id
            AND (q.recorded_at, q.tracker_id) >= (first_at, first_tracker)
            AND (q.recorded_at, q.tracker_id) <= (last_at, last_tracker)
        ORDER BY q.recorded_at, q.tracker_id
        LIMIT most
    )
) AS near ON true
""".encode()  # noqa: S608 - constants of ours are put in, none from a caller
# The other half, for stretches that are not newer than all: what is stored before, within and behind. The
# first and last time of all of them are what PostgreSQL knows before it begins: by these it opens no
# partition that none of them can ask for.
_AROUND = f"""
SELECT stretch.ord, near.*
FROM {_STRETCHES}
CROSS JOIN LATERAL (
    (
        SELECT p.recorded_at, p.lat, p.lon, p.accuracy_m, p.tracker_id
        FROM positions AS p
        WHERE p.vessel_id = stretch.vessel_id
            AND p.recorded_at <= first_at AND p.recorded_at <= %(last)s
            AND (p.recorded_at, p.tracker_id) < (first_at, first_tracker)
        ORDER BY p.recorded_at DESC, p.tracker_id DESC
        LIMIT 1
    ) UNION ALL (
        SELECT p.recorded_at, p.lat, p.lon, p.accuracy_m, p.tracker_id
        FROM positions AS p
        WHERE p.vessel_id = stretch.vessel_id
            AND p.recorded_at >= first_at AND p.recorded_at >= %(first)s
            AND p.recorded_at <= last_at AND p.recorded_at <= %(last)s
            AND (p.recorded_at, p.tracker_id) >= (first_at, first_tracker)
            AND (p.recorded_at, p.tracker_id) <= (last_at, last_tracker)
        ORDER BY p.recorded_at, p.tracker_id
        LIMIT most
    ) UNION ALL (
        SELECT p.recorded_at, p.lat, p.lon, p.accuracy_m, p.tracker_id
        FROM positions AS p
        WHERE p.vessel_id = stretch.vessel_id
            AND p.recorded_at >= last_at AND p.recorded_at >= %(first)s
            AND (p.recorded_at, p.tracker_id) > (last_at, last_tracker)
        ORDER BY p.recorded_at, p.tracker_id
        LIMIT 1
    )
) AS near
""".encode()  # noqa: S608 - constants of ours are put in, none from a caller
# A stretch may be answered with so many more fixes than it has.
_MARGIN = 8
# A stretch that has more is cut into so many parts. Each round reads as much as the one before, so that a
# thousand fixes all over a long history take three; those that are dense but for a few take little more.
_PARTS = 32

_DIFFER = f"""
WITH input AS MATERIALIZED ({_INPUT})
SELECT ({_of("stored")}) IS DISTINCT FROM ({_of("input")})
FROM input
CROSS JOIN LATERAL (
    SELECT {_MOTION} FROM positions AS p
    WHERE p.vessel_id = input.vessel_id AND p.recorded_at = input.recorded_at
        AND p.tracker_id = input.tracker_id
    LIMIT 1
) AS stored
ORDER BY place
""".encode()  # noqa: S608 - only names of columns are put in, none from a caller

_TRACKERS_AT = b"""
SELECT p.tracker_id FROM positions AS p
WHERE p.vessel_id = %(vessel_id)s AND p.recorded_at = %(recorded_at)s
ORDER BY p.vessel_id, p.recorded_at, p.tracker_id
LIMIT 100
"""


def admission(vessel_ids: Iterable[int], tracker_ids: Iterable[int]) -> Statement:
    """Return what locks vessels, and reads the versions of trackers for ``versions_in``."""
    values = {
        "vessels_lock": VESSELS_LOCK,
        "vessel_ids": sorted(set(vessel_ids)),
        "tracker_ids": sorted(set(tracker_ids)),
    }
    return Statement(_ADMIT, values)


def versions_in(admitted: Rows) -> Mapping[int, int]:
    """Return the versions of the trackers that an ``admission`` has read."""
    return {tracker_id: version for _, tracker_id, version in admitted if tracker_id is not None}


def look(stretches: Iterable[Stretch]) -> Statement:
    """Return what looks first around stretches of fixes, for ``Positions.around``."""
    return _asking(_LOOK, enumerate(stretches))


def _asking(text: bytes, stretches: Iterable[tuple[int, Stretch]]) -> Statement:
    """Return a statement that asks about stretches, each told by a number in what is answered."""
    named = [*stretches]
    asked = [
        {
            "ord": place,
            "vessel_id": vessel_id,
            "most": 2 * len(keys) + _MARGIN,
            "first_at": first_at,
            "first_tracker": first_tracker,
            "last_at": last_at,
            "last_tracker": last_tracker,
        }
        for place, (vessel_id, keys) in named
        for first_at, first_tracker in [keys[0]]
        for last_at, last_tracker in [keys[-1]]
    ]
    values = {
        "stretches": orjson.dumps(asked).decode(),
        "first": min((keys[0][0] for _, (_, keys) in named), default=None),
        "last": max((keys[-1][0] for _, (_, keys) in named), default=None),
    }
    return Statement(text, values)


class Positions:
    """The fixes of all vessels.

    Fixes are handed over in order of vessel, time and tracker. Whoever adds some holds the locks of their
    vessels and has asked what is stored around them.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def admit(self, vessel_ids: Iterable[int], tracker_ids: Iterable[int]) -> Mapping[int, int]:
        """Lock the vessels that fixes are for, and return the versions of the trackers that they are from.

        Nobody else adds fixes of these vessels before this transaction ends. One statement for both, as
        each group of fixes begins with it.
        """
        return versions_in(statements.rows(self._connection, admission(vessel_ids, tracker_ids)))

    def around(self, stretches: Iterable[Stretch], *, seen: Rows | None = None) -> Mapping[int, Surroundings]:
        """Return what is known around stretches of fixes, each of another vessel, by vessel.

        ``seen`` is what ``look`` has found, where that was run already.
        """
        asked = list(stretches)
        known = {vessel_id: _Known() for vessel_id, _ in asked}
        while asked:
            found = statements.rows(self._connection, look(asked)) if seen is None else seen
            seen = None
            rows = [0] * len(asked)
            for place, *rest in found:
                known[asked[place][0]].note(*rest)
                rows[place] += 1
            late = [
                (place, stretch)
                for place, stretch in enumerate(asked)
                if known[stretch[0]].reaches(stretch[1])
            ]
            if late:
                for place, *near in statements.rows(self._connection, _asking(_AROUND, late)):
                    known[asked[place][0]].note_stored(*near)
                    rows[place] += 1
            # Where more is stored than was asked for, parts have less; single fixes never have too much.
            asked = [part for crowded in _crowded(asked, rows) for part in _parts(crowded)]
        return {vessel_id: each.surroundings() for vessel_id, each in known.items()}

    def addition(self, fixes: ReceivedColumns, *, late: NDArray[np.bool_] | None = None) -> Statement:
        """Return what stores fixes, none of which is stored yet, and moves latest positions forward.

        They come in order of vessel, time and tracker. ``late`` tells of each whether a newer one of its
        vessel is stored, None that none is. Whoever runs it holds the lock of the order up to the
        end of the transaction.
        """
        return Statement(_ADD, _parameters(fixes, late=late))

    def trackers_at(self, vessel_id: int, recorded_at: datetime) -> list[int]:
        """Return the numbers of the trackers that a vessel has a stored fix of that tells this time."""
        values = {"vessel_id": vessel_id, "recorded_at": recorded_at}
        return [number for (number,) in statements.rows(self._connection, Statement(_TRACKERS_AT, values))]

    def differ(self, fixes: Sequence[ReceivedFix]) -> list[bool]:
        """Tell of fixes that are stored already whether their content differs from what is stored."""
        values = _parameters(ReceivedColumns.of(fixes))
        return [differs for (differs,) in statements.rows(self._connection, Statement(_DIFFER, values))]


class _Known:
    """What is found around the fixes of one vessel, row by row."""

    def __init__(self) -> None:
        self._max_speed_kn: float | None = None
        self._newest: FixKey | None = None
        self._stored: dict[FixKey, Neighbour] = {}
        self._held: dict[FixKey, str] = {}

    def note(
        self,
        max_speed_kn: float | None,
        newest_at: datetime | None,
        newest_tracker: int | None,
        reason: str | None,
        *near: Any,
    ) -> None:
        self._max_speed_kn = max_speed_kn
        if newest_at is not None and newest_tracker is not None:
            self._newest = newest_at, newest_tracker
        if reason is not None:
            self._held[near[0], near[-1]] = reason
        elif near[0] is not None:
            self.note_stored(*near)

    def note_stored(self, *near: Any) -> None:
        one = Neighbour(*near)
        self._stored[one.key] = one

    def reaches(self, keys: Sequence[FixKey]) -> bool:
        """Return whether anything is stored that is not older than all of these."""
        return self._newest is not None and self._newest >= keys[0]

    def surroundings(self) -> Surroundings:
        stored = [self._stored[key] for key in sorted(self._stored)]
        return Surroundings(self._max_speed_kn, self._newest, stored, self._held)


def _crowded(stretches: list[Stretch], rows: list[int]) -> list[Stretch]:
    """Return those of some stretches around which there may be more than the rows that were found."""
    return [each for each, many in zip(stretches, rows, strict=True) if many >= 2 * len(each[1]) + _MARGIN]


def _parts(run: Stretch) -> list[Stretch]:
    vessel_id, keys = run
    size = -(-len(keys) // _PARTS)
    return [(vessel_id, keys[place : place + size]) for place in range(0, len(keys), size)]


def _parameters(received: ReceivedColumns, *, late: NDArray[np.bool_] | None = None) -> dict[str, Any]:
    """Return fixes, at least one, as ``_INPUT`` takes them; ``late`` as with ``addition``."""
    vessel_id, fixes = received.vessel_id, received.fixes
    newest = np.append(vessel_id[1:] != vessel_id[:-1], True)
    return {
        "vessel_id": encoded(vessel_id, INTEGER),
        "recorded_at": encoded(fixes.recorded_at - SINCE_1970, TIMESTAMPTZ),
        "tracker_id": encoded(received.tracker_id, INTEGER),
        "received_at": encoded(received.received_at - SINCE_1970, TIMESTAMPTZ),
        "lat": encoded(fixes.lat, DOUBLE),
        "lon": encoded(fixes.lon, DOUBLE),
        "nav_status": encoded(fixes.nav_status, SMALLINT, nulls=fixes.nav_status == NO_STATUS),
        "late": None if late is None else encoded(late, BOOLEAN, nulls=~late),
        "newest": encoded(newest, BOOLEAN),
        "sog": _reals(fixes.sog),
        "cog": _reals(fixes.cog),
        "heading": _reals(fixes.heading),
        "accuracy_m": _reals(fixes.accuracy_m),
        "battery_v": _reals(fixes.battery_v),
    }


def _reals(measures: Floats) -> Encoded | None:
    """Return measures as four bytes each take them.

    None has more digits than these tell apart, so that it is the same one as if they were made of its text.
    """
    return encoded(measures, REAL, nulls=np.isnan(measures))
