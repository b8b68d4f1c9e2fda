"""Times as text (RFC 3339): what is taken for one, and the one form in which they leave the service."""

import re
from datetime import UTC, datetime, timedelta

_TIME = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt](?:[01]\d|2[0-3]):\d{2}:\d{2}(?:\.\d{1,100})?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
# Where the seconds stand.
_SECONDS = slice(17, 19)


def from_rfc3339(value: object) -> datetime | None:
    """Return in UTC the time that an RFC 3339 date-time with its offset tells, None for any other value.

    PostgreSQL keeps microseconds, so further digits of a fraction (up to 100 are taken) are cut off. A leap
    second, 23:59:60 in UTC on whatever day, is the second after it. Years are 0001 to 9999.
    """
    # datetime.fromisoformat alone takes more than RFC 3339 has, NUL and 24:00 included, and less: neither z
    # nor 60.
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return None
    try:
        if value[_SECONDS] == "60":
            return _leap_second(value)
        moment = datetime.fromisoformat(value if value[-1] != "z" else value[:-1] + "Z")
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _leap_second(text: str) -> datetime | None:
    before = datetime.fromisoformat(f"{text[:17]}59{text[19:].upper()}").astimezone(UTC)
    # Leap seconds are inserted by UTC, for all offsets at once. In which months is announced half a year
    # ahead, which is nothing that the service could know for good.
    return before + timedelta(seconds=1) if (before.hour, before.minute) == (23, 59) else None


def rfc3339(moment: datetime) -> str:
    """Return an aware time as RFC 3339 in UTC: ``Z``, and six digits of fraction, all that is kept."""
    # In UTC it ends in +00:00.
    return f"{moment.astimezone(UTC).isoformat(timespec='microseconds')[:-6]}Z"
