"""The API keys that this process has met, and how each request finds out whose key it presents.

Whoever is let in is looked up by the same request: a key that is revoked, ends or is changed counts at once,
on every worker. Requests that come at the same time are looked up together, with one statement: alone the
look-up costs more than all that a small read does besides.

What is remembered of a key may be outdated, so it lets nobody in: whoever has used up its requests is told so
without the database.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from harbor_api.database import Database
from harbor_api.domain.api_keys import Caller, digest
from harbor_api.domain.errors import KeyInvalid, KeyRevoked
from harbor_api.postgres.grouping import Grouping
from harbor_api.services import api_keys
from harbor_api.settings import Settings

_MOST = 10_000
_MOST_IN_GROUP = 250


class KnownKeys:
    """Callers by the hashes of their keys, as of when they were let in last."""

    def __init__(self, database: Database, settings: Settings) -> None:
        """Look keys up in a database, and let as many wait for that as the settings say."""
        self._database = database
        self._look_ups = Grouping(
            self.recognise,
            name="keys",
            most_in_group=_MOST_IN_GROUP,
            most_waiting=settings.max_waiting,
            patience_s=settings.patience_s,
        )
        self._known: dict[bytes, Caller] = {}

    @property
    def queue(self) -> Grouping[bytes, Caller | KeyInvalid | KeyRevoked]:
        """What is looked up in groups here."""
        return self._look_ups

    def recall(self, secret: str) -> Caller | None:
        """Return whose key this was, None for one that was not met yet."""
        return self._known.get(digest(secret))

    def look_up(self, secret: str) -> Caller:
        """Return whose key this is now; KeyInvalid or KeyRevoked where it does not hold, and Unavailable."""
        name = digest(secret)
        found = self._look_ups.do(name)
        self._known.pop(name, None)
        if not isinstance(found, Caller):
            raise found
        while len(self._known) >= _MOST:
            # The one that came longest ago.
            self._known.pop(next(iter(self._known)), None)
        self._known[name] = found
        return found

    def recognise(self, hashes: Sequence[bytes]) -> list[Caller | KeyInvalid | KeyRevoked]:
        """Return whose keys have these hashes now, or what to raise, in order; Unavailable."""
        with self._database.autocommit() as unit_of_work:
            return api_keys.recognise(unit_of_work, hashes, now=datetime.now(UTC))
