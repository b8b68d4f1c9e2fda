"""What becomes of a fix that a tracker sends."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from harbor_api.entities import Arrival, Fix, Tracker, Verdict

if TYPE_CHECKING:
    from harbor_api.database import UnitOfWork

NULL_ISLAND = "null_island"
FUTURE = "future"
REASONS = {
    NULL_ISLAND: "Latitude and longitude are exactly 0: nearly always a receiver without a fix.",
    FUTURE: "The fix is from the future by more than the tolerance: a wrong clock in the tracker.",
}


def doubt(fix: Fix, *, now: datetime, future_tolerance: timedelta) -> str | None:
    """Return the reason to hold a fix back, None for one that can be believed.

    An old fix is never a reason: trackers store and forward.
    """
    if fix.motion.lat == 0 and fix.motion.lon == 0:
        return NULL_ISLAND
    if fix.recorded_at - now > future_tolerance:
        return FUTURE
    return None


def accept(
    unit_of_work: "UnitOfWork",
    tracker: Tracker,
    fix: Fix,
    *,
    now: datetime,
    future_tolerance: timedelta,
) -> Verdict:
    """Store a fix, or hold it in quarantine, and tell which; it is durable once this is committed."""
    arrival = Arrival(
        vessel_id=tracker.vessel_at(fix.recorded_at), tracker_id=tracker.number, received_at=now, fix=fix
    )
    reason = doubt(fix, now=now, future_tolerance=future_tolerance)
    if reason is not None:
        return unit_of_work.positions.quarantine(arrival, reason)
    [verdict] = unit_of_work.positions.record([arrival])
    return verdict


def foresee(
    unit_of_work: "UnitOfWork",
    tracker: Tracker,
    fix: Fix,
    *,
    now: datetime,
    future_tolerance: timedelta,
) -> Verdict:
    """Tell what ``accept`` would do with a fix, without doing it."""
    reason = doubt(fix, now=now, future_tolerance=future_tolerance)
    if reason is not None:
        return Verdict(verdict="quarantined", reason=reason)
    arrival = Arrival(
        vessel_id=tracker.vessel_at(fix.recorded_at), tracker_id=tracker.number, received_at=now, fix=fix
    )
    return unit_of_work.positions.foresee(arrival)


def is_stale(recorded_at: datetime | None, *, now: datetime, stale_after: timedelta) -> bool:
    """Tell whether a vessel has not been heard of for longer than the threshold, or never."""
    return recorded_at is None or now - recorded_at > stale_after
