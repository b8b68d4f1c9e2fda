"""Tracks: partners draw where a vessel was."""

from datetime import datetime, timedelta

from flask import Response
from flask.views import MethodView

from harbor_api.domain import errors
from harbor_api.schemas import geojson, gpx
from harbor_api.schemas.formats import MEDIA_TYPES
from harbor_api.schemas.moments import feature_texts
from harbor_api.schemas.tracks import TrackQuery, TrackQuerySchema, TrackSchema, as_geojson, as_gpx
from harbor_api.schemas.vessels import VESSEL_ID, VesselFeatureSchema
from harbor_api.services import moments, tracks
from harbor_api.web import auth, negotiation, preconditions, turns
from harbor_api.web.blueprint import Blueprint
from harbor_api.web.runtime import current, seen, sight

blueprint = Blueprint(
    "tracks",
    __name__,
    description="Where a vessel was, as a line.",
    url_prefix="/api/v1/vessels",
)


@blueprint.route("/<identifier:vessel_id>/track", parameters=[VESSEL_ID])
class VesselTrack(MethodView):
    @auth.requires_key("vessels:read")
    @preconditions.revalidated
    @blueprint.arguments(TrackQuerySchema, location="query")
    @blueprint.response(
        200,
        {"oneOf": [TrackSchema, VesselFeatureSchema]},
        content_type=geojson.MEDIA_TYPE,
        also={gpx.MEDIA_TYPE: {"type": "string"}},
        headers=("ETag",),
        sometimes=("Content-Disposition",),
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

        With `at` it is where she was at that moment, and from what that is known.
        """
        if query.at is not None:
            return _placed(vessel_id, query.at, query.gap_s)
        viewed, thresholds = seen(), current().intake.thresholds
        drawn = current().database.read(
            lambda it: tracks.draw(it, viewed, vessel_id, query, thresholds=thresholds)
        )
        form = negotiation.chosen(query.format, ("geojson", "gpx"))
        if form == "gpx":
            content = b"".join(turns.between(as_gpx(drawn.track, name=drawn.name)))
        else:
            content = as_geojson(drawn.track, vessel_id=vessel_id, gap_s=drawn.gap_s)
        response = Response(content, content_type=MEDIA_TYPES[form])
        if form == "gpx":
            response.headers["Content-Disposition"] = f'attachment; filename="vessel-{vessel_id}-track.gpx"'
        return response


def _placed(vessel_id: int, at: datetime, gap_s: int) -> Response:
    runtime = current()
    rules = moments.Rules(
        gap=timedelta(seconds=gap_s), limits=runtime.intake.thresholds, stale_after=runtime.stale_after
    )
    with runtime.database.autocommit() as unit_of_work:
        viewed = sight(unit_of_work)
        moments.stand(unit_of_work, viewed, at, parameter="at")
        found = moments.vessel_at(unit_of_work, viewed, vessel_id, at, rules=rules)
    [text] = feature_texts([found])
    return Response(text, content_type=geojson.MEDIA_TYPE)
