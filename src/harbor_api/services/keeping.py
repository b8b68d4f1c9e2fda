"""What an operator says of how long positions of a vessel are kept, and legal holds.

A change waits for whoever deletes just now, for a step of theirs, and from its commit on nothing goes that is
to be kept.
"""

from collections.abc import Container
from dataclasses import asdict
from typing import Any

from harbor_api.database import UnitOfWork
from harbor_api.domain import values
from harbor_api.domain.audit import Actor
from harbor_api.domain.changes import Edit, demand
from harbor_api.domain.keeping import RULES, Keeping, KeepingTerms
from harbor_api.services.audit import Trail


def change(
    unit_of_work: UnitOfWork,
    vessel_id: int,
    edit: Edit[KeepingTerms],
    *,
    versions: Container[int] | None,
    actor: Actor,
) -> Keeping:
    """Change what is said of a vessel; who gives a reason for a hold where there was none puts her under it.

    PreconditionFailed unless its version is one of ``versions`` (None: whatever it is); NotFound,
    ValidationFailed.
    """
    before = unit_of_work.keeping.lock(vessel_id)
    demand(before.version, versions)
    terms = edit.of(before.terms)
    values.demand(RULES, asdict(terms), told="What is said of the vessel is not valid")
    if terms == before.terms:
        return before
    is_held = terms.hold_reason is not None
    after = unit_of_work.keeping.put(
        Keeping(
            vessel_id=vessel_id,
            terms=terms,
            held_by=(before.held_by or actor.name) if is_held else None,
            held_since=before.held_since if is_held else None,
        )
    )
    what = "keeping_changed"
    if after.is_held != before.is_held:
        what = "held" if after.is_held else "hold_lifted"
    _trail.note(unit_of_work, actor, what, after, before=before)
    return after


def _subject(keeping: Keeping) -> str:
    return f"vessels/{keeping.vessel_id}"


def _state(keeping: Keeping) -> dict[str, Any]:
    return {**asdict(keeping.terms), "held_by": keeping.held_by, "held_since": keeping.held_since}


_trail = Trail("vessel", _subject, _state)
