"""How keys see, apart from which vessels: what is kept for one key is kept for all of its kind."""

from typing import NamedTuple

from harbor_api.domain.api_keys import Caller
from harbor_api.domain.vessels import COORDINATE_DECIMALS


class Kind(NamedTuple):
    """How a key sees: decimals of a degree, seconds late, and days back, None for as far as there is."""

    decimals: int
    delay_s: int
    history_days: int | None = None

    @classmethod
    def of(cls, viewer: Caller) -> "Kind":
        """Return how a key sees."""
        decimals = viewer.coordinate_decimals
        decimals = COORDINATE_DECIMALS if decimals is None else decimals
        return cls(decimals, viewer.delay_s, viewer.history_days)

    @property
    def now(self) -> "Kind":
        """How it sees what is now: that hangs on nothing that is past."""
        return self._replace(history_days=None)

    @property
    def viewer(self) -> Caller:
        """Somebody who sees all vessels in this way."""
        return Caller(
            id=0,
            name="all",
            scopes=frozenset(),
            all_vessels=True,
            delay_s=self.delay_s,
            coordinate_decimals=self.decimals,
            requests_per_minute=None,
            history_days=self.history_days,
        )
