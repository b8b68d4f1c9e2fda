"""Fixes that could not be believed: kept with the reason and as they were sent, until somebody decides."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Connection,
    Row,
    Text,
    TextClause,
    bindparam,
    select,
    text,
)

from harbor_api.domain.errors import NotFound
from harbor_api.domain.judgement import REASONS
from harbor_api.domain.positions import Fix, HeldFix, Motion, NamedFix, Neighbour, ReceivedFix
from harbor_api.domain.quarantine import Selection
from harbor_api.postgres import statements
from harbor_api.postgres.rows import MOTION, measures_of
from harbor_api.postgres.statements import Statement
from harbor_api.postgres.tables import quarantine

Moment = tuple[datetime | None, datetime, datetime | None]
"""A moment between the first and the last one to look at around it, None for no bound."""

_HOLD = text("""
INSERT INTO quarantine (vessel_id, recorded_at, tracker_id, received_at, reason, fix, raw)
SELECT vessel_id, recorded_at, tracker_id, received_at, reason, fix, raw
FROM json_to_recordset(:held) AS held (
    vessel_id integer, recorded_at timestamptz, tracker_id integer, received_at timestamptz, reason text,
    fix jsonb, raw jsonb)
ORDER BY vessel_id, recorded_at, tracker_id
ON CONFLICT (vessel_id, recorded_at, tracker_id) DO NOTHING
""")
_GET = select(quarantine).where(quarantine.c.id == bindparam("held_id"))
_LOCK = _GET.with_for_update()
# The trackers of a vessel that tell the very same time are few; the limit makes it a walk along the key.
_AT = (
    select(quarantine)
    .where(
        quarantine.c.vessel_id == bindparam("vessel_id"),
        quarantine.c.recorded_at == bindparam("recorded_at"),
    )
    .order_by(quarantine.c.tracker_id)
    .limit(100)
)
_PAGE = (
    select(quarantine)
    .where(quarantine.c.id > bindparam("after", type_=BigInteger))
    .order_by(quarantine.c.id)
    .limit(bindparam("limit"))
)


def _filtered(vessel: str) -> TextClause:
    """Return the statement that reads a page of some reasons and states; ``vessel`` is one more condition."""
    return text(
        f"""
WITH RECURSIVE kind (reason, state) AS (
    (SELECT reason, state FROM quarantine ORDER BY reason, state LIMIT 1)
    UNION ALL
    SELECT following.reason, following.state
    FROM kind CROSS JOIN LATERAL (
        SELECT q.reason, q.state
        FROM quarantine AS q
        WHERE (q.reason, q.state) > (kind.reason, kind.state)
        ORDER BY q.reason, q.state
        LIMIT 1
    ) AS following
), page AS MATERIALIZED (
    SELECT found.id
    FROM kind CROSS JOIN LATERAL (
        SELECT q.id
        FROM quarantine AS q
        WHERE {vessel} (q.reason, q.state, q.id) > (kind.reason, kind.state, :after)
            AND (q.reason, q.state) <= (kind.reason, kind.state)
        ORDER BY q.reason, q.state, q.id
        LIMIT :limit
    ) AS found
    WHERE (:reason IS NULL OR kind.reason = :reason) AND (:state IS NULL OR kind.state = :state)
    ORDER BY found.id
    LIMIT :limit
)
SELECT held.*
FROM page CROSS JOIN LATERAL (SELECT q.* FROM quarantine AS q WHERE q.id = page.id LIMIT 1) AS held
ORDER BY held.id
"""  # noqa: S608 - names of columns are put in, nothing from a caller
    ).bindparams(bindparam("reason", type_=Text), bindparam("state", type_=Text))


# By whether one vessel's are wanted. Of each reason and state that there is, a few dozen at most, as many are
# read as a page holds, along an index that has them in order of id: no more than that, however few match. An
# index for each choice of filters would be one more to write with every fix that is held. They are asked for
# as stretches of the index: a plan that was made when there were few may otherwise look for them among all.
_FILTERED = {False: _filtered(""), True: _filtered("q.vessel_id = :vessel_id AND")}
# Of each moment the nearest jumps before and after it, in two short walks along `quarantine_jumps_idx`. Most
# moments have none, which one look tells of all in a stretch. What the index holds is said in the text, as a
# plan for any values does not know what a parameter will be. Nothing is nested, and so nothing is taken for
# so much work that PostgreSQL would compile it first.
_NEAR = b"""
WITH stretch AS MATERIALIZED (
    SELECT place
    FROM json_to_recordset(%(stretches)s)
        AS asked (place integer, vessel_id integer, since timestamptz, until timestamptz)
    CROSS JOIN LATERAL (
        SELECT q.recorded_at
        FROM quarantine AS q
        WHERE q.reason IN ('impossible_jump', 'outvoted') AND q.state = 'held'
            AND q.vessel_id = asked.vessel_id AND q.recorded_at >= since AND q.recorded_at <= until
        ORDER BY q.recorded_at, q.tracker_id
        LIMIT 1
    ) AS one
), moment AS MATERIALIZED (
    SELECT vessel_id, since, at, until
    FROM json_to_recordset(%(moments)s)
        AS asked (place integer, vessel_id integer, since timestamptz, at timestamptz, until timestamptz)
    WHERE place = ANY (ARRAY(SELECT place FROM stretch))
)
SELECT DISTINCT ON (vessel_id, near.recorded_at, near.tracker_id)
    vessel_id, near.recorded_at, (near.fix ->> 'lat')::float8, (near.fix ->> 'lon')::float8,
    (near.fix ->> 'accuracy_m')::float8, near.tracker_id
FROM moment
CROSS JOIN LATERAL (
    (
        SELECT q.recorded_at, q.tracker_id, q.fix
        FROM quarantine AS q
        WHERE q.reason IN ('impossible_jump', 'outvoted') AND q.state = 'held'
            AND q.vessel_id = moment.vessel_id AND q.recorded_at >= since AND q.recorded_at < at
        ORDER BY q.recorded_at DESC, q.tracker_id DESC
        LIMIT %(most)s
    ) UNION ALL (
        SELECT q.recorded_at, q.tracker_id, q.fix
        FROM quarantine AS q
        WHERE q.reason IN ('impossible_jump', 'outvoted') AND q.state = 'held'
            AND q.vessel_id = moment.vessel_id AND q.recorded_at >= at AND q.recorded_at <= until
        ORDER BY q.recorded_at, q.tracker_id
        LIMIT %(most)s
    )
) AS near
ORDER BY vessel_id, near.recorded_at, near.tracker_id
"""
# How many moments of a vessel are a stretch.
_TOGETHER = 32


def _open(of: str, vessels: str, stretch: str) -> bytes:
    """Return the statement that reads what is selected of those that nobody has decided on.

    They lie in one index in order of ``stretch``, its reason and its time: for each reason that is asked for,
    and each of the ``vessels`` that are named, one walk along it that begins with the first.
    """
    held = f"""
        SELECT q.vessel_id, q.recorded_at, q.tracker_id, q.id
        FROM quarantine AS q
        WHERE q.state = 'held'
            AND ({stretch.format("q")}q.reason, q.recorded_at)
                >= ({stretch.format("kind")}kind.reason, %(since)s::timestamptz)
            AND ({stretch.format("q")}q.reason, q.recorded_at)
                < ({stretch.format("kind")}kind.reason, %(until)s::timestamptz)
        ORDER BY {stretch.format("q")}q.reason, q.recorded_at, q.id
        LIMIT %(most)s"""  # noqa: S608 - names of columns are put in, nothing from a caller
    return f"""
WITH RECURSIVE {vessels}kind AS MATERIALIZED (
    SELECT * FROM unnest(%(reasons)s::text[]) AS each (reason){_KINDS[vessels]}
)
SELECT {of}
FROM (
    SELECT found.* FROM kind CROSS JOIN LATERAL ({held}
    ) AS found
    ORDER BY found.recorded_at, found.id
    LIMIT %(most)s
) AS chosen
""".encode()  # noqa: S608 - names of columns are put in, nothing from a caller


# Of the vessels that a tracker has been on only those are known that it has fixes of.
_ABOARD = """aboard (tracker_id, vessel_id) AS (
    (
        SELECT tracker_id, vessel_id FROM quarantine
        WHERE state = 'held' AND tracker_id = %(tracker_id)s
        ORDER BY tracker_id, vessel_id LIMIT 1
    ) UNION ALL (
        SELECT following.tracker_id, following.vessel_id
        FROM aboard CROSS JOIN LATERAL (
            SELECT q.tracker_id, q.vessel_id
            FROM quarantine AS q
            WHERE q.state = 'held' AND (q.tracker_id, q.vessel_id) > (aboard.tracker_id, aboard.vessel_id)
                AND q.tracker_id <= aboard.tracker_id
            ORDER BY q.tracker_id, q.vessel_id
            LIMIT 1
        ) AS following
    )
), """
_KINDS = {
    "": ", (SELECT %(vessel_id)s::integer, %(tracker_id)s::integer) AS whose (vessel_id, tracker_id)",
    _ABOARD: ", aboard",
}
_NAMES = "vessel_id, recorded_at, tracker_id"
# By whether a vessel and a tracker are named.
_SELECTED = {
    (of, *named): _open(of, _ABOARD if named == (False, True) else "", stretch)
    for of in (_NAMES, "count(*)")
    for named, stretch in {
        (False, False): "",
        (True, False): "{0}.vessel_id, ",
        (False, True): "{0}.tracker_id, {0}.vessel_id, ",
        (True, True): "{0}.tracker_id, {0}.vessel_id, ",
    }.items()
}
# What is selected is walked to in order, and the walk ends with the last one that is wanted. A plan that was
# made when there was little would rather sort what another index finds, which may come to be all.
_WALK, _AS_BEFORE = (
    f"""
    SELECT set_config('enable_sort', '{may}', true), set_config('enable_incremental_sort', '{may}', true),
        set_config('enable_bitmapscan', '{may}', true)
    """.encode()
    for may in ("off", "on")
)
# Who is about to decide on one keeps it for now.
_PRUNE = text("""
DELETE FROM quarantine WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM quarantine
    WHERE greatest(received_at, decided_at) < :before AND vessel_id <> ALL (ARRAY (
        SELECT vessel_id FROM vessel_keeping WHERE hold_reason IS NOT NULL
    ))
    ORDER BY greatest(received_at, decided_at) LIMIT :most
    FOR UPDATE SKIP LOCKED))
""")

_ERASE = text("""
DELETE FROM quarantine WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM quarantine
    WHERE vessel_id = :vessel_id AND recorded_at >= :since AND recorded_at < :until
    ORDER BY vessel_id, recorded_at, tracker_id LIMIT :most))
""")


class Quarantine:
    """The fixes that are or were held back."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def hold(self, held: Iterable[tuple[ReceivedFix, str]]) -> None:
        """Hold fixes back, each with its reason; one that is held already stays as it is."""
        rows = [
            {
                "vessel_id": received.vessel_id,
                "recorded_at": received.fix.recorded_at,
                "tracker_id": received.tracker_id,
                "received_at": received.received_at,
                "reason": reason,
                "fix": measures_of(received.fix.motion),
                "raw": received.raw,
            }
            for received, reason in held
        ]
        self._connection.execute(_HOLD, {"held": orjson.dumps(rows).decode()})

    def search(
        self,
        *,
        after: int,
        limit: int,
        vessel_id: int | None = None,
        reason: str | None = None,
        state: str | None = None,
    ) -> list[HeldFix]:
        """Return held fixes in the order in which they came, those beyond one."""
        values: dict[str, Any] = {"after": after, "limit": limit}
        if vessel_id is None and reason is None and state is None:
            return [_held(row) for row in self._connection.execute(_PAGE, values)]
        values |= {"reason": reason, "state": state}
        if vessel_id is not None:
            values["vessel_id"] = vessel_id
        return [_held(row) for row in self._connection.execute(_FILTERED[vessel_id is not None], values)]

    def lock(self, held_id: int) -> HeldFix:
        """Return a held fix that nobody else decides on before this transaction ends; NotFound otherwise."""
        row = self._connection.execute(_LOCK, {"held_id": held_id}).one_or_none()
        if row is None:
            raise NotFound(f"There is no fix {held_id} in quarantine")
        return _held(row)

    def get(self, held_id: int) -> HeldFix:
        """Return a fix that is or was held; NotFound otherwise."""
        row = self._connection.execute(_GET, {"held_id": held_id}).one_or_none()
        if row is None:
            raise NotFound(f"There is no fix {held_id} in quarantine")
        return _held(row)

    def at(self, vessel_id: int, recorded_at: datetime) -> list[HeldFix]:
        """Return the fixes of a vessel that tell one time, in order of their trackers."""
        values = {"vessel_id": vessel_id, "recorded_at": recorded_at}
        return [_held(row) for row in self._connection.execute(_AT, values)]

    def selected(self, selection: Selection, *, most: int) -> list[NamedFix]:
        """Return the fixes of a selection, in order of time: up to so many."""
        return [NamedFix(*row) for row in self._walk(_NAMES, selection, most)]

    def count(self, selection: Selection, *, most: int) -> int:
        """Return how many fixes a selection holds, counted up to so many."""
        [(count,)] = self._walk("count(*)", selection, most)
        return int(count)

    def _walk(self, of: str, selection: Selection, most: int) -> list[tuple[Any, ...]]:
        statements.rows(self._connection, Statement(_WALK, {}))
        found = statements.rows(self._connection, _selected(of, selection, most))
        statements.rows(self._connection, Statement(_AS_BEFORE, {}))
        return found

    def near(self, moments: Mapping[int, Sequence[Moment]], *, most: int) -> Mapping[int, list[Neighbour]]:
        """Return the undecided jumps that are nearest to some moments of vessels, by vessel.

        Moments are in order. The jumps are in order of time and tracker: of each moment up to ``most`` that
        are earlier, and up to ``most`` that are not. A vessel without any is left out. One statement reads
        as many for each moment and no more, whatever is held; the one before it reads nothing.
        """
        stretches: list[dict[str, Any]] = []
        asked: list[dict[str, Any]] = []
        for vessel_id, each in moments.items():
            for first in range(0, len(each), _TOGETHER):
                named = {"place": len(stretches), "vessel_id": vessel_id}
                together = [
                    {**named, "since": since or "-infinity", "at": at, "until": until or "infinity"}
                    for since, at, until in each[first : first + _TOGETHER]
                ]
                stretches.append({**named, "since": together[0]["since"], "until": together[-1]["until"]})
                asked += together
        values = {
            "stretches": orjson.dumps(stretches).decode(),
            "moments": orjson.dumps(asked).decode(),
            "most": most,
        }
        found: dict[int, list[Neighbour]] = {}
        for vessel_id, *near in statements.rows(self._connection, Statement(_NEAR, values)):
            found.setdefault(vessel_id, []).append(Neighbour(*near))
        return found

    def prune(self, before: datetime, *, most: int) -> int:
        """Delete what came and was decided on before a moment, the oldest first; return how many those were.

        What somebody else is deciding on just now is passed over, and so are vessels under a legal hold.
        """
        return self._connection.execute(_PRUNE, {"before": before, "most": most}).rowcount

    def erase(self, vessel_id: int, since: datetime, until: datetime, *, most: int) -> int:
        """Delete what was recorded of a vessel from a time up to but without another; return how many
        fixes."""
        values = {"vessel_id": vessel_id, "since": since, "until": until, "most": most}
        return self._connection.execute(_ERASE, values).rowcount


def _selected(of: str, selection: Selection, most: int) -> Statement:
    named = selection.vessel_id is not None, selection.tracker_id is not None
    values = {
        "reasons": list(REASONS) if selection.reason is None else [selection.reason],
        "vessel_id": selection.vessel_id,
        "tracker_id": selection.tracker_id,
        "since": selection.since or "-infinity",
        "until": selection.until or "infinity",
        "most": most,
    }
    return Statement(_SELECTED[(of, *named)], values)


def _held(row: Row[Any]) -> HeldFix:
    return HeldFix(
        id=row.id,
        received=ReceivedFix(
            vessel_id=row.vessel_id,
            tracker_id=row.tracker_id,
            received_at=row.received_at,
            fix=Fix(
                recorded_at=row.recorded_at,
                motion=Motion(**{name: row.fix.get(name) for name in MOTION}),
            ),
            raw=row.raw,
        ),
        reason=row.reason,
        state=row.state,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        note=row.note,
    )
