"""Which fixes a search comes to, by what the fleet is just now."""

from typing import NamedTuple

from harbor_api.domain.api_keys import Caller
from harbor_api.domain.feed import Following
from harbor_api.domain.fleet_search import Search
from harbor_api.live.fleet import LiveFleet


class Resolved(NamedTuple):
    """What a search comes to, up to a number of the committed order: vessels that came later are not in it.

    ``number`` is None where it holds whatever comes.
    """

    following: Following
    number: int | None


def resolve(fleet: LiveFleet, viewer: Caller, search: Search) -> Resolved:
    """Return which vessels a search means now; Unavailable.

    What a vessel is called and is, is asked of the fleet as it is, be she in service or retired.
    """
    asked = (search.imos, search.mmsis, search.kinds, search.flags)
    if all(each is None for each in asked):
        return Resolved(Following(vessel_ids=search.vessel_ids, box=search.box), None)
    reading = fleet.read(viewer)
    identities = Search(
        vessel_ids=search.vessel_ids,
        imos=search.imos,
        mmsis=search.mmsis,
        kinds=search.kinds,
        flags=search.flags,
    )
    ids = frozenset(each.id for each in reading.picture if identities.keeps(each))
    return Resolved(Following(vessel_ids=ids, box=search.box), reading.number)
