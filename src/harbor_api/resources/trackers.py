"""The devices on board, as operators manage them."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import g
from flask.views import MethodView

from harbor_api.domain import errors
from harbor_api.domain.entities import Tracker
from harbor_api.domain.signatures import derive_secret
from harbor_api.schemas.paging import PageQuerySchema
from harbor_api.schemas.trackers import (
    ReassignmentSchema,
    RotationSchema,
    TrackerCreationSchema,
    TrackerDetailsSchema,
    TrackerPageSchema,
    TrackerSchema,
    TrackerSecretSchema,
    TrackerUpdateSchema,
)
from harbor_api.services import idempotency, trackers
from harbor_api.web import auth, paging, preconditions, rate_limits
from harbor_api.web.blueprint import Blueprint, actor, database, settings

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
    "example": 1,
}
Answer = tuple[dict[str, Any], int, Mapping[str, str]]


@blueprint.route("")
class Trackers(MethodView):
    @auth.requires_key("trackers:read")
    @rate_limits.by_key
    @blueprint.arguments(PageQuerySchema, location="query")
    @blueprint.response(200, TrackerPageSchema, headers=("Link",), description="A page of trackers.")
    @blueprint.doc(operationId="listTrackers")
    def get(self, query: Mapping[str, Any]) -> Answer:
        """List the trackers.

        In order of their numbers, disabled ones included, without their secrets.
        """
        page = paging.read(query)
        with database().statement() as unit_of_work:
            found = unit_of_work.trackers.search(after=page.after or 0, limit=page.to_read)
        return page.answer("trackers", found, [_members(each) for each in found], lambda each: each.number)

    @auth.requires_key("trackers:write")
    @rate_limits.by_key
    @preconditions.done_once
    @blueprint.arguments(TrackerCreationSchema)
    @blueprint.response(201, TrackerSecretSchema, headers=("ETag", "Location"), description="Registered.")
    @blueprint.raises(errors.Conflict)
    @blueprint.doc(operationId="createTracker")
    def post(self, members: Mapping[str, Any]) -> Answer:
        """Register a tracker.

        The answer tells the secret that it signs with. 409 where there is no such vessel in service.
        """
        with database().unit_of_work() as unit_of_work:
            claim = idempotency.claim(unit_of_work, g.once)
            if claim.subject_id is None:
                tracker = trackers.register(unit_of_work, **members, actor=actor())
                claim.done(tracker.number)
            else:
                tracker = unit_of_work.trackers.get(claim.subject_id)
        body, _, headers = _with_secret(tracker)
        return body, 201, {**headers, "Location": f"{blueprint.url_prefix}/{tracker.number}"}


@blueprint.route("/<identifier:number>", parameters=[_NUMBER])
class TrackerByNumber(MethodView):
    @auth.requires_key("trackers:read")
    @rate_limits.by_key
    @blueprint.response(200, TrackerDetailsSchema, headers=("ETag",), description="The tracker.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="getTracker")
    def get(self, number: int) -> Answer:
        """Get one tracker.

        Without its secret, and with the gaps in the numbers of its fixes.
        """
        with database().statement() as unit_of_work:
            body, status, headers = _shown(unit_of_work.trackers.get(number))
            missing = unit_of_work.arrived_numbers.missing(number)
        return {**body, "missing": missing}, status, headers

    @auth.requires_key("trackers:write")
    @rate_limits.by_key
    @preconditions.demands_version
    @blueprint.arguments(TrackerUpdateSchema)
    @blueprint.response(200, TrackerSchema, headers=("ETag",), description="Changed.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="updateTracker")
    def patch(self, members: Mapping[str, Any], number: int) -> Answer:
        """Change a tracker.

        Its label, and whether it is under test.
        """
        with database().unit_of_work() as unit_of_work:
            return _shown(trackers.change(unit_of_work, number, members, versions=g.versions, actor=actor()))


@blueprint.route("/<identifier:number>/reassign", parameters=[_NUMBER])
class TrackerReassignment(MethodView):
    @auth.requires_key("trackers:write")
    @rate_limits.by_key
    @preconditions.demands_version
    @blueprint.arguments(ReassignmentSchema)
    @blueprint.response(200, TrackerSchema, headers=("ETag",), description="Reassigned.")
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="reassignTracker")
    def post(self, members: Mapping[str, Any], number: int) -> Answer:
        """Move a tracker to another vessel.

        From a moment on its fixes belong to that vessel. What is stored stays where it is, and an older
        fix that is still in the tracker's memory goes to the vessel on which it was taken.
        """
        now = datetime.now(UTC)
        with database().unit_of_work() as unit_of_work:
            return _shown(
                trackers.reassign(
                    unit_of_work,
                    number,
                    vessel_id=members["vessel_id"],
                    starts_at=members.get("starts_at", now),
                    now=now,
                    versions=g.versions,
                    actor=actor(),
                )
            )


@blueprint.route("/<identifier:number>/rotate", parameters=[_NUMBER])
class TrackerRotation(MethodView):
    @auth.requires_key("trackers:write")
    @rate_limits.by_key
    @preconditions.done_once
    @blueprint.arguments(RotationSchema)
    @blueprint.response(200, TrackerSecretSchema, headers=("ETag",), description="Rotated.")
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="rotateTracker")
    def post(self, members: Mapping[str, Any], number: int) -> Answer:
        """Give a tracker its next secret.

        The secret that it has holds for the grace time; every answer to a fix that is still signed with
        it says until when, as `secret_ends_at`. 409 while an earlier rotation is under way.
        """
        with database().unit_of_work() as unit_of_work:
            claim = idempotency.claim(unit_of_work, g.once)
            if claim.subject_id is None:
                tracker = trackers.rotate(
                    unit_of_work,
                    number,
                    grace=timedelta(seconds=members["grace_s"]),
                    now=datetime.now(UTC),
                    actor=actor(),
                )
                claim.done(number)
            else:
                tracker = unit_of_work.trackers.get(number)
        return _with_secret(tracker)


@blueprint.route("/<identifier:number>/disable", parameters=[_NUMBER])
class TrackerDisabling(MethodView):
    @auth.requires_key("trackers:write")
    @rate_limits.by_key
    @blueprint.response(200, TrackerSchema, headers=("ETag",), description="Disabled.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="disableTracker")
    def post(self, number: int) -> Answer:
        """Disable a tracker.

        What it signs is refused with 403 `tracker_disabled` from now on.
        """
        with database().unit_of_work() as unit_of_work:
            return _shown(trackers.disable(unit_of_work, number, now=datetime.now(UTC), actor=actor()))


@blueprint.route("/<identifier:number>/enable", parameters=[_NUMBER])
class TrackerEnabling(MethodView):
    @auth.requires_key("trackers:write")
    @rate_limits.by_key
    @blueprint.response(200, TrackerSchema, headers=("ETag",), description="Enabled.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="enableTracker")
    def post(self, number: int) -> Answer:
        """Enable a tracker.

        It may post again, what it has kept meanwhile included.
        """
        with database().unit_of_work() as unit_of_work:
            return _shown(trackers.enable(unit_of_work, number, actor=actor()))


def _members(tracker: Tracker) -> dict[str, Any]:
    return {**asdict(tracker), "id": tracker.id, "vessel_id": tracker.vessel_id}


def _shown(tracker: Tracker) -> Answer:
    return _members(tracker), 200, {"ETag": preconditions.etag(tracker.version)}


def _with_secret(tracker: Tracker) -> Answer:
    body, status, headers = _shown(tracker)
    secret = derive_secret(settings().require_master_key(), tracker.id, tracker.generation)
    return {**body, "secret": secret}, status, headers
