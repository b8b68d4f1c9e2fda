"""Fixes that could not be believed, for operators to decide about."""

from datetime import UTC, datetime
from typing import Any, Literal

from flask.views import MethodView

from harbor_api.domain import errors
from harbor_api.domain.positions import HeldFix
from harbor_api.domain.quarantine import Decided, Withdrawal
from harbor_api.domain.trackers import tracker_id
from harbor_api.schemas.quarantine import (
    DecidedSchema,
    DecisionOnMany,
    HeldFixPageSchema,
    HeldFixSchema,
    QuarantineQuery,
    QuarantineQuerySchema,
    SelectionSchema,
    WithdrawalSchema,
    WithdrawnFixSchema,
)
from harbor_api.services import quarantine
from harbor_api.web import auth, paging, preconditions
from harbor_api.web.blueprint import Answer, Blueprint
from harbor_api.web.runtime import actor, current

blueprint = Blueprint(
    "quarantine",
    __name__,
    description="Fixes that could not be believed: neither lost nor on the map.",
    url_prefix="/api/v1/quarantine",
)
_HELD_ID = {"in": "path", "name": "held_id", "description": "The held fix's `id`."}


@blueprint.route("")
class Quarantine(MethodView):
    @auth.requires_key("quarantine:read")
    @preconditions.revalidated
    @blueprint.arguments(QuarantineQuerySchema, location="query")
    @blueprint.response(
        200, HeldFixPageSchema, headers=("ETag", "Link"), description="A page of the quarantine."
    )
    @blueprint.doc(operationId="listQuarantine")
    def get(self, query: QuarantineQuery) -> Answer:
        """List the quarantine.

        In the order in which the fixes came, those that are decided included.
        """
        with current().database.autocommit() as unit_of_work:
            found = unit_of_work.quarantine.search(
                after=query.after or 0,
                limit=query.to_read,
                vessel_id=query.vessel_id,
                reason=query.reason,
                state=query.state,
            )
        return paging.answer(query, "quarantine", found, show=_members, number=lambda each: each.id)


@blueprint.route("/<identifier:held_id>/release", parameters=[_HELD_ID])
class QuarantineRelease(MethodView):
    @auth.requires_key("quarantine:write", told="quarantine:read")
    @blueprint.response(200, HeldFixSchema, description="Released.")
    @blueprint.raises(errors.NotFound, errors.Conflict, errors.StillInTheFuture)
    @blueprint.doc(operationId="releaseFix")
    def post(self, held_id: int) -> dict[str, Any]:
        """Release a fix.

        The fix enters the vessel's history in its place, and is the latest position only if it is the newest.
        One that was withdrawn may be released again. One that is from the future by more than the tolerance
        may not be released yet.
        """
        tolerance = current().intake.thresholds.future_tolerance
        with current().database.unit_of_work() as unit_of_work:
            held = quarantine.release(
                unit_of_work, held_id, now=datetime.now(UTC), tolerance=tolerance, actor=actor()
            )
        return _members(held)


@blueprint.route("/<identifier:held_id>/reject", parameters=[_HELD_ID])
class QuarantineRejection(MethodView):
    @auth.requires_key("quarantine:write", told="quarantine:read")
    @blueprint.response(200, HeldFixSchema, description="Rejected.")
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="rejectFix")
    def post(self, held_id: int) -> dict[str, Any]:
        """Reject a fix.

        It never comes on the map. Sent again, it gets the same verdict as before.
        """
        with current().database.unit_of_work() as unit_of_work:
            return _members(quarantine.reject(unit_of_work, held_id, now=datetime.now(UTC), actor=actor()))


@blueprint.route("/withdraw")
class QuarantineWithdrawal(MethodView):
    @auth.requires_key("quarantine:write")
    @blueprint.arguments(WithdrawalSchema)
    @blueprint.response(200, WithdrawnFixSchema, description="Withdrawn.")
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="withdrawFix")
    def post(self, withdrawal: Withdrawal) -> dict[str, Any]:
        """Withdraw a stored fix.

        For a fix that is in the history and was wrong, whether it was released or believed at once. History
        and fleet are as if it had never come: the latest position moves back to the newest fix that is left,
        and a vessel without any was never seen. Jumps that were held because of it are judged once more. The
        fix is kept in quarantine as `withdrawn`, and may be released again. Sent again by its tracker it is
        `quarantined` and stays withdrawn. May be repeated.
        """
        with current().database.unit_of_work() as unit_of_work:
            withdrawn = quarantine.withdraw(
                unit_of_work,
                withdrawal,
                now=datetime.now(UTC),
                thresholds=current().intake.thresholds,
                actor=actor(),
            )
        return _members(withdrawn)


@blueprint.route("/release")
class QuarantineReleases(MethodView):
    @auth.requires_key("quarantine:write")
    @blueprint.arguments(SelectionSchema)
    @blueprint.response(200, DecidedSchema, description="How many were released.")
    @blueprint.doc(operationId="releaseFixes")
    def post(self, asked: DecisionOnMany) -> Decided:
        """Release many fixes.

        Those of a selection that nobody has decided on, a few hundred at once, the earliest first. May be
        repeated until none is left. `dry_run` only counts them. Those that are from the future stay held.
        """
        return _decide_all(asked, "released")


@blueprint.route("/reject")
class QuarantineRejections(MethodView):
    @auth.requires_key("quarantine:write")
    @blueprint.arguments(SelectionSchema)
    @blueprint.response(200, DecidedSchema, description="How many were rejected.")
    @blueprint.doc(operationId="rejectFixes")
    def post(self, asked: DecisionOnMany) -> Decided:
        """Reject many fixes.

        Those of a selection that nobody has decided on, a few hundred at once, the earliest first. May be
        repeated until none is left. `dry_run` only counts them.
        """
        return _decide_all(asked, "rejected")


def _decide_all(asked: DecisionOnMany, state: Literal["released", "rejected"]) -> Decided:
    with current().database.unit_of_work() as unit_of_work:
        return quarantine.decide_all(
            unit_of_work,
            asked.selection,
            state,
            now=datetime.now(UTC),
            tolerance=current().intake.thresholds.future_tolerance,
            actor=actor(),
            is_rehearsal=asked.dry_run,
        )


def _members(held: HeldFix) -> dict[str, Any]:
    received = held.received
    return {
        "id": held.id,
        "vessel_id": received.vessel_id,
        "tracker_id": tracker_id(received.tracker_id),
        "reason": held.reason,
        "state": held.state,
        "recorded_at": received.fix.recorded_at,
        "received_at": received.received_at,
        "decided_at": held.decided_at,
        "decided_by": held.decided_by,
        "note": held.note,
        "lat": received.fix.motion.lat,
        "lon": received.fix.motion.lon,
        "raw": received.raw,
    }
