"""Lines that say the same again and again: an outage must not flood the log."""

import time
from collections.abc import Hashable

# For so long the same is not said again; how often it was the case meanwhile is told with the next line.
_QUIET_S = 10.0
_MOST_KEPT = 64


class Repeats:
    """Tells which of many lines that say the same are to be written."""

    def __init__(self) -> None:
        # When something was said last, and how often it was left out since.
        self._said: dict[Hashable, tuple[float, int]] = {}

    def left_out(self, what: Hashable) -> int | None:
        """Return how often something was left out since it was said last; None where to leave it out now."""
        now = time.monotonic()
        said_at, many = self._said.pop(what, (-_QUIET_S, 0))
        if is_quiet := now - said_at < _QUIET_S:
            self._said[what] = said_at, many + 1
        else:
            self._said[what] = now, 0
        if len(self._said) > _MOST_KEPT:
            # The one that has not been the case for longest.
            del self._said[next(iter(self._said))]
        return None if is_quiet else many
