"""Positions: the history of fixes, the latest one of each vessel, and what is held in quarantine."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, text

from harbor_api.entities import Arrival, Verdict
from harbor_api.tables import FLEET_ORDER_LOCK

_MOTION_NAMES = ("lat", "lon", "sog", "cog", "heading", "nav_status", "accuracy_m", "battery_v")
_MOTION = ", ".join(_MOTION_NAMES)


# The columns of a fix as JSON hands it over, with the types of the table.
_INPUT = (
    "vessel_id integer, tracker_id integer, recorded_at timestamptz, received_at timestamptz, "
    "lat float8, lon float8, sog real, cog real, heading real, nav_status smallint, accuracy_m real, "
    "battery_v real"
)


def _of(relation: str) -> str:
    return ", ".join(f"{relation}.{name}" for name in _MOTION_NAMES)


# One statement does the whole job for any number of fixes: store each once, move the latest position
# of its vessel forward if it is newer, and tell what happened to each. One statement is one round
# trip and one transaction; a JSON parameter is parsed by PostgreSQL faster than any driver adapts
# rows. What makes it right:
# - `input` keeps the caller's order in `ord`; of several fixes with one key the first one is stored.
# - `turn` takes the lock before the first number is drawn, and the lock is held to the commit, so
#   numbers of `fleet_order` become visible in their own order.
# - `moved` looks at the newest stored fix of each vessel only, and its WHERE is evaluated against the
#   row as it is once its lock is held: two writers cannot move a vessel back.
# - `differs` is null for a repeat whose first copy another transaction committed after this
#   statement took its snapshot; asked again, the statement sees it.
# - rows are written in order of their keys, so that two groups cannot deadlock.
_RECORD = text(
    f"""
WITH input AS MATERIALIZED (
    SELECT *
    FROM json_to_recordset(:fixes) AS fix (ord integer, {_INPUT})
), first_of_key AS MATERIALIZED (
    SELECT DISTINCT ON (vessel_id, recorded_at, tracker_id) *
    FROM input
    ORDER BY vessel_id, recorded_at, tracker_id, ord
), turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock({FLEET_ORDER_LOCK})
), stored AS (
    INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, seq)
    SELECT vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, nextval('fleet_order')
    FROM first_of_key, turn
    ON CONFLICT DO NOTHING
    RETURNING vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, seq
), moved AS (
    INSERT INTO latest_positions AS latest
        (vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, seq)
    SELECT DISTINCT ON (vessel_id)
        vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, seq
    FROM stored
    ORDER BY vessel_id, recorded_at DESC, tracker_id DESC
    ON CONFLICT (vessel_id) DO UPDATE SET
        (recorded_at, tracker_id, received_at, {_MOTION}, seq) =
        (excluded.recorded_at, excluded.tracker_id, excluded.received_at,
         {_of("excluded")}, excluded.seq)
    WHERE (excluded.recorded_at, excluded.tracker_id) > (latest.recorded_at, latest.tracker_id)
    RETURNING vessel_id, recorded_at, tracker_id
)
SELECT
    input.ord,
    stored.seq IS NOT NULL AND input.ord = first_of_key.ord AS stored,
    (input.vessel_id, input.recorded_at, input.tracker_id)
        IS NOT DISTINCT FROM
        (input.vessel_id,
         coalesce(moved.recorded_at, latest.recorded_at),
         coalesce(moved.tracker_id, latest.tracker_id)) AS latest,
    CASE
        WHEN input.ord <> first_of_key.ord AND earlier.seq IS NULL
            THEN ({_of("input")}) IS DISTINCT FROM ({_of("first_of_key")})
        WHEN earlier.seq IS NOT NULL
            THEN ({_of("input")}) IS DISTINCT FROM ({_of("earlier")})
    END AS differs
FROM input
JOIN first_of_key USING (vessel_id, recorded_at, tracker_id)
LEFT JOIN stored USING (vessel_id, recorded_at, tracker_id)
LEFT JOIN positions AS earlier USING (vessel_id, recorded_at, tracker_id)
LEFT JOIN moved USING (vessel_id)
LEFT JOIN latest_positions AS latest USING (vessel_id)
ORDER BY input.ord
"""  # noqa: S608 - only names of columns are put in, none from a caller
).bindparams(bindparam("fixes"))

# What `_RECORD` would say of one fix, as long as nobody else stores one meanwhile.
_FORESEE = text(
    f"""
SELECT
    earlier.seq IS NULL AS stored,
    CASE
        WHEN earlier.seq IS NULL
            THEN (input.recorded_at, input.tracker_id) > (latest.recorded_at, latest.tracker_id)
        ELSE (earlier.recorded_at, earlier.tracker_id) = (latest.recorded_at, latest.tracker_id)
    END IS NOT FALSE AS latest,
    ({_of("input")}) IS DISTINCT FROM ({_of("earlier")}) AS differs
FROM json_to_record(:fix) AS input ({_INPUT})
LEFT JOIN positions AS earlier USING (vessel_id, recorded_at, tracker_id)
LEFT JOIN latest_positions AS latest USING (vessel_id)
"""  # noqa: S608 - only names of columns are put in, none from a caller
).bindparams(bindparam("fix"))

_QUARANTINE = text("""
INSERT INTO quarantine (vessel_id, recorded_at, tracker_id, received_at, reason, fix)
VALUES (:vessel_id, :recorded_at, :tracker_id, :received_at, :reason, CAST(:fix AS jsonb))
ON CONFLICT (vessel_id, recorded_at, tracker_id) DO NOTHING
""")


class Positions:
    """The fixes of all vessels."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def record(self, arrivals: Sequence[Arrival]) -> list[Verdict]:
        """Store fixes, move latest positions forward, and return a verdict for each, in order.

        A fix that its tracker has already sent for the same time is a duplicate: the first one stays.
        """
        rows = self._connection.execute(
            _RECORD, {"fixes": _as_json([{"ord": i, **_row(a)} for i, a in enumerate(arrivals)])}
        ).all()
        unseen = any(not row.stored and row.differs is None for row in rows)
        again = self.record(arrivals) if unseen else []
        return [
            Verdict(verdict="stored", latest=row.latest)
            if row.stored
            else again[row.ord]
            if row.differs is None
            else Verdict(verdict="duplicate", latest=row.latest, differs=row.differs)
            for row in rows
        ]

    def foresee(self, arrival: Arrival) -> Verdict:
        """Return the verdict that a fix would get now, and store nothing."""
        row = self._connection.execute(_FORESEE, {"fix": _as_json(_row(arrival))}).one()
        if row.stored:
            return Verdict(verdict="stored", latest=row.latest)
        return Verdict(verdict="duplicate", latest=row.latest, differs=row.differs)

    def quarantine(self, arrival: Arrival, reason: str) -> Verdict:
        """Hold a fix back, with the reason, where it is neither lost nor on the map."""
        row = _row(arrival)
        keys = ("vessel_id", "recorded_at", "tracker_id", "received_at")
        self._connection.execute(
            _QUARANTINE,
            {
                **{key: row.pop(key) for key in keys},
                "reason": reason,
                "fix": _as_json({name: value for name, value in row.items() if value is not None}),
            },
        )
        return Verdict(verdict="quarantined", reason=reason)


def _row(arrival: Arrival) -> dict[str, Any]:
    motion = arrival.fix.motion
    return {
        "vessel_id": arrival.vessel_id,
        "recorded_at": arrival.fix.recorded_at,
        "tracker_id": arrival.tracker_id,
        "received_at": arrival.received_at,
        **{name: getattr(motion, name) for name in _MOTION_NAMES},
    }


def _as_json(value: object) -> str:
    return orjson.dumps(value).decode()
