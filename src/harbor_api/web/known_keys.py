"""The API keys that this process has met: whoever has used up its requests is told so without the database.

What is known of a key may be outdated, so it lets nobody in: whoever is let in is looked up by the same
request.
"""

from harbor_api.domain.api_keys import Caller, digest

_MOST = 10_000


class KnownKeys:
    """Callers by the hashes of their keys, as of when they were let in last."""

    def __init__(self) -> None:
        self._known: dict[bytes, Caller] = {}

    def recall(self, secret: str) -> Caller | None:
        """Return whose key this was, None for one that was not met yet."""
        return self._known.get(digest(secret))

    def learn(self, secret: str, caller: Caller | None) -> None:
        """Note whose key this is now; nobody's where it does not hold any more."""
        name = digest(secret)
        self._known.pop(name, None)
        if caller is not None:
            while len(self._known) >= _MOST:
                # The one that came longest ago.
                self._known.pop(next(iter(self._known)), None)
            self._known[name] = caller
