"""Received fixes by the column: a thousand are judged and handed over in a few steps, not in thousands.

Times are microseconds since 1970, as everywhere that fixes stand in columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from harbor_api.domain.columns import Floats, Times, microseconds, moment
from harbor_api.domain.positions import Fix, FixKey, Motion, ReceivedFix

NO_STATUS = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FixColumns:
    """What trackers report: the columns of ``Motion``, NaN where a fix has no measure, and -1 for no status.

    ``number`` is None where the tracker does not count its fixes.
    """

    recorded_at: Times
    lat: Floats
    lon: Floats
    sog: Floats
    cog: Floats
    heading: Floats
    nav_status: NDArray[np.int16]
    accuracy_m: Floats
    battery_v: Floats
    number: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.recorded_at)

    def at(self, places: Any) -> "FixColumns":
        """Return what stands at some places, in the order of these."""
        return FixColumns(**{name: getattr(self, name)[places] for name in _OF_A_FIX})

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers that the tracker gave them."""
        return () if self.number is None else tuple(self.number.tolist())

    def one_by_one(self) -> list[Fix]:
        """Return each for itself."""
        motions = map(Motion, *(_values(getattr(self, name)) for name in Motion._fields))
        numbers = self.numbers() or [None] * len(self)
        moments = map(moment, self.recorded_at.tolist())
        return list(map(Fix, moments, motions, numbers))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReceivedColumns:
    """Fixes of any vessels and trackers together with what ``ReceivedFix`` says of each besides."""

    vessel_id: NDArray[np.int32]
    tracker_id: NDArray[np.int32]
    received_at: Times
    fixes: FixColumns

    def __len__(self) -> int:
        return len(self.vessel_id)

    @classmethod
    def of(cls, received: Sequence[ReceivedFix]) -> "ReceivedColumns":
        """Return fixes, at least one, by the column and in their order; without their numbers."""
        vessel_ids, tracker_ids, received_at, fixes, _ = zip(*received, strict=True)
        recorded_at, motions, _ = zip(*fixes, strict=True)
        lat, lon, sog, cog, heading, nav_status, accuracy_m, battery_v = zip(*motions, strict=True)
        return cls(
            vessel_id=np.array(vessel_ids, np.int32),
            tracker_id=np.array(tracker_ids, np.int32),
            received_at=np.array([*map(microseconds, received_at)], np.int64),
            fixes=FixColumns(
                recorded_at=np.array([*map(microseconds, recorded_at)], np.int64),
                lat=np.array(lat, np.float64),
                lon=np.array(lon, np.float64),
                # None becomes NaN.
                sog=np.array(sog, np.float64),
                cog=np.array(cog, np.float64),
                heading=np.array(heading, np.float64),
                nav_status=np.array([NO_STATUS if each is None else each for each in nav_status], np.int16),
                accuracy_m=np.array(accuracy_m, np.float64),
                battery_v=np.array(battery_v, np.float64),
            ),
        )

    @classmethod
    def joined(cls, several: Sequence["ReceivedColumns"]) -> "ReceivedColumns":
        """Return the fixes of several, one behind the other; without their numbers."""
        if len(several) == 1:
            return several[0]
        return cls(
            **{name: np.concatenate([getattr(each, name) for each in several]) for name in _BESIDES},
            fixes=FixColumns(
                **{
                    name: np.concatenate([getattr(each.fixes, name) for each in several])
                    for name in _OF_A_FIX
                }
            ),
        )

    def at(self, places: Any) -> "ReceivedColumns":
        """Return what stands at some places, in the order of these; without numbers."""
        return ReceivedColumns(
            **{name: getattr(self, name)[places] for name in _BESIDES}, fixes=self.fixes.at(places)
        )


class ByColumn(Sequence[ReceivedFix]):
    """Fixes that are there by the column, and one by one as soon as somebody asks for one."""

    def __init__(self, columns: ReceivedColumns, raws: Sequence[Any]) -> None:
        """Keep columns, and the JSON value that each fix came as."""
        self.columns = columns
        self._raws = raws
        self._made: list[ReceivedFix] | None = None

    def __len__(self) -> int:
        return len(self.columns)

    @overload
    def __getitem__(self, place: int) -> ReceivedFix: ...
    @overload
    def __getitem__(self, place: slice) -> list[ReceivedFix]: ...
    def __getitem__(self, place: int | slice) -> ReceivedFix | list[ReceivedFix]:
        if self._made is None:
            columns = self.columns
            self._made = [
                ReceivedFix(*each)
                for each in zip(
                    columns.vessel_id.tolist(),
                    columns.tracker_id.tolist(),
                    map(moment, columns.received_at.tolist()),
                    columns.fixes.one_by_one(),
                    self._raws,
                    strict=True,
                )
            ]
        return self._made[place]


class Keys(Sequence[FixKey]):
    """The keys of fixes of one vessel that are there by the column, each made when it is asked for."""

    def __init__(self, recorded_at: Times, tracker_id: NDArray[np.int32]) -> None:
        """Name fixes by their times and their trackers."""
        self._recorded_at = recorded_at
        self._tracker_id = tracker_id

    def __len__(self) -> int:
        return len(self._recorded_at)

    @overload
    def __getitem__(self, place: int) -> FixKey: ...
    @overload
    def __getitem__(self, place: slice) -> "Keys": ...
    def __getitem__(self, place: int | slice) -> "FixKey | Keys":
        if isinstance(place, slice):
            return Keys(self._recorded_at[place], self._tracker_id[place])
        return moment(int(self._recorded_at[place])), int(self._tracker_id[place])


_OF_A_FIX = tuple(each.name for each in fields(FixColumns) if each.name != "number")
_BESIDES = tuple(each.name for each in fields(ReceivedColumns) if each.name != "fixes")


def _values(column: NDArray[Any]) -> list[Any]:
    """Return the values of a column, None for each that there is not."""
    values: list[Any] = column.tolist()
    is_none = column == NO_STATUS if column.dtype == np.int16 else np.isnan(column)
    for place in np.flatnonzero(is_none).tolist():
        values[place] = None
    return values
