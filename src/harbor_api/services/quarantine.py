"""What an operator decides about a fix in quarantine."""

from datetime import datetime
from typing import Any

from harbor_api.database import UnitOfWork
from harbor_api.domain.audit import Actor
from harbor_api.domain.errors import Conflict
from harbor_api.domain.positions import HeldFix
from harbor_api.services.audit import Trail


def release(unit_of_work: UnitOfWork, held_id: int, *, now: datetime, actor: Actor) -> HeldFix:
    """Let a fix enter history in its place, and become the latest only if it is the newest.

    One that is released stays as it is; Conflict for one that is rejected.
    """
    before = unit_of_work.quarantine.lock(held_id)
    if before.state == "released":
        return before
    if before.state == "rejected":
        raise Conflict("The fix is rejected")
    received = before.received
    unit_of_work.positions.admit([received.vessel_id], [])
    around = unit_of_work.positions.around([received])[received.vessel_id]
    # Another may have come in since with the same time and tracker: the first one stays.
    if received.key not in {each.key for each in around.stored}:
        unit_of_work.run_last(unit_of_work.positions.addition([received]))
    after = unit_of_work.quarantine.decide(held_id, "released", at=now)
    _trail.note(unit_of_work, actor, "released", after, before=before)
    return after


def reject(unit_of_work: UnitOfWork, held_id: int, *, now: datetime, actor: Actor) -> HeldFix:
    """Keep a fix off the map for good; it stays in quarantine for as long as that is kept.

    One that is rejected stays as it is; Conflict for one that is released.
    """
    before = unit_of_work.quarantine.lock(held_id)
    if before.state == "rejected":
        return before
    if before.state == "released":
        raise Conflict("The fix is released")
    after = unit_of_work.quarantine.decide(held_id, "rejected", at=now)
    _trail.note(unit_of_work, actor, "rejected", after, before=before)
    return after


def _subject(held: HeldFix) -> str:
    return f"quarantine/{held.id}"


def _state(held: HeldFix) -> dict[str, Any]:
    return {"state": held.state, "decided_at": held.decided_at}


_trail = Trail("quarantine", _subject, _state)
