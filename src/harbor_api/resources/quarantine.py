"""Fixes that could not be believed, for operators to decide about."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask.views import MethodView

from harbor_api.domain import errors
from harbor_api.domain.entities import HeldFix, tracker_id
from harbor_api.schemas.quarantine import HeldFixPageSchema, HeldFixSchema, QuarantineQuerySchema
from harbor_api.services import quarantine
from harbor_api.web import auth, paging, rate_limits
from harbor_api.web.blueprint import Blueprint, actor, database

blueprint = Blueprint(
    "quarantine",
    __name__,
    description="Fixes that could not be believed: neither lost nor on the map.",
    url_prefix="/api/v1/quarantine",
)
_HELD_ID = {"in": "path", "name": "held_id", "description": "The held fix's `id`.", "example": 1}


@blueprint.route("")
class Quarantine(MethodView):
    @auth.requires_key("quarantine:read")
    @rate_limits.by_key
    @blueprint.arguments(QuarantineQuerySchema, location="query")
    @blueprint.response(200, HeldFixPageSchema, headers=("Link",), description="A page of the quarantine.")
    @blueprint.doc(operationId="listQuarantine")
    def get(self, query: Mapping[str, Any]) -> tuple[dict[str, Any], int, Mapping[str, str]]:
        """List the quarantine.

        In the order in which the fixes came, those that are decided included.
        """
        page = paging.read(query)
        with database().statement() as unit_of_work:
            found = unit_of_work.quarantine.search(
                after=page.after or 0,
                limit=page.to_read,
                vessel_id=query.get("vessel_id"),
                reason=query.get("reason"),
                state=query.get("state"),
            )
        return page.answer("quarantine", found, [_members(each) for each in found], lambda each: each.id)


@blueprint.route("/<identifier:held_id>/release", parameters=[_HELD_ID])
class QuarantineRelease(MethodView):
    @auth.requires_key("quarantine:write")
    @rate_limits.by_key
    @blueprint.response(200, HeldFixSchema, description="Released.")
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="releaseFix")
    def post(self, held_id: int) -> dict[str, Any]:
        """Release a fix.

        It enters the vessel's history in its place, and is her latest position only if it is the newest.
        """
        with database().unit_of_work() as unit_of_work:
            return _members(quarantine.release(unit_of_work, held_id, now=datetime.now(UTC), actor=actor()))


@blueprint.route("/<identifier:held_id>/reject", parameters=[_HELD_ID])
class QuarantineRejection(MethodView):
    @auth.requires_key("quarantine:write")
    @rate_limits.by_key
    @blueprint.response(200, HeldFixSchema, description="Rejected.")
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="rejectFix")
    def post(self, held_id: int) -> dict[str, Any]:
        """Reject a fix.

        It never comes on the map. Sent again, it gets the same verdict as before.
        """
        with database().unit_of_work() as unit_of_work:
            return _members(quarantine.reject(unit_of_work, held_id, now=datetime.now(UTC), actor=actor()))


def _members(held: HeldFix) -> dict[str, Any]:
    arrival = held.arrival
    return {
        "id": held.id,
        "vessel_id": arrival.vessel_id,
        "tracker_id": tracker_id(arrival.tracker_id),
        "reason": held.reason,
        "state": held.state,
        "recorded_at": arrival.fix.recorded_at,
        "received_at": arrival.received_at,
        "decided_at": held.decided_at,
        "lat": arrival.fix.motion.lat,
        "lon": arrival.fix.motion.lon,
        "raw": arrival.raw,
    }
