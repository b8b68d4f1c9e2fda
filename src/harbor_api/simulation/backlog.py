"""Rows that wait to be sent: gathered by ship into batches, in the order in which they came.

Published files hold a row of each ship in turn, and a batch holds one ship's. So rows wait until there are
enough of a ship, or until the reader is so far ahead that memory ends; and no ship has two batches under
way, since the later one might overtake.
"""

import threading
import time
from dataclasses import dataclass, field
from typing import NamedTuple

# What may wait, in bytes: half a million rows. The more, the fuller the batches of a file of many ships.
_MOST_BYTES = 64 * 1024 * 1024
# What a row costs beyond its bytes.
_OVERHEAD = 120
# A row waits no longer than this while there is a worker for it, so that a pipe may be slow.
_LINGER_S = 1.0


class Waiting(NamedTuple):
    """A row as it is sent, as it was read (empty where nobody wants that), and its line."""

    line: int
    fix: bytes
    raw: bytes


@dataclass(slots=True)
class _Rows:
    waiting: list[Waiting] = field(default_factory=list)
    is_under_way: bool = False


class Backlog:
    """Where one reader puts rows and several workers take batches of them."""

    def __init__(self, largest_batch: int, *, most_bytes: int = _MOST_BYTES) -> None:
        self._largest = largest_batch
        self._most_bytes = most_bytes
        self._bytes = 0
        self._changed = threading.Condition()
        self._ships: dict[str, _Rows] = {}
        # Ships that could be taken, by the binary order of how much of them waits: it takes no search to
        # find one that has about the most.
        self._by_size: list[dict[str, None]] = [{} for _ in range(largest_batch.bit_length() + 1)]
        # Since when each of them waits, the longest first.
        self._since: dict[str, float] = {}
        self._has_ended = False

    def put(self, ship: str, row: Waiting, *, timeout: float) -> bool:
        """Add a row of a ship; False where there was no room for it in this time."""
        size = len(row.fix) + len(row.raw) + _OVERHEAD
        with self._changed:
            if self._bytes >= self._most_bytes:
                self._changed.wait_for(lambda: self._bytes < self._most_bytes, timeout)
                if self._bytes >= self._most_bytes:
                    return False
            self._bytes += size
            rows = self._ships.get(ship)
            if rows is None:
                rows = self._ships[ship] = _Rows()
            before = self._size_of(rows)
            rows.waiting.append(row)
            if not rows.is_under_way:
                if not before:
                    self._since[ship] = time.monotonic()
                self._move(ship, before, self._size_of(rows))
                if len(rows.waiting) == self._largest:
                    self._changed.notify()
        return True

    def end(self) -> None:
        """Say that no more rows will come: what is there is taken, however little it is."""
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    @property
    def is_over(self) -> bool:
        """Whether no more rows will come and all were taken."""
        with self._changed:
            return self._has_ended and not self._bytes

    def take(self, *, timeout: float) -> tuple[str, list[Waiting]] | None:
        """Return a ship and its oldest rows, up to a batch; None where none is due in this time.

        The ship is then under way, and no other worker gets it, until ``done``.
        """
        with self._changed:
            if not self._is_due():
                self._changed.wait(timeout)
                if not self._is_due():
                    return None
            fullest = next(ships for ships in reversed(self._by_size) if ships)
            ship = next(iter(fullest))
            rows = self._ships[ship]
            self._move(ship, self._size_of(rows), 0)
            del self._since[ship]
            rows.is_under_way = True
            batch = rows.waiting[: self._largest]
            del rows.waiting[: self._largest]
            self._bytes -= sum(len(row.fix) + len(row.raw) + _OVERHEAD for row in batch)
            self._changed.notify_all()
            return ship, batch

    def done(self, ship: str) -> None:
        """Let the next rows of a ship go."""
        with self._changed:
            rows = self._ships[ship]
            rows.is_under_way = False
            if rows.waiting:
                self._since[ship] = time.monotonic()
                self._move(ship, 0, self._size_of(rows))
                self._changed.notify()
            else:
                del self._ships[ship]

    def _is_due(self) -> bool:
        if self._by_size[-1]:
            return True
        oldest = next(iter(self._since.values()), None)
        if oldest is None:
            return False
        return self._has_ended or self._bytes >= self._most_bytes or time.monotonic() - oldest >= _LINGER_S

    def _size_of(self, rows: _Rows) -> int:
        length = len(rows.waiting)
        return len(self._by_size) - 1 if length >= self._largest else length.bit_length()

    def _move(self, ship: str, before: int, after: int) -> None:
        if before != after:
            if before:
                del self._by_size[before][ship]
            if after:
                self._by_size[after][ship] = None
