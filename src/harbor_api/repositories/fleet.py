"""The fleet as one key may see it: the only place that decides which vessels and positions it is shown.

Whatever a partner reads of vessels and positions is selected from here, so that no new endpoint can
forget a grant, a delay or a precision.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Double,
    Numeric,
    Row,
    Select,
    bindparam,
    cast,
    func,
    select,
    true,
)

from harbor_api.domain.api_keys import Caller
from harbor_api.domain.errors import NotFound
from harbor_api.domain.positions import Motion
from harbor_api.domain.vessels import LatestPosition, VesselOnMap, is_stale
from harbor_api.postgres.rows import MOTION, vessel_of
from harbor_api.postgres.tables import grants, latest_positions, positions, vessels

_COORDINATE_DECIMALS = 6
_KEY: BindParameter[int] = bindparam("key_id")
_DECIMALS: BindParameter[int] = bindparam("decimals")
# The moment that a key sees, by PostgreSQL's clock: one for all workers and hosts.
_AS_OF = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, bindparam("delay_s"))

# What a key sees of the vessels, by whether it sees all. Told apart here and not in the condition, so that
# who may see three vessels does not have all of them read.
_visible = {
    True: vessels,
    False: grants.join(vessels, (grants.c.vessel_id == vessels.c.id) & (grants.c.api_key_id == _KEY)),
}
# For a key that sees positions late: the newest one that is old enough, through the one index.
_delayed = (
    select(positions)
    .where(
        positions.c.vessel_id == vessels.c.id,
        positions.c.recorded_at <= _AS_OF,
    )
    .order_by(positions.c.recorded_at.desc(), positions.c.tracker_id.desc())
    .limit(1)
    .lateral("delayed")
)


def _fleet(visible: Any, position: Any, condition: Any) -> Select[Any]:
    """Return the statement that reads vessels with one position each, as the key may see them."""
    coordinates = [
        cast(func.round(cast(position.c[name], Numeric), _DECIMALS), Double).label(name)
        for name in ("lat", "lon")
    ]
    return (
        select(
            vessels,
            _AS_OF.label("as_of"),
            position.c.recorded_at,
            position.c.received_at,
            position.c.seq.label("position_seq"),
            *coordinates,
            *(position.c[name] for name in MOTION if name not in {"lat", "lon"}),
        )
        .select_from(visible.outerjoin(position, condition))
        .order_by(vessels.c.id)
    )


# Statements are built once: building one anew costs more than running it.
_fleets = {
    (all_vessels, late): _fleet(visible, position, condition)
    for all_vessels, visible in _visible.items()
    for late, position, condition in (
        (False, latest_positions, latest_positions.c.vessel_id == vessels.c.id),
        (True, _delayed, true()),
    )
}
_in_service = vessels.c.retired_at.is_(None) != bindparam("retired")
_one = vessels.c.id == bindparam("vessel_id")
_ALL = {sight: fleet.where(_in_service) for sight, fleet in _fleets.items()}
_ONE = {sight: fleet.where(_one) for sight, fleet in _fleets.items()}


class Fleet:
    """Vessels with their latest positions, as far as a key may see them, and as it sees them."""

    def __init__(self, connection: Connection, viewer: Caller, *, stale_after: timedelta) -> None:
        """Look as a key does; a vessel not heard of for longer than ``stale_after`` is stale."""
        self._connection = connection
        self._sight = viewer.all_vessels, viewer.delay_s > 0
        self._stale_after = stale_after
        self._decimals = (
            _COORDINATE_DECIMALS if viewer.coordinate_decimals is None else viewer.coordinate_decimals
        )
        self._values = {
            "decimals": self._decimals,
            "delay_s": viewer.delay_s,
            **({} if viewer.all_vessels else {"key_id": viewer.id}),
        }

    def search(self, *, retired: bool = False) -> list[VesselOnMap]:
        """Return the vessels in service, or those that are retired, in order of id."""
        rows = self._connection.execute(_ALL[self._sight], {**self._values, "retired": retired})
        return [self._on_map(row) for row in rows]

    def get(self, vessel_id: int) -> VesselOnMap:
        """Return one vessel, in service or retired; NotFound also where the key may not see it."""
        row = self._connection.execute(
            _ONE[self._sight], {**self._values, "vessel_id": vessel_id}
        ).one_or_none()
        if row is None:
            raise NotFound(f"There is no vessel {vessel_id}")
        return self._on_map(row)

    def _on_map(self, row: Row[Any]) -> VesselOnMap:
        vessel = vessel_of(row)
        latest = None
        if row.recorded_at is not None:
            latest = LatestPosition(
                recorded_at=row.recorded_at,
                received_at=row.received_at,
                motion=Motion(**{name: getattr(row, name) for name in MOTION}),
                seq=row.position_seq,
            )
        stale = is_stale(row.recorded_at, now=row.as_of, stale_after=self._stale_after)
        seq = latest.seq if latest else 0
        state = (vessel.version, seq, "stale" if stale else "live", self._decimals)
        return VesselOnMap(vessel=vessel, latest=latest, stale=stale, state=state)
