"""Summaries: partners ask how far and how long a vessel went."""

from typing import Any

from flask.views import MethodView

from harbor_api.domain import errors
from harbor_api.schemas.summaries import SummaryQuery, SummaryQuerySchema, SummarySchema, as_summary
from harbor_api.schemas.vessels import VESSEL_ID
from harbor_api.services import summaries
from harbor_api.web import auth, preconditions
from harbor_api.web.blueprint import Blueprint
from harbor_api.web.runtime import current, sight

blueprint = Blueprint(
    "summaries",
    __name__,
    description="How far and how long a vessel went.",
    url_prefix="/api/v1/vessels",
)


@blueprint.route("/<identifier:vessel_id>/summary", parameters=[VESSEL_ID])
class VesselSummary(MethodView):
    @auth.requires_key("vessels:read")
    @preconditions.revalidated
    @blueprint.arguments(SummaryQuerySchema, location="query")
    @blueprint.response(200, SummarySchema, headers=("ETag",), description="The summary.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="getVesselSummary")
    def get(self, query: SummaryQuery, vessel_id: int) -> dict[str, Any]:
        """Sum up what a vessel did.

        How far she went, how long and how fast, from `from` up to but without `to`, the last 24 hours without
        both; in all, and for each day in UTC. It is counted from every fix in that time that the key may see,
        of all her trackers in order of time: from each to the next. Nothing is said of the time before the
        first and after the last.

        What lies between two fixes is a gap where nothing came for longer than `gap`, and a jump where she
        cannot have gone on as the fixes tell; neither is in `distance_m`.

        A key that sees positions coarsely is told what the fixes add up to that it sees: one in each step of
        time, with coordinates and speeds rounded. For it a `gap` is a step at least.
        """
        with current().database.autocommit() as unit_of_work:
            seen, standing = sight(unit_of_work), unit_of_work.order.standing()
        summary = summaries.summarise(
            current().database,
            seen,
            vessel_id,
            query,
            standing=standing,
            thresholds=current().intake.thresholds,
        )
        return as_summary(summary, vessel_id=vessel_id)
