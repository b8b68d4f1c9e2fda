"""Connections are shared out among workers: none takes one that another has more room for.

All workers accept from one socket, and whichever is idle takes the next connection. Connections stay open, so
that chance would last: the worker that was up first, or idle when a proxy opened its connections, has most of
them, and the others look on. So each worker says on a board, in memory that all of them share, how many it
holds. One that holds more than another lets that one go first, for a moment; and none accepts before all have
loaded the application, or the first would take all that came meanwhile.

What stands on the board is only ever a reason to wait for a moment: nothing is refused for it.
"""

import mmap
import time
from functools import partial
from typing import Any

from gevent.hub import get_hub
from gevent.server import StreamServer

# More than there ever are at once: those that end while others begin in their place count, too.
_PLACES = 256
# A worker that has not said anything for so long is gone. Each does once a second.
_SILENT_S = 3.0
# How often others are let go first at most, for a moment each time.
_MOST_TURNS = 25
_TURN_S = 0.001
# So much more may one hold: to be exact is not worth the waiting.
_MORE = 1.1


class Board:
    """How many connections each worker holds; to be made before these are forked."""

    def __init__(self) -> None:
        self._numbers = memoryview(mmap.mmap(-1, _PLACES * 16)).cast("d")

    def place(self, age: int) -> "Place":
        """Return where the worker writes that is the so many-th of all."""
        return Place(self._numbers, age % _PLACES)


class Place:
    """What one worker says of itself, and reads of the others. Times are those of ``time.monotonic``."""

    def __init__(self, numbers: "memoryview[float]", number: int) -> None:
        self._numbers = numbers
        self._number = number

    @property
    def held(self) -> int:
        """How many connections this worker holds."""
        return int(self._numbers[2 * self._number + 1])

    def note(self, held: int) -> None:
        """Say how many connections this worker holds."""
        self._numbers[2 * self._number + 1] = held

    def beat(self) -> None:
        """Say that this worker takes connections, or is about to."""
        self._numbers[2 * self._number] = time.monotonic()

    def end(self) -> None:
        """Say that it takes none any more."""
        self._numbers[2 * self._number] = 0

    def is_held(self) -> bool:
        """Return whether there is a worker that takes connections, or is about to."""
        return self._numbers[2 * self._number] > time.monotonic() - _SILENT_S

    @property
    def has_ended(self) -> bool:
        """Whether the worker has said that it takes none any more."""
        return self._numbers[2 * self._number] == 0

    def others(self) -> list[int]:
        """Return how many connections each other worker holds."""
        since = time.monotonic() - _SILENT_S
        return [
            int(self._numbers[2 * each + 1])
            for each in range(_PLACES)
            if each != self._number and self._numbers[2 * each] > since
        ]

    def is_crowded(self) -> bool:
        """Return whether another worker should rather take the next connection."""
        return self.held > _MORE * min(self.others(), default=self.held) + 1


class SharingServer(StreamServer):
    """gevent's server, which lets workers that hold fewer connections go first."""

    # Or one worker takes all that are waiting at once.
    max_accept = 1

    def __init__(self, worker: Any, listener: Any, *, spawn: Any, **_: Any) -> None:
        """Serve as ``worker`` does, which has a ``place``; gunicorn gives more than is needed."""
        super().__init__(listener, handle=partial(worker.handle, listener), spawn=spawn)
        self._place: Place = worker.place
        self._turns_of_others = 0
        self._turn: Any = None

    def do_read(self) -> Any:
        """Return an accepted connection; None where there is none, or another worker is let go first."""
        # gevent goes on by itself where a connection ends meanwhile.
        self._end_turn()
        if self._turns_of_others < _MOST_TURNS and self._place.is_crowded():
            self._turns_of_others += 1
            self.stop_accepting()
            self._turn = get_hub().loop.timer(_TURN_S)
            self._turn.start(self._go_on)
            return None
        self._turns_of_others = 0
        return super().do_read()

    def close(self) -> None:
        self._end_turn()
        super().close()

    def _go_on(self) -> None:
        self._end_turn()
        if self.started:
            self.start_accepting()

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._turn.close()
            self._turn = None
