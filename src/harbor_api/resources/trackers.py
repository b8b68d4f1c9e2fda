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
    ROTATED,
    NewTracker,
    Reassignment,
    ReassignmentSchema,
    RotatedTrackerSchema,
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
from harbor_api.web.idempotency import Rendered
from harbor_api.web.runtime import actor, caller, current, versions

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
    @preconditions.revalidated
    @blueprint.arguments(PageQuerySchema, location="query")
    @blueprint.response(200, TrackerPageSchema, headers=("ETag", "Link"), description="A page of trackers.")
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
    def post(self, new: NewTracker) -> Rendered:
        """Register a tracker.

        The answer tells the secret that it signs with. 409 where there is no such vessel in service.
        """

        def register(unit_of_work: UnitOfWork, _: bytes) -> Answer:
            return _shown(
                trackers.register(
                    unit_of_work, vessel_id=new.vessel_id, label=new.label, test=new.test, actor=actor()
                )
            )

        return idempotency.do_once(
            register, TrackerSchema, below="/api/v1/trackers", number="number", tell=_secret
        )


@blueprint.route("/<identifier:number>", parameters=[_NUMBER])
class TrackerByNumber(MethodView):
    @auth.requires_key("trackers:read")
    @preconditions.revalidated
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

    @auth.requires_key("trackers:write", told="trackers:read")
    @preconditions.demands_version
    @preconditions.tagged
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
    @auth.requires_key("trackers:write", told="trackers:read")
    @preconditions.demands_version
    @preconditions.tagged
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
    @blueprint.response(200, RotatedTrackerSchema, headers=("ETag",), description="Rotated.")
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="rotateTracker")
    def post(self, rotation: Rotation, number: int) -> Rendered:
        """Give a tracker its next secret.

        The secret that it has holds for the grace time; every answer to a fix that is still signed with
        it says until when, as `secret_ends_at`. 409 while an earlier rotation is under way.

        A key without `trackers:read` is told the secret and what belongs to it, and nothing else.
        """

        def rotate(unit_of_work: UnitOfWork, _: bytes) -> Answer:
            tracker = trackers.rotate(
                unit_of_work, number, grace=rotation.grace, now=datetime.now(UTC), actor=actor()
            )
            members, status, headers = _shown(tracker)
            if "trackers:read" not in caller().scopes:
                members = {name: members[name] for name in ROTATED}
            return members, status, headers

        return idempotency.do_once(rotate, RotatedTrackerSchema, tell=_secret)


@blueprint.route("/<identifier:number>/disable", parameters=[_NUMBER])
class TrackerDisabling(MethodView):
    @auth.requires_key("trackers:write", told="trackers:read")
    @preconditions.tagged
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
    @auth.requires_key("trackers:write", told="trackers:read")
    @preconditions.tagged
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
    return _members(tracker), 200, preconditions.edit_of(tracker.number, tracker.version)


def _secret(unit_of_work: UnitOfWork, told: dict[str, Any], _: bytes) -> str:
    """Return the secret that was told with a tracker; Conflict where it has another one by now."""
    tracker = unit_of_work.trackers.get(told["number"])
    if tracker.generation != told["generation"]:
        raise errors.Conflict("The tracker has been rotated since; its new secret is not told again")
    return derive_secret(current().settings.require_master_key(), tracker.id, tracker.generation)
