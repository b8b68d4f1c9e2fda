"""Months of UTC: what positions are kept by."""

from datetime import UTC, datetime
from typing import NamedTuple


class Month(NamedTuple):
    """A month, which can be compared and counted on; ``number`` is the one since the year 0."""

    number: int

    @classmethod
    def of(cls, moment: datetime) -> "Month":
        """Return the month in which a moment lies."""
        there = moment.astimezone(UTC)
        return cls(there.year * 12 + there.month - 1)

    @property
    def begin(self) -> datetime:
        """The first moment of it."""
        year, month = divmod(self.number, 12)
        return datetime(year, month + 1, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first moment after it; the last that there is, of the last month that there is."""
        return datetime.max.replace(tzinfo=UTC) if self.number == _LAST else Month(self.number + 1).begin

    def __str__(self) -> str:
        """Return it as in names of tables: 2026_12."""
        year, month = divmod(self.number, 12)
        return f"{year:04}_{month + 1:02}"

    def after(self, months: int) -> "Month":
        """Return the month that comes so many after this one."""
        return Month(self.number + months)


_LAST = Month.of(datetime.max.replace(tzinfo=UTC)).number
