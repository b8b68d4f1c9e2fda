"""A batch read by the column: all its fixes at once, where their times have one form and nothing is unusual.

``load_columns`` returns what ``load_fix`` makes of each fix, or None at the least doubt: then each is to be
read for itself. What a fix may be says ``FixSchema``; tests hold the two
together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harbor_api.domain.columns import MICROSECONDS, Floats, Times, microseconds
from harbor_api.domain.positions import COORDINATE_DECIMALS, LARGE, MEASURE_DECIMALS, kept, kept_accuracy
from harbor_api.domain.received_columns import NO_STATUS, FixColumns
from harbor_api.domain.times import from_rfc3339
from harbor_api.schemas import positions as bounds

_MEMBERS = frozenset(bounds.FixSchema().fields)
_REQUIRED = frozenset({"recorded_at", "lat", "lon"})
_NUMBERS: frozenset[type] = frozenset({float, int})
_NUMBERS_OR_NULL: frozenset[type] = _NUMBERS | {type(None)}
# Fewer are read one by one in less time.
LEAST = 16
# The years of which PostgreSQL and Python count the microseconds without loss, and far more than are sent.
_YEARS = 1970, 2100
_ZERO, _NINE = ord("0"), ord("9")


def load_columns(items: Sequence[Any]) -> FixColumns | None:
    """Return the fixes that the JSON values of a batch are, None where each has to be read for itself."""
    if len(items) < LEAST or set(map(type, items)) != {dict}:
        return None
    names: set[str] = set().union(*items)
    if not _REQUIRED <= names <= _MEMBERS:
        return None
    # Only now is it gone through by name, as a body may be full of names. What a fix says nothing of is null:
    # which is the same, or refused below where it may not be null.
    told = {name: tuple([each.get(name) for each in items]) for name in names}
    try:
        return _columns(len(items), told)
    except _Doubt:
        return None


class _Doubt(Exception):
    """Something is not in the usual form; it may be right."""


def _columns(many: int, told: dict[str, tuple[Any, ...]]) -> FixColumns:
    nothing = np.full(many, np.nan)
    measures = {
        name: _measures(told[name], most) if name in told else nothing
        for name, most in (
            ("sog", bounds.NO_SOG),
            ("cog", bounds.NO_COG),
            ("heading", bounds.NO_HEADING),
            ("accuracy_m", bounds.MOST_ACCURACY_M),
            ("battery_v", bounds.MOST_BATTERY_V),
        )
    }
    heading = measures["heading"]
    _demand(~((heading > bounds.MOST_HEADING) & (heading < bounds.NO_HEADING)))
    accuracy_m = measures["accuracy_m"]
    for place in np.flatnonzero(accuracy_m >= LARGE):
        accuracy_m[place] = kept_accuracy(float(accuracy_m[place]))
    return FixColumns(
        recorded_at=_times(told["recorded_at"]),
        lat=_floats(told["lat"], _NUMBERS, -bounds.MOST_LAT, bounds.MOST_LAT, COORDINATE_DECIMALS),
        lon=_floats(told["lon"], _NUMBERS, -bounds.MOST_LON, bounds.MOST_LON, COORDINATE_DECIMALS),
        sog=_without(measures["sog"], bounds.NO_SOG),
        cog=_without(measures["cog"], bounds.NO_COG),
        heading=_without(heading, bounds.NO_HEADING) % 360,
        nav_status=_statuses(told.get("nav_status", (None,) * many)),
        accuracy_m=accuracy_m,
        battery_v=measures["battery_v"],
        number=_numbers(told["number"]) if "number" in told else None,
    )


def _demand(condition: Any) -> None:
    if not np.all(condition):
        raise _Doubt


def _floats(
    told: tuple[Any, ...], types: frozenset[type], least: float, most: float, decimals: int
) -> Floats:
    """Return JSON numbers as they are kept, NaN for null."""
    _demand(types.issuperset(map(type, told)))
    try:
        values = np.array(told, np.float64)
    except OverflowError:
        raise _Doubt from None
    is_null = np.isnan(values)
    # No JSON holds a NaN of its own; here it would be taken for null.
    _demand(not is_null.any() or np.count_nonzero(is_null) == told.count(None))
    # What is far beyond overflows below.
    _demand(((values > least - 1) & (values < most + 1)) | is_null)
    scale = 10.0**decimals
    # A number that a division makes of a whole one is the nearest to that decimal: it is rounded already.
    for place in np.flatnonzero((np.rint(values * scale) / scale != values) & ~is_null):
        values[place] = kept(float(values[place]), decimals)
    _demand(((values >= least) & (values <= most)) | is_null)
    # Never minus zero.
    return values + 0.0


def _measures(told: tuple[Any, ...], most: float) -> Floats:
    return _floats(told, _NUMBERS_OR_NULL, 0, most, MEASURE_DECIMALS)


def _without(values: Floats, not_available: float) -> Floats:
    return np.where(values == not_available, np.nan, values)


def _statuses(told: tuple[Any, ...]) -> NDArray[np.int16]:
    _demand({int, type(None)}.issuperset(map(type, told)))
    known = [NO_STATUS if each is None else each for each in told]
    _demand(min((each for each in told if each is not None), default=0) >= 0)
    _demand(max(known) <= bounds.NO_STATUS)
    statuses = np.array(known, np.int16)
    return np.where(statuses == bounds.NO_STATUS, np.int16(NO_STATUS), statuses)


def _numbers(told: tuple[Any, ...]) -> NDArray[np.int64]:
    _demand({int}.issuperset(map(type, told)))
    _demand(min(told) >= 0 and max(told) <= bounds.MOST_NUMBER)
    return np.array(told, np.int64)


def _times(told: tuple[Any, ...]) -> Times:
    """Return RFC 3339 times of one form: digits where the first has them, and its characters elsewhere."""
    first = told[0]
    _demand(from_rfc3339(first) is not None and set(map(type, told)) == {str})
    _demand(set(map(len, told)) == {len(first)})
    try:
        characters = np.frombuffer("".join(told).encode("ascii"), np.uint8).reshape(len(told), -1)
    except UnicodeEncodeError:
        raise _Doubt from None
    # One offset for all: it begins behind the seconds and their fraction.
    end = next(place for place, each in enumerate(first) if place > _SECOND and each in "Zz+-")
    is_digit = (characters[0] >= _ZERO) & (characters[0] <= _NINE)
    is_digit[end:] = False
    _demand(characters[:, ~is_digit] == characters[0, ~is_digit])
    digits = characters - np.uint8(_ZERO)
    _demand(digits[:, is_digit] <= 9)
    year, month, day, hour, minute, second = (_whole(digits[:, place]) for place in _PLACES)
    _demand((year >= _YEARS[0]) & (year < _YEARS[1]) & (month >= 1) & (month <= 12))
    # A leap second is looked at for itself.
    _demand((day >= 1) & (hour <= 23) & (minute <= 59) & (second <= 59))
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    begins, ends = (each.astype("datetime64[D]").astype(np.int64) for each in (months, months + 1))
    _demand(day <= ends - begins)
    fraction = digits[:, _SECOND + 2 : min(end, _SECOND + 8)]
    parts = _whole(fraction) * 10 ** (6 - fraction.shape[1]) if fraction.shape[1] else 0
    seconds = (((begins + day - 1) * 24 + hour) * 60 + minute) * 60 + second
    times: Times = seconds * MICROSECONDS + parts - _offset(first[end:])
    return times


# Where the date and the time of day stand, and the last digit of the seconds.
_PLACES = slice(0, 4), slice(5, 7), slice(8, 10), slice(11, 13), slice(14, 16), slice(17, 19)
_SECOND = 18
_NOON = "2000-01-01T12:00:00"


def _whole(digits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the whole number that each row of digits is."""
    whole = np.zeros(len(digits), np.int64)
    for column in digits.T:
        whole = whole * 10 + column
    return whole


def _offset(text: str) -> int:
    """Return how many microseconds an offset is ahead of UTC."""
    at, noon = from_rfc3339(_NOON + text), from_rfc3339(_NOON + "Z")
    if at is None or noon is None:
        raise _Doubt
    return microseconds(noon) - microseconds(at)
