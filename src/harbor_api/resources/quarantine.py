"""Fixes that could not be believed, for operators to decide about."""

from datetime import UTC, datetime
from typing import Any

from flask.views import MethodView

from harbor_api.domain import errors
from harbor_api.domain.positions import HeldFix
from harbor_api.domain.trackers import tracker_id
from harbor_api.schemas.quarantine import (
    HeldFixPageSchema,
    HeldFixSchema,
    QuarantineQuery,
    QuarantineQuerySchema,
)
from harbor_api.services import quarantine
from harbor_api.web import auth, paging
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
    @blueprint.arguments(QuarantineQuerySchema, location="query")
    @blueprint.response(200, HeldFixPageSchema, headers=("Link",), description="A page of the quarantine.")
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
    @auth.requires_key("quarantine:write")
    @blueprint.response(200, HeldFixSchema, description="Released.")
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="releaseFix")
    def post(self, held_id: int) -> dict[str, Any]:
        """Release a fix.

        The fix enters the vessel's history in its place, and is the latest position only if it is the newest.
        """
        with current().database.unit_of_work() as unit_of_work:
            return _members(quarantine.release(unit_of_work, held_id, now=datetime.now(UTC), actor=actor()))


@blueprint.route("/<identifier:held_id>/reject", parameters=[_HELD_ID])
class QuarantineRejection(MethodView):
    @auth.requires_key("quarantine:write")
    @blueprint.response(200, HeldFixSchema, description="Rejected.")
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="rejectFix")
    def post(self, held_id: int) -> dict[str, Any]:
        """Reject a fix.

        It never comes on the map. Sent again, it gets the same verdict as before.
        """
        with current().database.unit_of_work() as unit_of_work:
            return _members(quarantine.reject(unit_of_work, held_id, now=datetime.now(UTC), actor=actor()))


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
        "lat": received.fix.motion.lat,
        "lon": received.fix.motion.lon,
        "raw": received.raw,
    }
