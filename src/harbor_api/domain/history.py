"""Where a vessel was: stretches of its history, read in pages."""

from dataclasses import dataclass
from datetime import datetime

from harbor_api.domain.positions import FixKey


@dataclass(frozen=True, slots=True)
class RowForm:
    """How one fix is written: a text with names in braces, and what stands between two of them.

    The names are those of ``MEMBERS``; ``null`` is written for what is not known. Braces are doubled.
    """

    text: str
    between: str
    null: str = "null"


MEMBERS = (
    "recorded_at",
    "received_at",
    "lat",
    "lon",
    "sog",
    "cog",
    "heading",
    "nav_status",
    "accuracy_m",
)
"""What is shown of a fix: times as RFC 3339 with ``Z``, numbers as plain decimals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of a vessel's history: from ``since`` up to but without ``until``, by time or against it."""

    vessel_id: int
    since: datetime | None = None
    until: datetime | None = None
    descending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPage:
    """Some fixes of a vessel as one key sees them, in the form that was asked for.

    ``number`` is that of the committed order beyond which nothing is shown, and ``moment`` when it was read.
    ``available_from`` is the time of the oldest fix that is kept, None where there is none. ``last`` names
    the last fix of the page where there are more, and is None where there are not. Then ``end`` is the time
    of the last fix of the window, whose pages go by time: what comes later is not looked at by further ones.
    """

    moment: datetime
    number: int
    name: str
    available_from: datetime | None
    fixes: str
    last: FixKey | None
    end: datetime | None
