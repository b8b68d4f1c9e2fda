"""Where a vessel was, by the column: what tracks and summaries are made of."""

import struct
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from harbor_api.domain.columns import Columns, Floats, Stretch, coarsened
from harbor_api.domain.errors import NotFound
from harbor_api.domain.positions import LARGE, LARGE_DECIMALS, MEASURE_DECIMALS, FixKey
from harbor_api.postgres import statements
from harbor_api.postgres.arrays import SINCE_1970
from harbor_api.postgres.sight import IS_GRANTED, SEEN, Sight, stretch
from harbor_api.postgres.statements import Statement

# What the binary form of an array of one dimension begins with (array_send), before its elements, each after
# its length.
_HEAD = struct.calcsize(">iiIii")
_KNOTS = struct.Struct(">d")
_ID = struct.Struct(">i")


def _columns(*, coarse: bool) -> bytes:
    """Return the statement that reads columns of fixes in one row, and nothing where the key may not.

    No element is null: PostgreSQL has NaN for its four bytes, too.
    """
    lat, lon = (
        f"round({name}::numeric, %(decimals)s)::float8" if coarse else name for name in ("lat", "lon")
    )
    return f"""
SELECT v.name, v.max_speed_kn::text::float8, columns.*
FROM vessels AS v CROSS JOIN LATERAL (
    SELECT (array_agg(tracker_id))[%(most)s + 1], (array_agg(tracker_id))[%(most)s],
        array_agg(recorded_at), array_agg({lat}), array_agg({lon}), array_agg(coalesce(accuracy_m, 'NaN')),
        array_agg(coalesce(sog, 'NaN')) FILTER (WHERE %(with_motion)s),
        array_agg(coalesce(cog, 'NaN')) FILTER (WHERE %(with_motion)s)
    FROM (
        SELECT * FROM {SEEN[coarse, False]} AS seen WHERE seen.vessel_id = v.id LIMIT %(most)s + 1
    ) AS fixes
) AS columns
WHERE v.id = %(vessel_id)s AND {IS_GRANTED}
""".encode()  # noqa: S608 - constants of ours are put in, none from a caller


_READ = {coarse: _columns(coarse=coarse) for coarse in (False, True)}


class Tracks:
    """The history of vessels, as far as a key may see them, and as it sees them."""

    def __init__(self, connection: Connection, sight: Sight) -> None:
        self._connection = connection
        self._sight = sight

    def columns(
        self,
        vessel_id: int,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        most: int,
        beyond: FixKey | None = None,
        number: int | None = None,
        with_motion: bool = True,
    ) -> Stretch:
        """Return a vessel's fixes from ``since`` up to but without ``until``, no more than ``most``.

        ``beyond`` names the fix that was read last, from which it goes on; ``number`` is the one of the order
        where it stood when the first were read. Not ``with_motion``, each speed and course is NaN: every
        column more is a tenth of what PostgreSQL has to do. NotFound also where the key may not see the
        vessel.
        """
        sight = self._sight
        values = {
            "vessel_id": vessel_id,
            "most": most,
            "with_motion": with_motion,
            "decimals": sight.decimals,
            **sight.bounded(number),
            **stretch(sight, since, until, beyond=beyond),
        }
        row = statements.binary_row(self._connection, Statement(_READ[sight.is_coarse], values))
        if row is None:
            raise NotFound(f"There is no vessel {vessel_id}")
        name, max_speed_kn, further, last, *columns = row
        recorded_at, lat, lon, accuracy_m, sog, cog = columns
        times = _column(recorded_at, ">i8", most).astype(np.int64) + SINCE_1970
        untold = np.full(len(times), np.nan)
        fixes = Columns(
            recorded_at=times,
            lat=_column(lat, ">f8", most).astype(np.float64),
            lon=_column(lon, ">f8", most).astype(np.float64),
            sog=_measures(sog, most) if with_motion else untold,
            cog=_measures(cog, most) if with_motion else untold,
            accuracy_m=_measures(accuracy_m, most),
        )
        if sight.is_coarse:
            fixes = coarsened(fixes, sight.decimals)
        return Stretch(
            name=(name or b"").decode(),
            max_speed_kn=None if max_speed_kn is None else _KNOTS.unpack(max_speed_kn)[0],
            fixes=fixes,
            last=None if further is None or last is None else (fixes.moment(-1), _ID.unpack(last)[0]),
        )


def _column(array: bytes | None, kind: str, most: int) -> NDArray[Any]:
    if array is None:
        return np.zeros(0, dtype=kind)
    element = np.dtype([("length", ">i4"), ("value", kind)])
    column: NDArray[Any] = np.frombuffer(array, element, offset=_HEAD)["value"][:most]
    return column


def _measures(array: bytes | None, most: int) -> Floats:
    """Return what is kept in four bytes as the decimal that it was."""
    values = _column(array, ">f4", most).astype(np.float64)
    is_large = values >= LARGE
    kept = np.round(values, MEASURE_DECIMALS)
    kept[is_large] = np.round(values[is_large], LARGE_DECIMALS)
    return kept
