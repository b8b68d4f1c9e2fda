"""Erasing where a vessel was for a time, for good: no operator and no follower is told what it was."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.audit import Actor
from harbor_api.domain.errors import Conflict
from harbor_api.domain.keeping import EVER, demand_not_held
from harbor_api.services import audit
from harbor_api.services.maintenance import AT_ONCE_TOLD, in_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """How many fixes were erased from history, and how many from quarantine."""

    stored: int
    held: int


def erase(database: Database, vessel_id: int, since: datetime, until: datetime, *, actor: Actor) -> Erased:
    """Delete all fixes of a vessel that were recorded from a time up to but without another.

    Followers are told that each is gone, as with one that is withdrawn; the latest position moves back to the
    newest that is left. That it is done is in the audit trail before the first is gone; ended in between, the
    same again goes on. NotFound where there is no such vessel, Conflict where the times are out of order, or
    she is under a legal hold; where she comes under it meanwhile, what is left stays.
    """
    if since >= until:
        raise Conflict("The end is not later than the beginning")
    with database.unit_of_work() as unit_of_work:
        _demand_erasable(unit_of_work, vessel_id)
        unit_of_work.vessels.lock(vessel_id)
        span = {"since": since, "until": until}
        audit.note(unit_of_work, actor, "vessel.positions_erased", f"vessels/{vessel_id}", after=span)
        spans = [*_spans(unit_of_work, since, until)]

    def erase_stored(unit_of_work: UnitOfWork, most: int, *, begin: datetime, end: datetime) -> int:
        _demand_erasable(unit_of_work, vessel_id)
        # Nobody stores fixes of hers meanwhile.
        unit_of_work.positions.admit([vessel_id], [])
        names = unit_of_work.partitions.of_vessel(vessel_id, begin, end, most=most)
        if not names:
            return 0
        erased = unit_of_work.partitions.erase(names, begin, end)
        unit_of_work.run_last(unit_of_work.revisions.moving_back([vessel_id]))
        return erased

    def erase_held(unit_of_work: UnitOfWork, most: int) -> int:
        _demand_erasable(unit_of_work, vessel_id)
        return unit_of_work.quarantine.erase(vessel_id, since, until, most=most)

    stored = sum(
        in_steps(database, partial(erase_stored, begin=begin, end=end), most=AT_ONCE_TOLD)
        for begin, end in spans
    )
    return Erased(stored=stored, held=in_steps(database, erase_held))


def _demand_erasable(unit_of_work: UnitOfWork, vessel_id: int) -> None:
    """Raise Conflict where a vessel is under a legal hold; she comes under none before the transaction
    ends."""
    unit_of_work.keeping.share()
    demand_not_held(unit_of_work.keeping.find(vessel_id))


def _spans(unit_of_work: UnitOfWork, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the parts of a time that lie in one partition each."""
    for each in unit_of_work.partitions.all():
        if each.until is not None:
            begin, end = max(since, each.since or EVER), min(until, each.until)
            if begin < end:
                yield begin, end
