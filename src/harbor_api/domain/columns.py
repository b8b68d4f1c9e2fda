"""Many fixes of one vessel, by the column: one at a time they would hold up everybody the worker serves."""

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from harbor_api.domain.positions import FixKey
from harbor_api.domain.vessels import DIRECTION_STEP, EPOCH, SPEED_STEP_KN, coarse_accuracy_m, step_of

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
"""Microseconds since 1970 in UTC."""
MICROSECONDS = 1_000_000
_MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """Return how many microseconds a moment is after 1970 began."""
    return microseconds_in(at - EPOCH)


def microseconds_in(span: timedelta) -> int:
    """Return how many microseconds a span of time has."""
    return span // _MICROSECOND


def moment(at: int) -> datetime:
    """Return the moment that is so many microseconds after 1970 began."""
    return EPOCH + timedelta(microseconds=at)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """Fixes of one vessel in order of time: a column for each measure, NaN where a fix has none.

    The measures and their units are those of ``Motion``.
    """

    recorded_at: Times
    lat: Floats
    lon: Floats
    sog: Floats
    cog: Floats
    accuracy_m: Floats

    def __len__(self) -> int:
        return len(self.recorded_at)

    def moment(self, place: int) -> datetime:
        """Return the time of one of the fixes."""
        return moment(int(self.recorded_at[place]))

    def since(self, place: int) -> "Columns":
        """Return the fixes from one of them on; negative places count from the end."""
        return Columns(**{name: getattr(self, name)[place:] for name in _NAMES})


_NAMES = tuple(each.name for each in fields(Columns))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """Fixes of a vessel that were asked for, and what is to be known of her.

    ``last`` names the last of them where there are more; None where that is all.
    """

    name: str
    max_speed_kn: float | None
    fixes: Columns
    last: FixKey | None


def joined(fixes: Columns, following: Columns) -> Columns:
    """Return fixes and those that follow on them."""
    return Columns(
        **{name: np.concatenate((getattr(fixes, name), getattr(following, name))) for name in _NAMES}
    )


def coarsened(fixes: Columns, decimals: int) -> Columns:
    """Return fixes as a key with so many decimals sees each: as ``vessels.coarsened`` makes it."""
    step = round(step_of(decimals).total_seconds() * MICROSECONDS)
    return replace(
        fixes,
        recorded_at=fixes.recorded_at // step * step,
        sog=_nearest(fixes.sog, SPEED_STEP_KN),
        cog=_nearest(fixes.cog, DIRECTION_STEP) % 360,
        accuracy_m=np.full(len(fixes), coarse_accuracy_m(decimals)),
    )


def _nearest(values: Floats, step: float) -> Floats:
    nearest: Floats = np.rint(values / step) * step
    return nearest
