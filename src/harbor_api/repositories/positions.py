"""Positions: the history of fixes, and the latest one of each vessel."""

from collections.abc import Iterable, Sequence

import orjson
from sqlalchemy import Connection, bindparam, text

from harbor_api.entities import Arrival, Neighbour, Surroundings, Verdict
from harbor_api.rows import MOTION, row_of
from harbor_api.tables import FLEET_ORDER_LOCK, VESSELS_LOCK

_MOTION = ", ".join(MOTION)


# The columns of a fix as JSON hands it over, with the types of the table.
_INPUT = (
    "vessel_id integer, tracker_id integer, recorded_at timestamptz, received_at timestamptz, "
    "lat float8, lon float8, sog real, cog real, heading real, nav_status smallint, accuracy_m real, "
    "battery_v real"
)


def _of(relation: str) -> str:
    return ", ".join(f"{relation}.{name}" for name in MOTION)


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

# Vessels are locked before anything is read of them: whoever judges a fix sees all that is stored of its
# vessel. In order, so that two groups cannot deadlock.
_LOCK_VESSELS = text(
    "SELECT pg_advisory_xact_lock(:vessels_lock, vessel_id) FROM unnest(CAST(:ids AS integer[])) AS vessel_id"
)

# What is known around each fix: whether it is stored or held already, and the nearest stored fix of its
# vessel on each side, through the one index.
_AROUND = text("""
SELECT
    stored.seq IS NOT NULL AS is_stored,
    held.reason AS held_for,
    vessels.max_speed_kn,
    before.recorded_at AS before_at, before.lat AS before_lat, before.lon AS before_lon,
    before.accuracy_m AS before_accuracy_m, before.tracker_id AS before_tracker,
    after.recorded_at AS after_at, after.lat AS after_lat, after.lon AS after_lon,
    after.accuracy_m AS after_accuracy_m, after.tracker_id AS after_tracker
FROM json_to_recordset(:keys) AS input
    (ord integer, vessel_id integer, tracker_id integer, recorded_at timestamptz)
JOIN vessels ON vessels.id = input.vessel_id
LEFT JOIN positions AS stored USING (vessel_id, recorded_at, tracker_id)
LEFT JOIN quarantine AS held USING (vessel_id, recorded_at, tracker_id)
LEFT JOIN LATERAL (
    SELECT * FROM positions AS p
    WHERE p.vessel_id = input.vessel_id
        AND (p.recorded_at, p.tracker_id) < (input.recorded_at, input.tracker_id)
    ORDER BY p.recorded_at DESC, p.tracker_id DESC LIMIT 1
) AS before ON true
LEFT JOIN LATERAL (
    SELECT * FROM positions AS p
    WHERE p.vessel_id = input.vessel_id
        AND (p.recorded_at, p.tracker_id) > (input.recorded_at, input.tracker_id)
    ORDER BY p.recorded_at, p.tracker_id LIMIT 1
) AS after ON true
ORDER BY input.ord
""").bindparams(bindparam("keys"))

_STORED = {latest: Verdict(verdict="stored", latest=latest) for latest in (True, False)}


class Positions:
    """The fixes of all vessels."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def record(self, arrivals: Sequence[Arrival]) -> list[Verdict]:
        """Store fixes, move latest positions forward, and return a verdict for each, in order.

        A fix that its tracker has already sent for the same time is a duplicate: the first one stays.
        """
        rows = self._connection.execute(_RECORD, {"fixes": fixes_as_json(arrivals)}).all()
        unseen = any(not stored and differs is None for _, stored, _, differs in rows)
        again = self.record(arrivals) if unseen else []
        return [
            _STORED[latest]
            if stored
            else again[place]
            if differs is None
            else Verdict(verdict="duplicate", latest=latest, differs=differs)
            for place, stored, latest, differs in rows
        ]

    def lock_vessels(self, vessel_ids: Iterable[int]) -> None:
        """Let nobody else store fixes of these vessels before this transaction ends."""
        self._connection.execute(
            _LOCK_VESSELS, {"vessels_lock": VESSELS_LOCK, "ids": sorted(set(vessel_ids))}
        )

    def around(self, arrivals: Sequence[Arrival]) -> list[Surroundings]:
        """Return what is known around each fix, in order."""
        keys = [
            {
                "ord": i,
                "vessel_id": arrival.vessel_id,
                "tracker_id": arrival.tracker_id,
                "recorded_at": arrival.fix.recorded_at,
            }
            for i, arrival in enumerate(arrivals)
        ]
        rows = self._connection.execute(_AROUND, {"keys": orjson.dumps(keys).decode()})
        return [
            Surroundings(
                is_stored,
                held_for,
                max_speed_kn,
                None if neighbours[0] is None else Neighbour(*neighbours[:5]),
                None if neighbours[5] is None else Neighbour(*neighbours[5:]),
            )
            for is_stored, held_for, max_speed_kn, *neighbours in rows
        ]


def fixes_as_json(arrivals: Sequence[Arrival]) -> str:
    """Return fixes as the JSON that the statements here take, each with its place as ``ord``."""
    rows = [row_of(arrival) for arrival in arrivals]
    for place, row in enumerate(rows):
        row["ord"] = place
    return orjson.dumps(rows).decode()
