"""The past as one key may see it: its vessels, and the fixes around a moment of each.

Whatever is stored of a vessel, at most two probes of the key of ``positions`` find both. What has come since
a delayed key's horizon is walked over: no more than has come of that vessel within the delay.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from harbor_api.domain.moments import FixThen, Known, VesselThen
from harbor_api.domain.positions import Motion, Neighbour
from harbor_api.domain.vessels import LatestPosition, coarsened
from harbor_api.postgres import statements
from harbor_api.postgres.rows import DETAILS
from harbor_api.postgres.sight import Sight, first_of_step
from harbor_api.postgres.statements import Statement

_DETAILS = ", ".join(f"v.{name}" for name in DETAILS)


def _vessels(visible: str, number: str) -> bytes:
    return f"""
        SELECT v.id, v.seq, v.retired_at, {_DETAILS} FROM {visible} AND {number} > %(behind)s
            AND (%(retired)s::boolean IS NULL OR coalesce(v.retired_at <= %(at)s, false) = %(retired)s)
            AND (%(vessel_ids)s::integer[] IS NULL OR v.id = ANY (%(vessel_ids)s::integer[]))
        ORDER BY {number}
        LIMIT %(most)s
    """.encode()  # noqa: S608 - constants of ours are put in, none from a caller


# Told apart here and not in the condition, so that who may see three vessels does not have all of them read.
# Each grant is followed to its vessel: of a join the statistics decide whether all are read and sorted.
_VESSELS = {
    True: _vessels("vessels AS v WHERE true", "v.id"),
    False: _vessels(
        """grants AS g CROSS JOIN LATERAL (
            SELECT * FROM vessels AS one WHERE one.id = g.vessel_id LIMIT 1
        ) AS v WHERE g.api_key_id = %(key_id)s""",
        "g.vessel_id",
    ),
}

_MOTION = ("sog", "cog", "heading", "nav_status")
_SHOWN = ("recorded_at", "received_at", "lat", "lon", *_MOTION, "accuracy_m", "seq")
_AFTER = ("recorded_at", "lat", "lon", "accuracy_m", "seq")


def _of(relation: str, names: Sequence[str]) -> str:
    return ", ".join(f"{relation}.{name}" for name in names)


# The sum keeps the index on the numbers out of it, below which is nearly all that is stored. No moment is
# later than the horizon's, so that is no bound of what came before.
_SEEN = "p.vessel_id = asked.vessel_id AND p.seq + 0 <= %(number)s"
_FIXES = f"""
SELECT asked.vessel_id, {_of("before", _SHOWN)}, {_of("after", _AFTER)}
FROM unnest(%(vessel_ids)s::integer[]) AS asked (vessel_id)
CROSS JOIN LATERAL (
    SELECT {_of("p", _SHOWN)} FROM positions AS p
    WHERE {_SEEN} AND p.recorded_at >= %(oldest)s AND p.recorded_at <= %(at)s
    ORDER BY p.recorded_at DESC, p.tracker_id DESC
    LIMIT 1
) AS before
LEFT JOIN LATERAL (
    SELECT {_of("p", _AFTER)} FROM positions AS p
    WHERE {_SEEN} AND p.recorded_at > %(at)s
        AND p.recorded_at <= least(before.recorded_at + %(gap)s, %(moment)s)
    ORDER BY p.recorded_at, p.tracker_id
    LIMIT 1
) AS after ON before.recorded_at < %(at)s
""".encode()  # noqa: S608 - constants of ours are put in, none from a caller
# The last whole step of time in which the vessel was seen, and of it what the key is shown.
_STEPS = f"""
SELECT asked.vessel_id, shown.recorded_at, shown.received_at,
    round(shown.lat::numeric, %(decimals)s)::float8, round(shown.lon::numeric, %(decimals)s)::float8,
    {_of("shown", (*_MOTION, "accuracy_m", "seq"))}
FROM unnest(%(vessel_ids)s::integer[]) AS asked (vessel_id)
CROSS JOIN LATERAL (
    SELECT p.recorded_at FROM positions AS p
    WHERE {_SEEN} AND p.recorded_at >= %(oldest)s AND p.recorded_at < %(at)s
    ORDER BY p.recorded_at DESC, p.tracker_id DESC
    LIMIT 1
) AS newest
CROSS JOIN LATERAL ({first_of_step("newest", "asked.vessel_id")}) AS shown
""".encode()  # noqa: S608 - constants of ours are put in, none from a caller


class Moments:
    """The vessels that a key sees, and what it sees of where they were at a moment.

    To a key that sees time in steps the moment is the beginning of one: only whole steps before it count.
    """

    def __init__(self, connection: Connection, sight: Sight, at: datetime, *, number: int | None) -> None:
        """Look at a moment that the key may see, by what has come up to a ``number`` of the order."""
        self._connection = connection
        self._sight = sight
        self.at = sight.whole(at)
        self._values = {**sight.bounded(number), "decimals": sight.decimals, "at": self.at}

    def vessels(
        self,
        *,
        retired: bool | None = None,
        vessel_ids: Collection[int] | None = None,
        behind: int = 0,
        most: int,
    ) -> list[VesselThen]:
        """Return vessels in service then, those ``retired`` by then, or both; of all that there are, or some.

        They are in order of id, no more than ``most``, from those on that come ``behind`` an id. Details are
        as they are now, and one that was restored counts as if it had never been retired.
        """
        values = {
            **self._values,
            "retired": retired,
            "vessel_ids": None if vessel_ids is None else list(vessel_ids),
            "behind": behind,
            "most": most,
        }
        text = _VESSELS[self._sight.all_vessels]
        return [VesselThen(*row) for row in statements.rows(self._connection, Statement(text, values))]

    def fixes(self, vessel_ids: Sequence[int], *, gap: timedelta) -> dict[int, Known]:
        """Return what is known of those vessels that had been seen by then, which the key may see.

        A fix after the moment is told where it came within ``gap`` of the one before.
        """
        values = {**self._values, "vessel_ids": list(vessel_ids), "gap": gap}
        text = _STEPS if self._sight.is_coarse else _FIXES
        rows = statements.rows(self._connection, Statement(text, values))
        return dict(self._coarse(rows) if self._sight.is_coarse else _fine(rows))

    def _coarse(self, rows: list[tuple[Any, ...]]) -> Iterator[tuple[int, Known]]:
        for vessel_id, recorded_at, received_at, *measures, number in rows:
            motion = Motion(*measures)
            shown = LatestPosition(recorded_at=recorded_at, received_at=received_at, motion=motion)
            shown = coarsened(shown, self._sight.decimals)
            fix = FixThen(shown.recorded_at, shown.received_at, *shown.motion[:7], number)
            yield vessel_id, Known(fix, None, None)


def _fine(rows: list[tuple[Any, ...]]) -> Iterator[tuple[int, Known]]:
    before, after = slice(1, 1 + len(_SHOWN)), slice(1 + len(_SHOWN), len(_SHOWN) + len(_AFTER))
    for row in rows:
        is_followed = row[-1] is not None
        yield (
            row[0],
            Known(FixThen(*row[before]), Neighbour(*row[after]) if is_followed else None, row[-1]),
        )
