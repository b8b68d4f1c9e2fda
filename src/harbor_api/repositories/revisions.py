"""History decided anew: what was stored is taken back into quarantine, and what was held enters history."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection

from harbor_api.domain.judgement import IMPOSSIBLE_JUMP, JUDGEMENT, NEAREST, OUTVOTED
from harbor_api.domain.months import Month
from harbor_api.domain.positions import FixKey, NamedFix, Neighbour, Vicinity
from harbor_api.postgres import statements
from harbor_api.postgres.rows import MOTION, MOVED, move_forward
from harbor_api.postgres.statements import Statement
from harbor_api.postgres.tables import TAKE_ORDER

_MOTION = ", ".join(MOTION)

# Of each moment what is stored and held on each side, in four short walks; of what is stored whether an
# operator has released it.
_ABOUT = f"""
SELECT place, near.*
FROM json_to_recordset(%(moments)s) AS moment (place integer, vessel_id integer, at timestamptz, by integer)
CROSS JOIN LATERAL (
    SELECT true AS is_stored, stored.*, EXISTS (
        SELECT FROM quarantine AS q
        WHERE q.vessel_id = moment.vessel_id AND q.recorded_at = stored.recorded_at
            AND q.tracker_id = stored.tracker_id AND q.state = 'released'
            AND q.decided_by IS DISTINCT FROM '{JUDGEMENT}'
        LIMIT 1
    ) AS is_kept
    FROM (
        (
            SELECT p.recorded_at, p.lat, p.lon, p.accuracy_m, p.tracker_id
            FROM positions AS p
            WHERE p.vessel_id = moment.vessel_id AND (p.recorded_at, p.tracker_id) < (at, by)
            ORDER BY p.recorded_at DESC, p.tracker_id DESC
            LIMIT %(most_stored)s
        ) UNION ALL (
            SELECT p.recorded_at, p.lat, p.lon, p.accuracy_m, p.tracker_id
            FROM positions AS p
            WHERE p.vessel_id = moment.vessel_id AND (p.recorded_at, p.tracker_id) >= (at, by)
            ORDER BY p.recorded_at, p.tracker_id
            LIMIT %(most_stored)s
        )
    ) AS stored
    UNION ALL
    SELECT false, held.recorded_at, (held.fix ->> 'lat')::float8, (held.fix ->> 'lon')::float8,
        (held.fix ->> 'accuracy_m')::float8, held.tracker_id, false
    FROM (
        (
            SELECT q.recorded_at, q.tracker_id, q.fix
            FROM quarantine AS q
            WHERE q.reason IN ('{IMPOSSIBLE_JUMP}', '{OUTVOTED}') AND q.state = 'held'
                AND q.vessel_id = moment.vessel_id AND (q.recorded_at, q.tracker_id) < (at, by)
            ORDER BY q.recorded_at DESC, q.tracker_id DESC
            LIMIT %(most_held)s
        ) UNION ALL (
            SELECT q.recorded_at, q.tracker_id, q.fix
            FROM quarantine AS q
            WHERE q.reason IN ('{IMPOSSIBLE_JUMP}', '{OUTVOTED}') AND q.state = 'held'
                AND q.vessel_id = moment.vessel_id AND (q.recorded_at, q.tracker_id) >= (at, by)
            ORDER BY q.recorded_at, q.tracker_id
            LIMIT %(most_held)s
        )
    ) AS held
) AS near
""".encode()  # noqa: S608 - constants of ours are put in, none from a caller

# As with fixes that are added, the lock of the order is taken before the first number is drawn, and held to
# the commit.
_INPUT = """input AS MATERIALIZED (
    SELECT vessel_id, recorded_at, tracker_id
    FROM json_to_recordset(%(names)s)
        AS named (vessel_id integer, recorded_at timestamptz, tracker_id integer)
)"""
_TURN = f"""{_INPUT}, turn AS MATERIALIZED (
    SELECT {TAKE_ORDER} FROM (SELECT count(*) FROM input) AS parsed
)"""  # noqa: S608 - constants of ours are put in


def _named(table: str, *, first: str = "turn, ", condition: str = "") -> str:
    """Return the condition by which rows of a table are those of the input, each found by one probe.

    A ``condition`` stands inside, as beside this one it would be what another index is looked through for.
    Of several partitions each has rows at the same places: there it holds for those of one month alone.
    """
    return f"""ctid = ANY (ARRAY(
        SELECT found.ctid
        FROM {first}input CROSS JOIN LATERAL (
            SELECT t.*, t.ctid FROM {table} AS t
            WHERE t.vessel_id = input.vessel_id AND t.recorded_at = input.recorded_at
                AND t.tracker_id = input.tracker_id
            LIMIT 1
        ) AS found
        {condition}
    ))"""  # noqa: S608 - names of ours are put in


# One that was held before keeps its reason, and what the tracker sent.
_TAKE_BACK = f"""
WITH {_TURN}, gone AS (
    DELETE FROM positions
    WHERE recorded_at >= %(month)s AND recorded_at < %(next_month)s AND {_named("positions")}
    RETURNING vessel_id, recorded_at, tracker_id, received_at, {_MOTION}
), kept AS (
    INSERT INTO quarantine AS q
        (vessel_id, recorded_at, tracker_id, received_at, reason, fix, state, decided_at, decided_by, note)
    SELECT vessel_id, recorded_at, tracker_id, received_at, %(reason)s,
        jsonb_strip_nulls(jsonb_build_object({", ".join(f"'{name}', {name}" for name in MOTION)})),
        %(state)s, %(decided_at)s, %(decided_by)s, %(note)s
    FROM gone
    ORDER BY vessel_id, recorded_at, tracker_id
    ON CONFLICT (vessel_id, recorded_at, tracker_id) DO UPDATE SET
        (state, decided_at, decided_by, note) =
        (excluded.state, excluded.decided_at, excluded.decided_by, excluded.note)
)
INSERT INTO withdrawals (seq, vessel_id, recorded_at, tracker_id, withdrawn_at)
SELECT nextval('fleet_order'), vessel_id, recorded_at, tracker_id, %(at)s FROM gone
""".encode()  # noqa: S608 - only names of columns are put in, none from a caller

# Only those are rewritten whose latest position is not stored any more. It takes a number of its own, so that
# who has read the fleet up to one finds it beyond that.
_MOVE_BACK = f"""
WITH input AS MATERIALIZED (
    SELECT asked.vessel_id, newest.*
    FROM unnest(%(vessel_ids)s::integer[]) AS asked (vessel_id)
    CROSS JOIN LATERAL (
        SELECT l.recorded_at AS shown_at, l.tracker_id AS shown_tracker
        FROM latest_positions AS l WHERE l.vessel_id = asked.vessel_id LIMIT 1
    ) AS shown
    LEFT JOIN LATERAL (
        SELECT p.recorded_at, p.tracker_id, p.received_at, {", ".join(f"p.{name}" for name in MOTION)}
        FROM positions AS p WHERE p.vessel_id = asked.vessel_id
        ORDER BY p.recorded_at DESC, p.tracker_id DESC
        LIMIT 1
    ) AS newest ON true
    WHERE (newest.recorded_at, newest.tracker_id) IS DISTINCT FROM (shown_at, shown_tracker)
), silent AS (
    DELETE FROM latest_positions
    WHERE vessel_id = ANY (ARRAY(SELECT vessel_id FROM input WHERE recorded_at IS NULL))
)
INSERT INTO latest_positions AS latest (vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, seq)
SELECT vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, nextval('fleet_order')
FROM input WHERE recorded_at IS NOT NULL
ON CONFLICT (vessel_id) DO UPDATE SET
    (recorded_at, tracker_id, received_at, {_MOTION}, seq) =
    (excluded.recorded_at, excluded.tracker_id, excluded.received_at,
        {", ".join(f"excluded.{name}" for name in MOTION)}, excluded.seq)
""".encode()  # noqa: S608 - only names of columns are put in, none from a caller

_MOVE = move_forward(f"""
SELECT DISTINCT ON (vessel_id) {MOVED} FROM stored
ORDER BY vessel_id, recorded_at DESC, tracker_id DESC""")  # noqa: S608 - only names of columns are put in

_RELEASE = f"""
WITH {_TURN}, decided AS (
    UPDATE quarantine SET state = 'released', decided_at = %(at)s, decided_by = %(decided_by)s, note = NULL
    WHERE {_named("quarantine", condition="WHERE found.state = ANY (%(states)s::text[])")}
    RETURNING vessel_id, recorded_at, tracker_id, received_at, fix
), stored AS (
    INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, late, seq, released_at)
    SELECT vessel_id, recorded_at, tracker_id, received_at, {_MOTION},
        (
            SELECT true FROM latest_positions AS l
            WHERE l.vessel_id = decided.vessel_id
                AND (l.recorded_at, l.tracker_id) > (decided.recorded_at, decided.tracker_id)
            LIMIT 1
        ),
        nextval('fleet_order'), %(at)s
    FROM decided, jsonb_to_record(fix) AS measure (
        lat float8, lon float8, sog real, cog real, heading real, nav_status smallint, accuracy_m real,
        battery_v real)
    ON CONFLICT (vessel_id, recorded_at, tracker_id) DO NOTHING
    RETURNING vessel_id, recorded_at, tracker_id, received_at, {_MOTION}, seq
)
{_MOVE}""".encode()  # noqa: S608 - only names of columns are put in, none from a caller
_REJECT = f"""
WITH {_INPUT}
UPDATE quarantine SET state = 'rejected', decided_at = %(at)s, decided_by = %(decided_by)s
WHERE {_named("quarantine", first="", condition="WHERE found.state = 'held'")}
""".encode()  # noqa: S608 - names of ours are put in


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of fixes that are taken back: why, in which state, and who says so."""

    reason: str
    state: str
    decided_by: str | None = None
    note: str | None = None


OUTVOTED_BY_OTHERS = Decision(reason=OUTVOTED, state="held")


class Revisions:
    """What was decided of fixes, changed later. Whoever does it holds the locks of their vessels."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def about(self, names: Sequence[NamedFix], *, stored: int) -> list[Vicinity]:
        """Return what is stored and held about each of some fixes, be they stored or not.

        Of what is ``stored`` so many on each side, the fix itself among the later ones; of jumps that nobody
        has decided on the ``NEAREST``.
        """
        asked = [
            {"place": place, "vessel_id": vessel_id, "at": at, "by": tracker_id}
            for place, (vessel_id, at, tracker_id) in enumerate(names)
        ]
        values = {"moments": orjson.dumps(asked).decode(), "most_stored": stored, "most_held": NEAREST}
        found = [_Found((at, tracker_id), stored) for _, at, tracker_id in names]
        for place, *near in statements.rows(self._connection, Statement(_ABOUT, values)):
            found[place].note(*near)
        return [each.vicinity() for each in found]

    def taking_back(self, names: Iterable[NamedFix], decision: Decision, *, at: datetime) -> list[Statement]:
        """Return what takes stored fixes out of history into quarantine, and moves latest positions back.

        Each is a withdrawal in the committed order, whose lock is held from then on.
        """
        fixes = sorted(names)
        values = {
            "at": at,
            "reason": decision.reason,
            "state": decision.state,
            "decided_at": None if decision.state == "held" else at,
            "decided_by": decision.decided_by,
            "note": decision.note,
        }
        by_month: dict[Month, list[NamedFix]] = {}
        for each in fixes:
            by_month.setdefault(Month.of(each.recorded_at), []).append(each)
        taken = [
            Statement(
                _TAKE_BACK,
                {**values, "names": _as_json(some), "month": month.begin, "next_month": month.end},
            )
            for month, some in sorted(by_month.items())
        ]
        vessel_ids = sorted({vessel_id for vessel_id, _, _ in fixes})
        return [*taken, self.moving_back(vessel_ids)]

    def moving_back(self, vessel_ids: Sequence[int]) -> Statement:
        """Return what moves latest positions that are not stored any more back to the newest that is.

        Whoever runs it holds the lock of the order.
        """
        return Statement(_MOVE_BACK, {"vessel_ids": vessel_ids})

    def releasing(
        self, names: Iterable[NamedFix], *, by: str, at: datetime, withdrawn: bool = False
    ) -> Statement:
        """Return what lets fixes enter history from quarantine, and moves latest positions forward.

        Only of those that are held, or that were ``withdrawn``.
        """
        states = ["held", "withdrawn"] if withdrawn else ["held"]
        values = {"names": _as_json(sorted(names)), "decided_by": by, "at": at, "states": states}
        return Statement(_RELEASE, values)

    def reject(self, names: Iterable[NamedFix], *, by: str, at: datetime) -> None:
        """Keep fixes that are held off the map for good."""
        values = {"names": _as_json(sorted(names)), "decided_by": by, "at": at}
        statements.run(self._connection, Statement(_REJECT, values))


@dataclass(slots=True)
class _Found:
    """What is found about one moment, row by row."""

    key: FixKey
    most: int
    stored: list[Neighbour] = field(default_factory=list)
    held: list[Neighbour] = field(default_factory=list)
    kept: set[FixKey] = field(default_factory=set)

    def note(self, is_stored: bool, *near: Any) -> None:
        *measures, is_kept = near
        one = Neighbour(*measures)
        (self.stored if is_stored else self.held).append(one)
        if is_kept:
            self.kept.add(one.key)

    def vicinity(self) -> Vicinity:
        stored = sorted(self.stored, key=lambda one: one.key)
        earlier = sum(one.key < self.key for one in stored)
        later = len(stored) - earlier
        return Vicinity(
            stored,
            sorted(self.held, key=lambda one: one.key),
            self.kept,
            stored[0].key if earlier == self.most else None,
            stored[-1].key if later == self.most else None,
        )


def _as_json(names: Iterable[NamedFix]) -> str:
    rows = [
        {"vessel_id": vessel_id, "recorded_at": recorded_at, "tracker_id": tracker_id}
        for vessel_id, recorded_at, tracker_id in names
    ]
    return orjson.dumps(rows).decode()
