"""The trackers that this process has met: a signature is checked without asking the database first.

What is known of a tracker may be outdated, so it decides nothing by itself. Whoever stores what a tracker
sent demands in the same transaction that the tracker is still the same, and whoever is to be refused is
looked up first. So a change holds from the very next request on, in all workers, and costs no look-up.
"""

from collections.abc import Callable

from harbor_api.domain.trackers import Tracker

_MOST = 20_000


class TrackerChanged(Exception):
    """A tracker is not any more what its signature was checked against; the check has to be made again.

    No caller is told of it.
    """


class KnownTrackers:
    """Trackers by their numbers, as of when they were looked up last."""

    def __init__(self, find: Callable[[int], Tracker | None]) -> None:
        self._find = find
        self._known: dict[int, Tracker] = {}

    def recall(self, number: int) -> Tracker | None:
        """Return what is known of a tracker, None for one that was not met yet."""
        return self._known.get(number)

    def look_up(self, number: int) -> Tracker | None:
        """Return a tracker as it is now, None where there is none."""
        tracker = self._find(number)
        self._known.pop(number, None)
        if tracker is not None:
            while len(self._known) >= _MOST:
                # The one that was looked up longest ago.
                self._known.pop(next(iter(self._known)), None)
            self._known[number] = tracker
        return tracker

    def forget(self) -> None:
        """Forget all trackers."""
        self._known.clear()
