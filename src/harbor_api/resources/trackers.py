"""The devices on board, as operators manage them."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from flask.views import MethodView

from harbor_api.database import UnitOfWork
from harbor_api.domain import errors
from harbor_api.domain.changes import Edit
from harbor_api.domain.signatures import derive_secret
from harbor_api.domain.trackers import Tracker
from harbor_api.schemas.paging import PageQuery, PageQuerySchema
from harbor_api.schemas.trackers import (
    NewTracker,
    Reassignment,
    ReassignmentSchema,
    Rotation,
    RotationSchema,
    TrackerCreationSchema,
    TrackerDetailsSchema,
    TrackerPageSchema,
    TrackerSchema,
    TrackerSecretSchema,
    TrackerUpdateSchema,
)
from harbor_api.services import trackers
from harbor_api.web import auth, idempotency, paging, preconditions
from harbor_api.web.blueprint import Answer, Blueprint
from harbor_api.web.runtime import actor, current, versions

blueprint = Blueprint(
    "trackers",
    __name__,
    description="The devices that sign fixes, and the vessels that they are on.",
    url_prefix="/api/v1/trackers",
)
_NUMBER = {
    "in": "path",
    "name": "number",
    "description": "The number in the tracker's id: 1 for `trk_0001`.",
}


@blueprint.route("")
class Trackers(MethodView):
    @auth.requires_key("trackers:read")
    @blueprint.arguments(PageQuerySchema, location="query")
    @blueprint.response(200, TrackerPageSchema, headers=("Link",), description="A page of trackers.")
    @blueprint.doc(operationId="listTrackers")
    def get(self, query: PageQuery) -> Answer:
        """List the trackers.

        In order of their numbers, disabled ones included, without their secrets.
        """
        with current().database.autocommit() as unit_of_work:
            found = unit_of_work.trackers.search(after=query.after or 0, limit=query.to_read)
        return paging.answer(query, "trackers", found, show=_members, number=lambda each: each.number)

    @auth.requires_key("trackers:write")
    @idempotency.done_once
    @blueprint.arguments(TrackerCreationSchema)
    @blueprint.response(201, TrackerSecretSchema, headers=("ETag", "Location"), description="Registered.")
    @blueprint.raises(errors.Conflict)
    @blueprint.doc(operationId="createTracker")
    def post(self, new: NewTracker) -> Answer:
        """Register a tracker.

        The answer tells the secret that it signs with. 409 where there is no such vessel in service.
        """

        def register(unit_of_work: UnitOfWork, _: bytes) -> int:
            tracker = trackers.register(
                unit_of_work, vessel_id=new.vessel_id, label=new.label, test=new.test, actor=actor()
            )
            return tracker.number

        body, _, headers = idempotency.do_once(register, _with_secret)
        return body, 201, {**headers, "Location": f"{blueprint.url_prefix}/{body['number']}"}


@blueprint.route("/<identifier:number>", parameters=[_NUMBER])
class TrackerByNumber(MethodView):
    @auth.requires_key("trackers:read")
    @blueprint.response(200, TrackerDetailsSchema, headers=("ETag",), description="The tracker.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="getTracker")
    def get(self, number: int) -> Answer:
        """Get one tracker.

        Without its secret, and with the gaps in the numbers of its fixes.
        """
        with current().database.autocommit() as unit_of_work:
            body, status, headers = _shown(unit_of_work.trackers.get(number))
            missing = unit_of_work.arrived_numbers.missing(number)
        return {**body, "missing": missing}, status, headers

    @auth.requires_key("trackers:write")
    @preconditions.demands_version
    @blueprint.arguments(TrackerUpdateSchema)
    @blueprint.response(200, TrackerSchema, headers=("ETag",), description="Changed.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="updateTracker")
    def patch(self, edit: Edit[Tracker], number: int) -> Answer:
        """Change a tracker.

        Its label, and whether it is under test.
        """
        with current().database.unit_of_work() as unit_of_work:
            return _shown(trackers.change(unit_of_work, number, edit, versions=versions(), actor=actor()))


@blueprint.route("/<identifier:number>/reassign", parameters=[_NUMBER])
class TrackerReassignment(MethodView):
    @auth.requires_key("trackers:write")
    @preconditions.demands_version
    @blueprint.arguments(ReassignmentSchema)
    @blueprint.response(200, TrackerSchema, headers=("ETag",), description="Reassigned.")
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="reassignTracker")
    def post(self, wanted: Reassignment, number: int) -> Answer:
        """Move a tracker to another vessel.

        From a moment on its fixes belong to that vessel. What is stored stays where it is, and an older
        fix that is still in the tracker's memory goes to the vessel on which it was taken.
        """
        now = datetime.now(UTC)
        with current().database.unit_of_work() as unit_of_work:
            return _shown(
                trackers.reassign(
                    unit_of_work,
                    number,
                    vessel_id=wanted.vessel_id,
                    starts_at=wanted.starts_at or now,
                    now=now,
                    versions=versions(),
                    actor=actor(),
                )
            )


@blueprint.route("/<identifier:number>/rotate", parameters=[_NUMBER])
class TrackerRotation(MethodView):
    @auth.requires_key("trackers:write")
    @idempotency.done_once
    @blueprint.arguments(RotationSchema)
    @blueprint.response(200, TrackerSecretSchema, headers=("ETag",), description="Rotated.")
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="rotateTracker")
    def post(self, rotation: Rotation, number: int) -> Answer:
        """Give a tracker its next secret.

        The secret that it has holds for the grace time; every answer to a fix that is still signed with
        it says until when, as `secret_ends_at`. 409 while an earlier rotation is under way.
        """

        def rotate(unit_of_work: UnitOfWork, _: bytes) -> int:
            trackers.rotate(unit_of_work, number, grace=rotation.grace, now=datetime.now(UTC), actor=actor())
            return number

        return idempotency.do_once(rotate, _with_secret)


@blueprint.route("/<identifier:number>/disable", parameters=[_NUMBER])
class TrackerDisabling(MethodView):
    @auth.requires_key("trackers:write")
    @blueprint.response(200, TrackerSchema, headers=("ETag",), description="Disabled.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="disableTracker")
    def post(self, number: int) -> Answer:
        """Disable a tracker.

        What it signs is refused with 403 `tracker_disabled` from now on.
        """
        with current().database.unit_of_work() as unit_of_work:
            return _shown(trackers.disable(unit_of_work, number, now=datetime.now(UTC), actor=actor()))


@blueprint.route("/<identifier:number>/enable", parameters=[_NUMBER])
class TrackerEnabling(MethodView):
    @auth.requires_key("trackers:write")
    @blueprint.response(200, TrackerSchema, headers=("ETag",), description="Enabled.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="enableTracker")
    def post(self, number: int) -> Answer:
        """Enable a tracker.

        It may post again, what it has kept meanwhile included.
        """
        with current().database.unit_of_work() as unit_of_work:
            return _shown(trackers.enable(unit_of_work, number, actor=actor()))


def _members(tracker: Tracker) -> dict[str, Any]:
    return {**asdict(tracker), "id": tracker.id, "vessel_id": tracker.vessel_id}


def _shown(tracker: Tracker) -> Answer:
    return _members(tracker), 200, {"ETag": preconditions.etag(tracker.version)}


def _with_secret(unit_of_work: UnitOfWork, number: int, _: bytes) -> Answer:
    tracker = unit_of_work.trackers.get(number)
    body, status, headers = _shown(tracker)
    secret = derive_secret(current().settings.require_master_key(), tracker.id, tracker.generation)
    return {**body, "secret": secret}, status, headers
