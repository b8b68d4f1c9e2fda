"""How old a position may be before it is told as such."""

from datetime import datetime, timedelta


def is_stale(recorded_at: datetime | None, *, now: datetime, stale_after: timedelta) -> bool:
    """Tell whether a vessel has not been heard of for longer than the threshold, or never."""
    return recorded_at is None or now - recorded_at > stale_after
