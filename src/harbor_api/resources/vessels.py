"""The fleet: partners read it as GeoJSON, operators register, change, retire and restore vessels."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import g
from flask.views import MethodView

from harbor_api.database import UnitOfWork
from harbor_api.domain import errors
from harbor_api.domain.entities import VesselDetails
from harbor_api.schemas.geojson import MEDIA_TYPE
from harbor_api.schemas.vessels import (
    FleetQuerySchema,
    VesselCreationSchema,
    VesselFeatureCollectionSchema,
    VesselFeatureSchema,
    VesselUpdateSchema,
)
from harbor_api.services import idempotency, vessels
from harbor_api.web import auth, preconditions, rate_limits
from harbor_api.web.blueprint import Blueprint, actor, database, settings

blueprint = Blueprint(
    "vessels",
    __name__,
    description="The fleet and where it is, as GeoJSON.",
    url_prefix="/api/v1/vessels",
)
_VESSEL_ID = {"in": "path", "name": "vessel_id", "description": "The vessel's `id`.", "example": 1}
Answer = tuple[dict[str, Any], int, Mapping[str, str]]


@blueprint.route("")
class Vessels(MethodView):
    @auth.requires_key("vessels:read")
    @rate_limits.by_key
    @blueprint.arguments(FleetQuerySchema, location="query")
    @blueprint.response(200, VesselFeatureCollectionSchema, content_type=MEDIA_TYPE, description="The fleet.")
    @blueprint.doc(operationId="listVessels")
    def get(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """List the fleet.

        Every vessel in service that the key may see, as a GeoJSON Feature at its latest position, in
        order of id. A vessel that was never seen has `geometry: null`.
        """
        with database().statement() as unit_of_work:
            fleet = unit_of_work.fleet(g.api_key).search(retired=query["retired"])
        return vessels.as_collection(fleet, now=_now(), stale_after=_stale_after())

    @auth.requires_key("vessels:write")
    @rate_limits.by_key
    @preconditions.done_once
    @blueprint.arguments(VesselCreationSchema)
    @blueprint.response(
        201,
        VesselFeatureSchema,
        content_type=MEDIA_TYPE,
        headers=("ETag", "Location"),
        description="Registered.",
    )
    @blueprint.raises(errors.Conflict)
    @blueprint.doc(operationId="createVessel")
    def post(self, details: Mapping[str, Any]) -> Answer:
        """Register a vessel.

        409 where its IMO number or MMSI is on another vessel in service.
        """
        with database().unit_of_work() as unit_of_work:
            claim = idempotency.claim(unit_of_work, g.once)
            vessel_id = claim.subject_id
            if vessel_id is None:
                vessel_id = vessels.register(unit_of_work, VesselDetails(**details), actor=actor()).id
                claim.done(vessel_id)
            body, _, headers = _shown(unit_of_work, vessel_id)
        return body, 201, {**headers, "Location": f"{blueprint.url_prefix}/{vessel_id}"}


@blueprint.route("/<identifier:vessel_id>", parameters=[_VESSEL_ID])
class VesselById(MethodView):
    @auth.requires_key("vessels:read")
    @rate_limits.by_key
    @blueprint.response(
        200, VesselFeatureSchema, content_type=MEDIA_TYPE, headers=("ETag",), description="The vessel."
    )
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="getVessel")
    def get(self, vessel_id: int) -> Answer:
        """Get one vessel.

        The vessel, in service or retired, as a GeoJSON Feature at its latest position.
        """
        with database().statement() as unit_of_work:
            return _shown(unit_of_work, vessel_id)

    @auth.requires_key("vessels:write")
    @rate_limits.by_key
    @preconditions.demands_version
    @blueprint.arguments(VesselUpdateSchema)
    @blueprint.response(
        200, VesselFeatureSchema, content_type=MEDIA_TYPE, headers=("ETag",), description="Changed."
    )
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="updateVessel")
    def patch(self, members: Mapping[str, Any], vessel_id: int) -> Answer:
        """Change a vessel.

        Members that are left out stay as they are; null takes away what was known.
        """
        with database().unit_of_work() as unit_of_work:
            vessels.change(unit_of_work, vessel_id, members, versions=g.versions, actor=actor())
            return _shown(unit_of_work, vessel_id)


@blueprint.route("/<identifier:vessel_id>/retire", parameters=[_VESSEL_ID])
class VesselRetirement(MethodView):
    @auth.requires_key("vessels:write")
    @rate_limits.by_key
    @blueprint.response(
        200, VesselFeatureSchema, content_type=MEDIA_TYPE, headers=("ETag",), description="Retired."
    )
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="retireVessel")
    def post(self, vessel_id: int) -> Answer:
        """Retire a vessel.

        It leaves the map, its numbers are free for others, and its history stays. Its trackers may go on
        posting: nothing that they send is lost.
        """
        with database().unit_of_work() as unit_of_work:
            vessels.retire(unit_of_work, vessel_id, actor=actor())
            return _shown(unit_of_work, vessel_id)


@blueprint.route("/<identifier:vessel_id>/restore", parameters=[_VESSEL_ID])
class VesselRestoration(MethodView):
    @auth.requires_key("vessels:write")
    @rate_limits.by_key
    @blueprint.response(
        200, VesselFeatureSchema, content_type=MEDIA_TYPE, headers=("ETag",), description="In service."
    )
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="restoreVessel")
    def post(self, vessel_id: int) -> Answer:
        """Restore a retired vessel.

        409 where its IMO number or MMSI has been given to another vessel meanwhile.
        """
        with database().unit_of_work() as unit_of_work:
            vessels.restore(unit_of_work, vessel_id, actor=actor())
            return _shown(unit_of_work, vessel_id)


def _shown(unit_of_work: UnitOfWork, vessel_id: int) -> Answer:
    shown = unit_of_work.fleet(g.api_key).get(vessel_id)
    body = vessels.as_feature(shown, now=_now(), stale_after=_stale_after())
    seq = shown.latest.seq if shown.latest else 0
    tag = preconditions.etag(shown.vessel.version, seq, "stale" if body["properties"]["stale"] else "live")
    return body, 200, {"ETag": tag}


def _now() -> datetime:
    return datetime.now(UTC) - timedelta(seconds=g.api_key.delay_s)


def _stale_after() -> timedelta:
    return timedelta(seconds=settings().stale_after_s)
