"""What all lists have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from marshmallow import Schema
from marshmallow.fields import String
from marshmallow.validate import Length, Range, Regexp

from harbor_api.schemas.fields import QueryWhole
from harbor_api.schemas.typed import QuerySchema

CURSOR = "after-"


class LinksSchema(Schema):
    """Where to go on."""

    next = String(
        required=True,
        allow_none=True,
        metadata={
            "description": "The address of the next page, as in the `Link` header; null on the last one.",
            "examples": ["/api/v1/audit?limit=100&cursor=after-100"],
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """Which page of a list: at most ``limit`` items, from where ``cursor`` says."""

    limit: int
    cursor: str | None = None

    @property
    def after(self) -> int | None:
        """The last number of the page before, None at the beginning."""
        return None if self.cursor is None else int(self.cursor.removeprefix(CURSOR))

    @property
    def to_read(self) -> int:
        """How many rows to read: one more than is shown tells whether there is a next page."""
        return self.limit + 1


def sealed_cursor() -> String:
    """Return the parameter of a list that goes on from a sealed cursor (``domain/cursors.py``)."""
    return String(
        validate=Length(1, 1_000),
        metadata={
            "description": "From `links.next` or the `Link` header of the page before. It holds for this key "
            "and these parameters alone; only `limit` may change.",
            "pattern": "^[A-Za-z0-9_-]+$",
        },
    )


class PageQuerySchema(QuerySchema):
    """Which page of a list."""

    makes: ClassVar[Callable[..., Any]] = PageQuery

    limit = QueryWhole(
        load_default=100,
        validate=Range(1, 1000),
        metadata={"description": "At most so many items.", "examples": [100]},
    )
    cursor = String(
        validate=Regexp(rf"\A{CURSOR}[0-9]{{1,18}}\Z"),
        metadata={
            "description": "From `links.next` of the page before. Take it as it is: it may come to look "
            "otherwise.",
            "pattern": f"^{CURSOR}[0-9]{{1,18}}$",
            "examples": [f"{CURSOR}0"],
        },
    )
