"""What an operator decides about a fix in quarantine."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from harbor_api.domain.entities import Actor, HeldFix
from harbor_api.domain.errors import Conflict
from harbor_api.services import audit

if TYPE_CHECKING:
    from harbor_api.database import UnitOfWork


def release(unit_of_work: "UnitOfWork", held_id: int, *, now: datetime, actor: Actor) -> HeldFix:
    """Let a fix enter history in its place, and become the latest only if it is the newest.

    One that is released stays as it is; Conflict for one that is rejected.
    """
    before = unit_of_work.quarantine.lock(held_id)
    if before.state == "released":
        return before
    if before.state == "rejected":
        raise Conflict("The fix is rejected")
    arrival = before.arrival
    unit_of_work.positions.admit([arrival.vessel_id], [])
    around = unit_of_work.positions.around([arrival])[arrival.vessel_id]
    # Another may have come in since with the same time and tracker: the first one stays.
    if arrival.key not in {each.key for each in around.stored}:
        unit_of_work.run_last(unit_of_work.positions.addition([arrival]))
    after = unit_of_work.quarantine.decide(held_id, "released", at=now)
    audit.note(
        unit_of_work,
        actor,
        "quarantine.released",
        _subject(after),
        before=_state(before),
        after=_state(after),
    )
    return after


def reject(unit_of_work: "UnitOfWork", held_id: int, *, now: datetime, actor: Actor) -> HeldFix:
    """Keep a fix off the map for good; it stays in quarantine for as long as that is kept.

    One that is rejected stays as it is; Conflict for one that is released.
    """
    before = unit_of_work.quarantine.lock(held_id)
    if before.state == "rejected":
        return before
    if before.state == "released":
        raise Conflict("The fix is released")
    after = unit_of_work.quarantine.decide(held_id, "rejected", at=now)
    audit.note(
        unit_of_work,
        actor,
        "quarantine.rejected",
        _subject(after),
        before=_state(before),
        after=_state(after),
    )
    return after


def _subject(held: HeldFix) -> str:
    return f"quarantine/{held.id}"


def _state(held: HeldFix) -> dict[str, Any]:
    return {"state": held.state, "decided_at": held.decided_at}
