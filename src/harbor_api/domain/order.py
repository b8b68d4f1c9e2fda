"""The committed order: each stored fix, each change of a vessel and each withdrawal has a number of it.

Numbers become visible in their own order, so whoever has read up to one has missed nothing below it. None is
given twice: where a server takes over that had not got the last commits, or a backup is restored, the order
goes on far above all that was given before (a ``Fence``), and whoever has read of what is lost is told so.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

# A delayed key's sight moves on in steps of a sixtieth of its delay, at the same moments for all workers.
_STEPS_A_DELAY = 60
_LEAST_STEP = timedelta(seconds=1)
UNDER_WAY = timedelta(minutes=10)
"""How long a fix may take from its reception to its commit, with the clocks of several hosts among it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the order stands at a moment by PostgreSQL's clock: at the greatest number that is visible."""

    moment: datetime
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """How far a key sees: fixes that are no later than ``moment`` and have no number above ``number``.

    To a key with a delay that is the order as it was: up to, and not beyond, the first fix that was recorded
    or received after the moment.
    """

    moment: datetime
    number: int


class Fence(NamedTuple):
    """Where the order went on that another server began, which may have given more numbers than are left.

    What had numbers up to ``survived`` is there still, and what comes has numbers above ``resumed``.
    ``origin`` names the server, and its life, that goes on with it.
    """

    survived: int
    resumed: int
    origin: str


def step_of_delay(delay: timedelta) -> timedelta:
    """Return in which steps the sight of a key with a delay moves on."""
    return max(_LEAST_STEP, delay / _STEPS_A_DELAY)
