"""Stretches of the feed that many read who are behind: after a restart all come again at once.

Each stretch ends at a multiple of a number, wherever it began. So whoever reads on meets the others at the
next one, and what one has read is there for all: with filters, too, as to look through what is rendered costs
less than to read it again.
"""

import threading
import time
from collections import OrderedDict

from harbor_api.domain.vessels import COORDINATE_DECIMALS
from harbor_api.live.kinds import Kind
from harbor_api.live.tails import FeedReader, Stretch

# How many numbers a stretch is of, and how many are kept, some 10 MB: whoever is behind by more than that
# reads for itself, as others will hardly be where it is.
_NUMBERS, _MOST = 256, 80
# What was withdrawn meanwhile is told as withdrawn later; what was removed must not be told for long.
_KEPT_S = 10.0
_LOOK_EVERY_S = 2.0


class SharedStretches:
    """Of those who see all at once and as it is; others see what hangs on when they look."""

    def __init__(self, reader: FeedReader) -> None:
        self._reader = reader
        # One reads, and the others wait for what that finds.
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, tuple[float, Stretch]] = OrderedDict()
        self._newest, self._looked_at = 0, -_LOOK_EVERY_S

    def behind(self, kind: Kind, number: int) -> Stretch | None:
        """Return what comes next behind a number, None where that is nobody's but the caller's.

        Expired, Unavailable.
        """
        if kind != Kind(COORDINATE_DECIMALS, delay_s=0):
            return None
        end = (number // _NUMBERS + 1) * _NUMBERS
        with self._lock:
            now = time.monotonic()
            kept = self._kept.get(number)
            if kept is not None and now - kept[0] <= _KEPT_S:
                self._kept.move_to_end(number)
                return kept[1]
            if now - self._looked_at > _LOOK_EVERY_S:
                self._newest, self._looked_at = self._reader.bound(kind.viewer), now
            # The last one is not whole yet, and soon another.
            if not end <= self._newest < number + _NUMBERS * _MOST:
                return None
            stretch = self._reader.read(kind.viewer, number, number=end, most=_NUMBERS)
            self._kept[number] = now, stretch
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
            return stretch
