"""Which time is asked for of a vessel's history, and how long a silence is a gap in it."""

from datetime import datetime, timedelta

from harbor_api.postgres.sight import Sight

# What is shown where nobody says from when on.
_USUAL = timedelta(hours=24)


def usual_start(end: datetime) -> datetime:
    """Return from when on a time is, of which only the end was said."""
    try:
        return end - _USUAL
    except OverflowError:
        # On the first day that there is.
        return end.min.replace(tzinfo=end.tzinfo)


def gap_s(wanted_s: int, sight: Sight) -> int:
    """Return the seconds beyond which nothing is known of what lies between two fixes.

    Whoever sees time in steps sees one fix in each: what is next to each other has no gap between.
    """
    return max(wanted_s, round(sight.step.total_seconds())) if sight.is_coarse else wanted_s
