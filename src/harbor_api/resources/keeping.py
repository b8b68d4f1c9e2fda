"""How long positions of a vessel are kept, and legal holds. Partners are told of neither."""

from dataclasses import asdict

from flask.views import MethodView

from harbor_api.domain import errors
from harbor_api.domain.changes import Edit
from harbor_api.domain.keeping import Keeping, KeepingTerms
from harbor_api.schemas.keeping import KeepingSchema, KeepingUpdateSchema
from harbor_api.schemas.vessels import VESSEL_ID
from harbor_api.services import keeping
from harbor_api.web import auth, preconditions
from harbor_api.web.blueprint import Answer, Blueprint
from harbor_api.web.runtime import actor, current, versions

blueprint = Blueprint(
    "keeping",
    __name__,
    description="How long positions of a vessel are kept, and legal holds.",
    url_prefix="/api/v1/vessels",
)


@blueprint.route("/<identifier:vessel_id>/keeping", parameters=[VESSEL_ID])
class VesselKeeping(MethodView):
    @auth.requires_key("audit:read")
    @preconditions.revalidated
    @blueprint.response(200, KeepingSchema, headers=("ETag",), description="What is said of the vessel.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="getKeeping")
    def get(self, vessel_id: int) -> Answer:
        """Get how long a vessel's positions are kept.

        And whether she is under a legal hold, why, since when and by whom. Of most vessels nothing is said:
        then all is null, and her positions are kept for as long as the service keeps others'.
        """
        with current().database.autocommit() as unit_of_work:
            return _shown(unit_of_work.keeping.find(vessel_id))

    @auth.requires_key("vessels:write", told="audit:read")
    @preconditions.demands_version
    @preconditions.tagged
    @blueprint.arguments(KeepingUpdateSchema)
    @blueprint.response(200, KeepingSchema, headers=("ETag",), description="Said.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="updateKeeping")
    def patch(self, edit: Edit[KeepingTerms], vessel_id: int) -> Answer:
        """Say how long a vessel's positions are kept, or put her under a legal hold.

        `hold_reason` puts her under a hold, and null lifts it. Once it is answered nothing that is stored of
        her is deleted any more: neither positions nor fixes in quarantine, nor what the audit trail says of
        her. What is already gone stays gone, and a fix that is withdrawn is kept in quarantine as ever.

        `keep_positions_days` lets her positions go sooner or later than others', with the service's next
        daily job. Followers are told `delete` of those that they may still be told of; her latest position
        stays.

        The audit trail says who has said what.
        """
        with current().database.unit_of_work() as unit_of_work:
            return _shown(keeping.change(unit_of_work, vessel_id, edit, versions=versions(), actor=actor()))


def _shown(found: Keeping) -> Answer:
    members = {
        "vessel_id": found.vessel_id,
        **asdict(found.terms),
        "held_by": found.held_by,
        "held_since": found.held_since,
    }
    return members, 200, preconditions.edit_of(found.vessel_id, found.version)
