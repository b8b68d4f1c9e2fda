"""Summing up what a vessel did, from all her fixes that a key may see."""

from dataclasses import replace
from datetime import datetime

from harbor_api.database import Database
from harbor_api.domain.columns import Stretch
from harbor_api.domain.errors import Fault, InvalidParameter
from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.order import Standing
from harbor_api.domain.positions import FixKey
from harbor_api.domain.summaries import LONGEST, Summary, Tally
from harbor_api.postgres.sight import Sight
from harbor_api.schemas.summaries import SummaryQuery
from harbor_api.services import windows

# So many take PostgreSQL some 30 ms, and the worker 5 in which it serves nobody else.
_CHUNK = 20_000


def summarise(
    database: Database,
    sight: Sight,
    vessel_id: int,
    query: SummaryQuery,
    *,
    standing: Standing,
    thresholds: Thresholds,
) -> Summary:
    """Return what a vessel did, as far as the order stands; NotFound where the key may not see her.

    InvalidParameter where it is too long a time. Between two chunks no connection is held.
    """
    since = _since(query, sight, standing)

    def read(beyond: FixKey | None) -> Stretch:
        return database.read(
            lambda it: it.tracks(sight).columns(
                vessel_id, since, query.end, most=_CHUNK, beyond=beyond, number=standing.number
            )
        )

    found = read(None)
    if found.max_speed_kn is not None:
        thresholds = replace(thresholds, max_speed_kn=found.max_speed_kn)
    tally = Tally(gap_s=windows.gap_s(query.gap_s, sight), thresholds=thresholds)
    tally.add(found.fixes)
    while found.last is not None:
        found = read(found.last)
        tally.add(found.fixes)
    return tally.summary()


def _since(query: SummaryQuery, sight: Sight, standing: Standing) -> datetime:
    """Return the first moment that is asked for."""
    now = standing.moment if sight.horizon is None else sight.horizon.moment
    end = query.end or now
    since = query.start or windows.usual_start(end)
    if end - since > LONGEST:
        told = f"Must be at most {LONGEST.days} days before `to`, or before now without one."
        raise InvalidParameter(faults=[Fault(told, parameter="from")])
    return since
