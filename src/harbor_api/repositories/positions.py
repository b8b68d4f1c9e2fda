"""Positions: the history of fixes, and the latest one of each vessel."""

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count, groupby
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import Connection

from harbor_api.domain.positions import FixKey, Neighbour, ReceivedFix, Surroundings
from harbor_api.postgres import statements
from harbor_api.postgres.rows import MOTION, MOVE_FORWARD, measures_of
from harbor_api.postgres.statements import Statement
from harbor_api.postgres.tables import TAKE_ORDER, VESSELS_LOCK

_MOTION = ", ".join(MOTION)

# Fixes as JSON hands them over, those that came together under what they share: PostgreSQL parses one
# parameter faster than a driver adapts rows, and what is said once is parsed once.
_INPUT = f"""
    SELECT submission.vessel_id, recorded_at, submission.tracker_id, submission.received_at, {_MOTION}, late,
        place
    FROM json_to_recordset(%(submissions)s)
            AS submission (vessel_id integer, tracker_id integer, received_at timestamptz, fixes json),
        json_to_recordset(submission.fixes) AS fix (
            place integer, recorded_at timestamptz, lat float8, lon float8, sog real, cog real, heading real,
            nav_status smallint, accuracy_m real, battery_v real, late boolean)
"""  # noqa: S608 - only names of columns are put in, none from a caller


def _of(relation: str) -> str:
    return ", ".join(f"{relation}.{name}" for name in MOTION)


# One statement stores any number of fixes and moves the latest positions of their vessels forward.
# `turn` takes the lock before the first number is drawn, and the lock is held to the commit, so numbers of
# `fleet_order` become visible in their own order. All else waits for it, so it comes as late as it can: once
# the fixes are parsed.
_ADD = f"""
WITH input AS MATERIALIZED ({_INPUT}), turn AS MATERIALIZED (
    SELECT {TAKE_ORDER} FROM (SELECT count(*) FROM input) AS parsed
), stored AS (
    INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, late, seq)
    SELECT vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, late, nextval('fleet_order')
    FROM turn, input
    RETURNING vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, seq
)
{MOVE_FORWARD}""".encode()  # noqa: S608 - only names of columns are put in, none from a caller

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
# stored of their vessel; then the latest position is all that there is to look at.
# Here and below LIMIT 1 makes each look-up one probe of a key: a plain join leaves it to the statistics
# whether all that is stored is read instead, once or even for each row.
_AROUND = b"""
SELECT
    stretch.ord, vessel.max_speed_kn, latest.recorded_at, latest.tracker_id,
    near.reason, near.recorded_at, near.lat, near.lon, near.accuracy_m, near.tracker_id
FROM json_to_recordset(%(stretches)s) AS stretch (
    ord integer, vessel_id integer, most integer,
    first_at timestamptz, first_tracker integer, last_at timestamptz, last_tracker integer)
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
        SELECT NULL, p.recorded_at, p.lat, p.lon, p.accuracy_m, p.tracker_id
        FROM positions AS p
        WHERE (latest.recorded_at, latest.tracker_id) >= (first_at, first_tracker)
            AND p.vessel_id = stretch.vessel_id
            AND (p.recorded_at, p.tracker_id) < (first_at, first_tracker)
        ORDER BY p.recorded_at DESC, p.tracker_id DESC
        LIMIT 1
    ) UNION ALL (
        SELECT NULL, p.recorded_at, p.lat, p.lon, p.accuracy_m, p.tracker_id
        FROM positions AS p
        WHERE (latest.recorded_at, latest.tracker_id) >= (first_at, first_tracker)
            AND p.vessel_id = stretch.vessel_id
            AND (p.recorded_at, p.tracker_id) >= (first_at, first_tracker)
            AND (p.recorded_at, p.tracker_id) <= (last_at, last_tracker)
        ORDER BY p.recorded_at, p.tracker_id
        LIMIT most
    ) UNION ALL (
        SELECT NULL, p.recorded_at, p.lat, p.lon, p.accuracy_m, p.tracker_id
        FROM positions AS p
        WHERE (latest.recorded_at, latest.tracker_id) > (last_at, last_tracker)
            AND p.vessel_id = stretch.vessel_id
            AND (p.recorded_at, p.tracker_id) > (last_at, last_tracker)
        ORDER BY p.recorded_at, p.tracker_id
        LIMIT 1
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
"""
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
SELECT tracker_id FROM positions
WHERE vessel_id = %(vessel_id)s AND recorded_at = %(recorded_at)s
ORDER BY vessel_id, recorded_at, tracker_id
LIMIT 100
"""

_vessel = attrgetter("vessel_id")
_submission = attrgetter("vessel_id", "tracker_id", "received_at")


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
        values = {
            "vessels_lock": VESSELS_LOCK,
            "vessel_ids": sorted(set(vessel_ids)),
            "tracker_ids": sorted(set(tracker_ids)),
        }
        found = statements.rows(self._connection, Statement(_ADMIT, values))
        return {tracker_id: version for _, tracker_id, version in found if tracker_id is not None}

    def around(self, fixes: Sequence[ReceivedFix]) -> Mapping[int, Surroundings]:
        """Return what is known around some fixes, by vessel."""
        stretches = [list(run) for _, run in groupby(fixes, key=_vessel)]
        ids = [run[0].vessel_id for run in stretches]
        known = {vessel_id: _Known() for vessel_id in ids}
        while stretches:
            # Where more is stored than was asked for, parts have less; single fixes never have too much.
            crowded = self._look(stretches, known)
            stretches = [part for run in crowded for part in _parts(run)]
        return {vessel_id: each.surroundings() for vessel_id, each in known.items()}

    def _look(
        self, stretches: list[list[ReceivedFix]], known: Mapping[int, "_Known"]
    ) -> list[list[ReceivedFix]]:
        """Note what is known around stretches of fixes; return those around which there may be more."""
        asked = [
            {
                "ord": place,
                "vessel_id": run[0].vessel_id,
                "most": 2 * len(run) + _MARGIN,
                "first_at": run[0].fix.recorded_at,
                "first_tracker": run[0].tracker_id,
                "last_at": run[-1].fix.recorded_at,
                "last_tracker": run[-1].tracker_id,
            }
            for place, run in enumerate(stretches)
        ]
        values = {"stretches": orjson.dumps(asked).decode()}
        found = statements.rows(self._connection, Statement(_AROUND, values))
        rows = [0] * len(stretches)
        for place, *rest in found:
            known[stretches[place][0].vessel_id].note(*rest)
            rows[place] += 1
        return [run for run, many in zip(stretches, rows, strict=True) if many >= 2 * len(run) + _MARGIN]

    def addition(self, fixes: Sequence[ReceivedFix], *, late: Container[int] = ()) -> Statement:
        """Return what stores fixes, none of which is stored yet, and moves latest positions forward.

        ``late`` are the places of those of whose vessels a newer fix is stored. Whoever runs it holds the
        lock of the order up to the end of the transaction.
        """
        return Statement(_ADD, {"submissions": _as_json(fixes, late=late)})

    def trackers_at(self, vessel_id: int, recorded_at: datetime) -> list[int]:
        """Return the numbers of the trackers that a vessel has a stored fix of that tells this time."""
        values = {"vessel_id": vessel_id, "recorded_at": recorded_at}
        return [number for (number,) in statements.rows(self._connection, Statement(_TRACKERS_AT, values))]

    def differ(self, fixes: Sequence[ReceivedFix]) -> list[bool]:
        """Tell of fixes that are stored already whether their content differs from what is stored."""
        values = {"submissions": _as_json(fixes, placed=True)}
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
            one = Neighbour(*near)
            self._stored[one.key] = one

    def surroundings(self) -> Surroundings:
        stored = [self._stored[key] for key in sorted(self._stored)]
        return Surroundings(self._max_speed_kn, self._newest, stored, self._held)


def _parts(run: list[ReceivedFix]) -> list[list[ReceivedFix]]:
    size = -(-len(run) // _PARTS)
    return [run[place : place + size] for place in range(0, len(run), size)]


def _as_json(fixes: Iterable[ReceivedFix], *, placed: bool = False, late: Container[int] = ()) -> str:
    """Return fixes as ``_INPUT`` takes them, each with its place where that is wanted.

    ``late`` are the places of those that come late.
    """
    submissions = []
    places = count()
    for (vessel_id, tracker_id, received_at), run in groupby(fixes, key=_submission):
        rows = []
        for each in run:
            row = measures_of(each.fix.motion)
            row["recorded_at"] = each.fix.recorded_at
            place = next(places)
            if placed:
                row["place"] = place
            if place in late:
                row["late"] = True
            rows.append(row)
        submissions.append(
            {"vessel_id": vessel_id, "tracker_id": tracker_id, "received_at": received_at, "fixes": rows}
        )
    return orjson.dumps(submissions).decode()
