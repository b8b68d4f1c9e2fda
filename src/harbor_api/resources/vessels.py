"""The fleet: partners read it as GeoJSON, operators register, change, retire and restore vessels."""

from flask import Response
from flask.views import MethodView

from harbor_api.database import UnitOfWork
from harbor_api.domain import errors
from harbor_api.domain.changes import Edit
from harbor_api.domain.vessels import VesselDetails
from harbor_api.schemas.fleet_query import FleetQuery, FleetQuerySchema
from harbor_api.schemas.geojson import MEDIA_TYPE
from harbor_api.schemas.vessels import (
    VESSEL_ID,
    VesselCreationSchema,
    VesselFeatureCollectionSchema,
    VesselFeatureSchema,
    VesselUpdateSchema,
    as_feature,
)
from harbor_api.services import vessels
from harbor_api.web import auth, fleet, idempotency, moments, preconditions
from harbor_api.web.blueprint import Answer, Blueprint
from harbor_api.web.idempotency import Rendered
from harbor_api.web.runtime import actor, caller, current, sight, versions

blueprint = Blueprint(
    "vessels",
    __name__,
    description="The fleet and where it is, as GeoJSON.",
    url_prefix="/api/v1/vessels",
)


@blueprint.route("")
class Vessels(MethodView):
    @auth.requires_key("vessels:read")
    @preconditions.revalidated
    @blueprint.arguments(FleetQuerySchema, location="query")
    @blueprint.response(
        200,
        VesselFeatureCollectionSchema,
        content_type=MEDIA_TYPE,
        headers=("ETag", "Harbor-Cursor", "Harbor-Now", "Link"),
        description="The fleet.",
    )
    @blueprint.raises(errors.CursorMismatch)
    @blueprint.doc(operationId="listVessels")
    def get(self, query: FleetQuery) -> Response:
        """List the fleet.

        Every vessel in service that the key may see, as a GeoJSON Feature at its latest position, in
        order of id. A vessel that was never seen has `geometry: null`.

        Parameters narrow that down: what is asked for with several of them fulfils all. They look at what the
        key is shown. With `near` the nearest vessel comes first. Of more than `limit` vessels the answer is
        the first page; `links.next` and `Link` lead to the others.

        Ask again with `If-None-Match`: as long as nothing of it has changed, the answer is 304. Its bytes do
        not change with the time of day: `stale` turns at `stale_at`, and what time it is now says
        `Harbor-Now`. What has happened since is behind `Harbor-Cursor` in the committed order.

        With `as_of` it is the fleet as it was at that moment, from history: where each vessel was by the fix
        before it and the one after, and by what that is known (`basis`, `between`). It is told of all that
        has been stored by now: a fix that comes late changes the past, one that is withdrawn is gone from it,
        and then `ETag` is another one, and mostly `cursor`. Vessels are those that are in service, and those
        that were retired after the moment, with what is known of them today; one that was restored counts as
        if it had never been retired. One that was registered later is there as well: where its history says,
        or with `geometry: null` if it had not been seen by then. A moment that is later than the key sees
        is a 400, which says up to when it sees.
        """
        if query.as_of is not None:
            return moments.answer(query, query.as_of)
        return fleet.answer(current().fleet.read(caller()), query)

    @auth.requires_key("vessels:write")
    @idempotency.done_once
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
    def post(self, details: VesselDetails) -> Rendered:
        """Register a vessel.

        409 where its IMO number or MMSI is on another vessel in service.
        """

        def register(unit_of_work: UnitOfWork, _: bytes) -> Answer:
            return _shown(unit_of_work, vessels.register(unit_of_work, details, actor=actor()).id)

        return idempotency.do_once(register, VesselFeatureSchema, below="/api/v1/vessels")


@blueprint.route("/<identifier:vessel_id>", parameters=[VESSEL_ID])
class VesselById(MethodView):
    @auth.requires_key("vessels:read")
    @preconditions.revalidated
    @blueprint.response(
        200, VesselFeatureSchema, content_type=MEDIA_TYPE, headers=("ETag",), description="The vessel."
    )
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="getVessel")
    def get(self, vessel_id: int) -> Answer:
        """Get one vessel.

        The vessel, in service or retired, as a GeoJSON Feature at its latest position.
        """
        with current().database.autocommit() as unit_of_work:
            return _shown(unit_of_work, vessel_id)

    @auth.requires_key("vessels:write", told="vessels:read")
    @preconditions.demands_version
    @preconditions.tagged
    @blueprint.arguments(VesselUpdateSchema)
    @blueprint.response(
        200, VesselFeatureSchema, content_type=MEDIA_TYPE, headers=("ETag",), description="Changed."
    )
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="updateVessel")
    def patch(self, edit: Edit[VesselDetails], vessel_id: int) -> Answer:
        """Change a vessel.

        Members that are left out stay as they are; null takes away what was known.
        """
        with current().database.unit_of_work() as unit_of_work:
            vessels.change(unit_of_work, vessel_id, edit, versions=versions(), actor=actor())
            return _shown(unit_of_work, vessel_id)


@blueprint.route("/<identifier:vessel_id>/retire", parameters=[VESSEL_ID])
class VesselRetirement(MethodView):
    @auth.requires_key("vessels:write", told="vessels:read")
    @preconditions.tagged
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
        with current().database.unit_of_work() as unit_of_work:
            vessels.retire(unit_of_work, vessel_id, actor=actor())
            return _shown(unit_of_work, vessel_id)


@blueprint.route("/<identifier:vessel_id>/restore", parameters=[VESSEL_ID])
class VesselRestoration(MethodView):
    @auth.requires_key("vessels:write", told="vessels:read")
    @preconditions.tagged
    @blueprint.response(
        200, VesselFeatureSchema, content_type=MEDIA_TYPE, headers=("ETag",), description="In service."
    )
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="restoreVessel")
    def post(self, vessel_id: int) -> Answer:
        """Restore a retired vessel.

        409 where its IMO number or MMSI has been given to another vessel meanwhile.
        """
        with current().database.unit_of_work() as unit_of_work:
            vessels.restore(unit_of_work, vessel_id, actor=actor())
            return _shown(unit_of_work, vessel_id)


def _shown(unit_of_work: UnitOfWork, vessel_id: int) -> Answer:
    shown = unit_of_work.fleet(sight(unit_of_work), stale_after=current().stale_after).get(vessel_id)
    return as_feature(shown), 200, preconditions.edit_of(vessel_id, shown.vessel.version)
