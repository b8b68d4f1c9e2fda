"""Fixes that could not be believed: kept with the reason and as they were sent, until somebody decides."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

import orjson
from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    Row,
    Text,
    bindparam,
    delete,
    null,
    or_,
    select,
    text,
    update,
)

from harbor_api.entities import Arrival, Fix, HeldFix, Motion, Neighbour
from harbor_api.errors import NotFound
from harbor_api.rows import MOTION, measures_of
from harbor_api.tables import quarantine

_HOLD = text("""
INSERT INTO quarantine (vessel_id, recorded_at, tracker_id, received_at, reason, fix, raw)
SELECT vessel_id, recorded_at, tracker_id, received_at, reason, fix, raw
FROM json_to_recordset(:held) AS held (
    vessel_id integer, recorded_at timestamptz, tracker_id integer, received_at timestamptz, reason text,
    fix jsonb, raw jsonb)
ORDER BY vessel_id, recorded_at, tracker_id
ON CONFLICT (vessel_id, recorded_at, tracker_id) DO NOTHING
""")
_LOCK = select(quarantine).where(quarantine.c.id == bindparam("held_id")).with_for_update()
_DECIDE = (
    update(quarantine)
    .where(quarantine.c.id == bindparam("held_id"))
    .values(state=bindparam("new_state"), decided_at=bindparam("at"))
    .returning(quarantine)
)


def _optional(name: str, type_: Any) -> Any:
    """Return a condition that holds for every row where its parameter is null."""
    wanted = bindparam(name, type_=type_)
    return or_(wanted.is_(null()), quarantine.c[name] == wanted)


_PAGE = (
    select(quarantine)
    .where(
        quarantine.c.id > bindparam("after", type_=BigInteger),
        _optional("vessel_id", Integer),
        _optional("reason", Text),
        _optional("state", Text),
    )
    .order_by(quarantine.c.id)
    .limit(bindparam("limit"))
)
_JUMPS = select(quarantine.c.recorded_at, quarantine.c.tracker_id, quarantine.c.fix).where(
    quarantine.c.vessel_id == bindparam("vessel_id"),
    quarantine.c.recorded_at.between(bindparam("since"), bindparam("until")),
    quarantine.c.reason == bindparam("reason"),
    quarantine.c.state == "held",
)
_PRUNE = delete(quarantine).where(quarantine.c.received_at < bindparam("before"))


class Quarantine:
    """The fixes that are or were held back."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def hold(self, held: Iterable[tuple[Arrival, str]]) -> None:
        """Hold fixes back, each with its reason; one that is held already stays as it is."""
        rows = [
            {
                "vessel_id": arrival.vessel_id,
                "recorded_at": arrival.fix.recorded_at,
                "tracker_id": arrival.tracker_id,
                "received_at": arrival.received_at,
                "reason": reason,
                "fix": measures_of(arrival.fix.motion),
                "raw": arrival.raw,
            }
            for arrival, reason in held
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
        values = {"after": after, "limit": limit, "vessel_id": vessel_id, "reason": reason, "state": state}
        return [_held(row) for row in self._connection.execute(_PAGE, values)]

    def lock(self, held_id: int) -> HeldFix:
        """Return a held fix that nobody else decides on before this transaction ends; NotFound otherwise."""
        row = self._connection.execute(_LOCK, {"held_id": held_id}).one_or_none()
        if row is None:
            raise NotFound(f"There is no fix {held_id} in quarantine")
        return _held(row)

    def decide(self, held_id: int, state: Literal["released", "rejected"], *, at: datetime) -> HeldFix:
        """Note what has been decided of a fix that is locked."""
        return _held(
            self._connection.execute(_DECIDE, {"held_id": held_id, "new_state": state, "at": at}).one()
        )

    def between(self, vessel_id: int, since: datetime, until: datetime, *, reason: str) -> list[Neighbour]:
        """Return a vessel's fixes of a span that are held for one reason and undecided."""
        rows = self._connection.execute(
            _JUMPS, {"vessel_id": vessel_id, "since": since, "until": until, "reason": reason}
        )
        return [
            Neighbour(
                row.recorded_at, row.fix["lat"], row.fix["lon"], row.fix.get("accuracy_m"), row.tracker_id
            )
            for row in rows
        ]

    def prune(self, before: datetime) -> int:
        """Delete what came before a moment, decided or not, and return how many fixes that were."""
        return self._connection.execute(_PRUNE, {"before": before}).rowcount


def _held(row: Row[Any]) -> HeldFix:
    return HeldFix(
        id=row.id,
        arrival=Arrival(
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
    )
