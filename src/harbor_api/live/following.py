"""Which fixes a search comes to, and which vessels a subscription, by what the fleet is just now."""

from collections.abc import Iterable
from typing import NamedTuple

from harbor_api.domain.api_keys import Caller
from harbor_api.domain.feed import Following
from harbor_api.domain.fleet_search import Search
from harbor_api.domain.times import rfc3339
from harbor_api.live.audiences import Scope, Subscription
from harbor_api.live.fleet import LiveFleet
from harbor_api.live.fragments import Fragment, Picture


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


class Scopes:
    """What subscriptions come to."""

    def __init__(self, fleet: LiveFleet) -> None:
        self._fleet = fleet
        self._newest_of: tuple[Picture, str] | None = None

    def find(self, subscription: Subscription) -> Scope:
        """Return which vessels a subscription comes to now; Unavailable."""
        viewer, search = subscription.viewer, subscription.search
        ids, number = search.vessel_ids, None
        if subscription.needs_fleet:
            found = resolve(self._fleet, viewer, search)
            ids, number = found.following.vessel_ids, found.number
        if not viewer.all_vessels:
            granted = self._fleet.read(viewer).granted
            may_see = frozenset(() if granted is None else granted.ids)
            ids = may_see if ids is None else ids & may_see
        return Scope(ids, number)

    def newest(self, subscription: Subscription, scope: Scope) -> str:
        """Return when the newest was received of what a subscription shows, as text; or empty."""
        picture = self._fleet.read(subscription.viewer).picture
        box = subscription.search.box
        is_whole = scope.ids is None and box is None
        if is_whole and self._newest_of is not None and self._newest_of[0] is picture:
            return self._newest_of[1]
        found: Iterable[Fragment | None] = picture if scope.ids is None else map(picture.get, scope.ids)
        times = [
            each.received_at
            for each in found
            if each is not None
            and each.received_at is not None
            and each.lat is not None
            and each.lon is not None
            and (box is None or box.holds(each.lat, each.lon))
        ]
        newest = rfc3339(max(times)) if times else ""
        if is_whole:
            # Of a large fleet all are looked at for it.
            self._newest_of = picture, newest
        return newest
