"""Drawing the track of a vessel from her history, as a key may see it."""

from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from harbor_api.database import UnitOfWork
from harbor_api.domain.errors import TrackTooLong
from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.times import rfc3339
from harbor_api.domain.tracks import MOST_FIXES, Track, track_of
from harbor_api.postgres.sight import Sight
from harbor_api.schemas.tracks import TrackQuery
from harbor_api.services import windows


class Drawn(NamedTuple):
    """The track of a vessel of a name, and the gap in seconds that it was split by."""

    name: str
    track: Track
    gap_s: int


def draw(
    unit_of_work: UnitOfWork, sight: Sight, vessel_id: int, query: TrackQuery, *, thresholds: Thresholds
) -> Drawn:
    """Return a vessel's track; NotFound where the key may not see her, TrackTooLong where it is too long."""
    since = query.start or windows.usual_start(query.end or _now(unit_of_work, sight))
    # What is kept for its speed and course matters only where something is left out.
    is_simplified = query.most is not None or bool(query.tolerance_m)
    found = unit_of_work.tracks(sight).columns(
        vessel_id, since, query.end, most=MOST_FIXES, with_motion=is_simplified
    )
    if found.last is not None:
        raise TrackTooLong(
            f"There are more than {MOST_FIXES:,} fixes in that time, and {rfc3339(found.last[0])} is how far "
            "so many go: ask for a shorter time with `from` and `to`, or read them by the page at "
            f"/api/v1/vessels/{vessel_id}/positions"
        )
    if found.max_speed_kn is not None:
        thresholds = replace(thresholds, max_speed_kn=found.max_speed_kn)
    gap_s = windows.gap_s(query.gap_s, sight)
    track = track_of(
        found.fixes, gap_s=gap_s, thresholds=thresholds, tolerance_m=query.tolerance_m, most=query.most
    )
    return Drawn(found.name, track, gap_s)


def _now(unit_of_work: UnitOfWork, sight: Sight) -> datetime:
    """Return the moment that the key sees as now, by PostgreSQL's clock."""
    return unit_of_work.order.standing().moment if sight.horizon is None else sight.horizon.moment
