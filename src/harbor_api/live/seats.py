"""How many may follow at once: each key, and all together."""

from collections import Counter

from harbor_api.domain.errors import RateLimited
from harbor_api.telemetry import metrics

_RETRY_AFTER_S = 5


class Seats:
    """Places for those who follow."""

    def __init__(self, what: str, *, kind: str, most: int, most_of_a_key: int) -> None:
        """Have so many places; ``what`` takes one stands in what is told where there is none left.

        They are counted as those of a ``kind``.
        """
        self._what = what
        self.kind = kind
        self.most = most
        self._most_of_a_key = most_of_a_key
        self._of_key: Counter[int] = Counter()
        self.taken = 0

    def take(self, key_id: int) -> "Seat":
        """Take a place for a key; RateLimited where there is none."""
        if self._of_key[key_id] >= self._most_of_a_key:
            raise self._refusal(f"This key has {self._most_of_a_key} {self._what} already: end one of them")
        if self.taken >= self.most:
            raise self._refusal(f"There are as many {self._what} as there may be")
        self._of_key[key_id] += 1
        self.taken += 1
        return Seat(self, key_id)

    def give_back(self, key_id: int) -> None:
        """Have a place again."""
        self.taken -= 1
        self._of_key[key_id] -= 1
        if not self._of_key[key_id]:
            del self._of_key[key_id]

    def _refusal(self, detail: str) -> RateLimited:
        metrics.FOLLOWERS_REFUSED.labels(self.kind).inc()
        return RateLimited(detail, headers={"Retry-After": str(_RETRY_AFTER_S)})


class Seat:
    """A place that a key has taken."""

    __slots__ = ("_key_id", "_seats")

    def __init__(self, seats: Seats, key_id: int) -> None:
        self._seats: Seats | None = seats
        self._key_id = key_id

    def leave(self) -> None:
        """Give the place back, once."""
        seats, self._seats = self._seats, None
        if seats is not None:
            seats.give_back(self._key_id)
