"""The fleet as it was at a moment, and one vessel of it.

No connection is held from one read to the next: all of them go by one number of the committed order, so what
is stored between two of them is not seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.errors import Fault, InvalidParameter, NotFound
from harbor_api.domain.fleet_search import Bearing, Search
from harbor_api.domain.judgement import Thresholds
from harbor_api.domain.moments import Known, Place, VesselThen, place_at
from harbor_api.domain.order import Standing
from harbor_api.domain.positions import Neighbour
from harbor_api.domain.times import rfc3339
from harbor_api.domain.vessels import stale_from
from harbor_api.postgres.sight import Sight

# How many vessels are placed in one go: what a worker does in a few milliseconds, before others have a turn.
_TOGETHER = 500

Placed = tuple[VesselThen, Bearing | None]


class _Read(NamedTuple):
    """What is read of some vessels: all of them, those that are wanted, what is known of these, and when."""

    vessels: list[VesselThen]
    wanted: list[VesselThen]
    known: dict[int, Known]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """By what a place is told: the longest gap that is bridged, what a vessel can do, and what is stale."""

    gap: timedelta
    limits: Thresholds
    stale_after: timedelta


def stand(unit_of_work: UnitOfWork, sight: Sight, moment: datetime, *, parameter: str) -> Standing:
    """Return PostgreSQL's time, and up to which number of the order the key sees a moment of the past.

    InvalidParameter, which names the ``parameter``, where the moment is later than all that it sees.
    """
    standing = unit_of_work.order.standing()
    newest = sight.horizon or standing
    if moment > newest.moment:
        told = f"Later than all that this key sees: ask for {rfc3339(newest.moment)} or earlier."
        raise InvalidParameter(faults=[Fault(told, parameter=parameter)])
    return Standing(moment=standing.moment, number=newest.number)


def fleet_at(
    database: Database,
    sight: Sight,
    moment: datetime,
    *,
    number: int,
    search: Search,
    retired: bool,
    rules: Rules,
    behind: int = 0,
) -> Iterator[list[Placed]]:
    """Yield the vessels that are asked for as they were at a moment: some at a time, in order of id.

    The moment is one that the key sees, by what has come up to a ``number`` of the order (see ``stand``).
    What is searched for is looked for in what the key is shown of that moment. Only vessels ``behind`` an id
    are read.
    """
    # What is known of all times is asked first, so that fewer have to be placed.
    named = replace(search, box=None, near=None, updated_since=None, stale=None)
    found = _TOGETHER
    while found == _TOGETHER:

        def read(unit_of_work: UnitOfWork, behind: int = behind) -> _Read:
            past = unit_of_work.moments(sight, moment, number=number)
            vessels = past.vessels(
                retired=retired, vessel_ids=search.vessel_ids, behind=behind, most=_TOGETHER
            )
            wanted = [each for each in vessels if named.keeps(each)]
            known = past.fixes([each.id for each in wanted], gap=rules.gap) if wanted else {}
            return _Read(vessels, wanted, known, past.at)

        vessels, wanted, known, at = database.read(read)
        yield list(search.among(_placed(wanted, known, sight, at, rules)))
        found = len(vessels)
        behind = vessels[-1].id if vessels else behind


def vessel_at(
    unit_of_work: UnitOfWork, sight: Sight, vessel_id: int, moment: datetime, *, rules: Rules
) -> VesselThen:
    """Return one vessel, in service or retired, as it was at a moment that the key sees.

    NotFound where there is no such vessel, or the key may not see it.
    """
    past = unit_of_work.moments(sight, moment)
    found = past.vessels(vessel_ids=[vessel_id], most=1)
    if not found:
        raise NotFound(f"There is no vessel {vessel_id}")
    known = past.fixes([vessel_id], gap=rules.gap)
    [placed] = _placed(found, known, sight, past.at, rules)
    return placed


def _placed(
    vessels: list[VesselThen], known: dict[int, Known], sight: Sight, at: datetime, rules: Rules
) -> Iterator[VesselThen]:
    is_coarse = sight.is_coarse
    step = sight.step if is_coarse else timedelta()
    for vessel in vessels:
        found = known.get(vessel.id)
        if found is None:
            yield vessel
            continue
        before = found.before
        if is_coarse:
            place: Place | None = Place(before.lat, before.lon, "last_known")
        else:
            one = Neighbour(before.recorded_at, before.lat, before.lon, before.accuracy_m)
            speed = vessel.max_speed_kn
            limits = rules.limits if speed is None else replace(rules.limits, max_speed_kn=speed)
            place = place_at(at, one, found.after, gap=rules.gap, limits=limits)
        assert place is not None
        yield vessel.at(
            at,
            found,
            place,
            stale_at=stale_from(before.recorded_at, stale_after=rules.stale_after, step=step),
        )
