"""Tracks: partners draw where a vessel was."""

from flask import Response
from flask.views import MethodView

from harbor_api.domain import errors
from harbor_api.schemas import geojson, gpx
from harbor_api.schemas.formats import MEDIA_TYPES
from harbor_api.schemas.tracks import TrackQuery, TrackQuerySchema, TrackSchema, as_geojson, as_gpx
from harbor_api.services import tracks
from harbor_api.web import auth, negotiation, preconditions
from harbor_api.web.blueprint import Blueprint
from harbor_api.web.runtime import current, sight

blueprint = Blueprint(
    "tracks",
    __name__,
    description="Where a vessel was, as a line.",
    url_prefix="/api/v1/vessels",
)
_VESSEL_ID = {"in": "path", "name": "vessel_id", "description": "The vessel's `id`."}


@blueprint.route("/<identifier:vessel_id>/track", parameters=[_VESSEL_ID])
class VesselTrack(MethodView):
    @auth.requires_key("vessels:read")
    @preconditions.revalidated
    @blueprint.arguments(TrackQuerySchema, location="query")
    @blueprint.response(
        200,
        TrackSchema,
        content_type=geojson.MEDIA_TYPE,
        also={gpx.MEDIA_TYPE: {"type": "string"}},
        headers=("ETag",),
        description="The track.",
    )
    @blueprint.raises(errors.NotFound, errors.TrackTooLong)
    @blueprint.doc(operationId="getVesselTrack")
    def get(self, query: TrackQuery, vessel_id: int) -> Response:
        """Draw the track of a vessel.

        Her fixes from `from` up to but without `to` as lines, the last 24 hours without both. A line ends
        where nothing came for longer than `gap`, and where she cannot have gone on as the fixes tell: what
        lies between two lines is a Feature of its own (`gap`, `jump`), so that a map can draw it differently.
        One fix alone is a Point, and where there is none there are no Features.

        In GPX each line is a segment, and what lies between them is left out; a segment ends at 180 degrees,
        too, across which GPX has no lines.

        At most 100,000 fixes, and 10,000 lines: 400 where there are more.
        """
        with current().database.autocommit() as unit_of_work:
            drawn = tracks.draw(
                unit_of_work,
                sight(unit_of_work),
                vessel_id,
                query,
                thresholds=current().intake.thresholds,
            )
        form = negotiation.chosen(query.format, ("geojson", "gpx"))
        if form == "gpx":
            content = as_gpx(drawn.track, name=drawn.name)
        else:
            content = as_geojson(drawn.track, vessel_id=vessel_id, gap_s=drawn.gap_s)
        return Response(content, content_type=MEDIA_TYPES[form])
