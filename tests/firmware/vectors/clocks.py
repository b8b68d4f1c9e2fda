"""The vectors about the tolerance of 300 s on the time of the attempt."""

from typing import Any

from tests.firmware.vectors.signer import NOW, Request
from tests.firmware.vectors.vector import vector


def clocks() -> list[dict[str, Any]]:
    """Return the vectors about the tolerance of 300 s on the time of the attempt."""
    stale = "timestamp_out_of_tolerance"
    return [
        vector(
            "clock_300_s_behind",
            "300 s behind is still within the tolerance.",
            Request(),
            server_time=NOW + 300,
        ),
        vector(
            "clock_300_s_ahead",
            "300 s ahead is still within the tolerance.",
            Request(),
            server_time=NOW - 300,
        ),
        vector(
            "clock_301_s_behind",
            "Signed right, but sent too late: sign again with the time of this attempt.",
            Request(),
            code=stale,
            server_time=NOW + 301,
        ),
        vector(
            "clock_301_s_ahead",
            "Signed right by a clock that runs ahead: set it from Date.",
            Request(),
            code=stale,
            server_time=NOW - 301,
        ),
        vector(
            "clock_dead",
            "A clock that starts at 1970: set it from Date.",
            Request(timestamp=86),
            code=stale,
        ),
        vector(
            "clock_week_rollover",
            "A receiver 1024 weeks behind: its time is no time to sign with.",
            Request(timestamp=NOW - 1024 * 7 * 86400),
            code=stale,
        ),
        vector(
            "fix_days_old_signed_now",
            "A buffered fix: the fix is old, the attempt is not.",
            Request(timestamp=NOW + 9 * 86400),
            server_time=NOW + 9 * 86400,
        ),
    ]
