"""The fleet as partners read it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from flask.views import MethodView

from harbor_api import auth, errors, limits
from harbor_api.api import Blueprint, database, settings
from harbor_api.schemas.geojson import MEDIA_TYPE
from harbor_api.schemas.vessels import VesselFeatureCollectionSchema, VesselFeatureSchema
from harbor_api.services import vessels

blueprint = Blueprint(
    "vessels",
    __name__,
    description="The fleet and where it is, as GeoJSON.",
    url_prefix="/api/v1/vessels",
)


@blueprint.route("")
class Vessels(MethodView):
    @auth.requires_key("vessels:read")
    @limits.by_key
    @blueprint.response(200, VesselFeatureCollectionSchema, content_type=MEDIA_TYPE, description="The fleet.")
    @blueprint.doc(operationId="listVessels")
    def get(self) -> dict[str, Any]:
        """List the fleet.

        Every vessel in service as a GeoJSON Feature at its latest position, in order of id. A vessel
        that was never seen has `geometry: null`.
        """
        with database().statement() as unit_of_work:
            fleet = unit_of_work.vessels.fleet()
        return vessels.as_collection(fleet, now=datetime.now(UTC), stale_after=_stale_after())


_VESSEL_ID = {"in": "path", "name": "vessel_id", "description": "The vessel's `id`."}


@blueprint.route("/<identifier:vessel_id>", parameters=[_VESSEL_ID])
class VesselById(MethodView):
    @auth.requires_key("vessels:read")
    @limits.by_key
    @blueprint.response(200, VesselFeatureSchema, content_type=MEDIA_TYPE, description="The vessel.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="getVessel")
    def get(self, vessel_id: int) -> dict[str, Any]:
        """Get one vessel.

        The vessel as a GeoJSON Feature at its latest position.
        """
        with database().statement() as unit_of_work:
            shown = unit_of_work.vessels.on_map(vessel_id)
        return vessels.as_feature(shown, now=datetime.now(UTC), stale_after=_stale_after())


def _stale_after() -> timedelta:
    return timedelta(seconds=settings().stale_after_s)
