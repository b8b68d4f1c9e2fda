"""The fleet as one key may see it: its vessels, each at the newest position that it sees."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Connection,
    DateTime,
    Double,
    Interval,
    Numeric,
    Row,
    Select,
    bindparam,
    cast,
    func,
    literal,
    select,
    true,
)

from harbor_api.domain.errors import NotFound
from harbor_api.domain.positions import Motion
from harbor_api.domain.vessels import EPOCH, LatestPosition, VesselOnMap, coarsened, is_stale
from harbor_api.postgres.rows import MOTION, vessel_of
from harbor_api.postgres.sight import Sight
from harbor_api.postgres.tables import grants, latest_positions, positions, vessels

_KEY: BindParameter[int] = bindparam("key_id")
_DECIMALS: BindParameter[int] = bindparam("decimals")
# How far a key with a delay sees.
_MOMENT: BindParameter[datetime] = bindparam("moment", type_=DateTime(timezone=True))
_NUMBER: BindParameter[int] = bindparam("number", type_=BigInteger())
# How long the steps are in which a key sees time, where it sees it coarsely.
_STEP: BindParameter[timedelta] = bindparam("step", type_=Interval())
_EPOCH = literal(EPOCH, DateTime(timezone=True))

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
        positions.c.recorded_at <= _MOMENT,
        positions.c.seq <= _NUMBER,
    )
    .order_by(positions.c.recorded_at.desc(), positions.c.tracker_id.desc())
    .limit(1)
    .lateral("delayed")
)


def _first_of_step(newest: Any, *, late: bool) -> Any:
    """Return the first position of the step that the newest one is in: the one that coarse keys see."""
    began = func.date_bin(_STEP, newest.c.recorded_at, _EPOCH)
    return (
        select(positions)
        .where(
            positions.c.vessel_id == vessels.c.id,
            positions.c.recorded_at >= began,
            positions.c.recorded_at <= newest.c.recorded_at,
            positions.c.seq <= _NUMBER if late else true(),
        )
        .order_by(positions.c.recorded_at, positions.c.tracker_id)
        .limit(1)
        .lateral("first_of_step")
    )


def _fleet(visible: Any, *, late: bool, coarse: bool) -> Select[Any]:
    """Return the statement that reads vessels with one position each, as the key may see them.

    ``heard_at`` is the time of the newest fix that it may see, whichever one it is shown.
    """
    newest = _delayed if late else latest_positions
    found = visible.outerjoin(newest, true() if late else newest.c.vessel_id == vessels.c.id)
    position: Any = newest
    if coarse:
        position = _first_of_step(newest, late=late)
        found = found.outerjoin(position, true())
    coordinates = [
        cast(func.round(cast(position.c[name], Numeric), _DECIMALS), Double).label(name)
        for name in ("lat", "lon")
    ]
    return (
        select(
            vessels,
            (_MOMENT if late else func.now()).label("as_of"),
            newest.c.recorded_at.label("heard_at"),
            position.c.recorded_at,
            position.c.received_at,
            *coordinates,
            *(position.c[name] for name in MOTION if name not in {"lat", "lon"}),
        )
        .select_from(found)
        .order_by(vessels.c.id)
    )


# Statements are built once: building one anew costs more than running it.
_fleets = {
    (all_vessels, late, coarse): _fleet(visible, late=late, coarse=coarse)
    for all_vessels, visible in _visible.items()
    for late in (False, True)
    for coarse in (False, True)
}
_in_service = vessels.c.retired_at.is_(None) != bindparam("retired")
_one = vessels.c.id == bindparam("vessel_id")
_ALL = {sight: fleet.where(_in_service) for sight, fleet in _fleets.items()}
_ONE = {sight: fleet.where(_one) for sight, fleet in _fleets.items()}


class Fleet:
    """Vessels with their latest positions, as far as a key may see them, and as it sees them."""

    def __init__(self, connection: Connection, sight: Sight, *, stale_after: timedelta) -> None:
        """Look as a key does; a vessel not heard of for longer than ``stale_after`` is stale."""
        self._connection = connection
        self._stale_after = stale_after
        self._decimals = sight.decimals
        self._coarse = sight.is_coarse
        self._sight = sight.all_vessels, sight.horizon is not None, sight.is_coarse
        self._values = {"decimals": sight.decimals, **sight.bounded()}

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
            )
            if self._coarse:
                latest = coarsened(latest, self._decimals)
        stale = is_stale(row.heard_at, now=row.as_of, stale_after=self._stale_after)
        return VesselOnMap(vessel=vessel, latest=latest, stale=stale)
