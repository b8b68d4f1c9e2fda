"""Lists in pages: an opaque cursor, a link in the body and in the header, no totals, no offsets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import request

from harbor_api.schemas.paging import CURSOR

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: ``after`` is the last number of the page before, None at the beginning."""

    after: int | None
    limit: int

    @property
    def to_read(self) -> int:
        """How many rows to read: one more than is shown tells whether there is a next page."""
        return self.limit + 1

    def answer(
        self, name: str, items: Sequence[Item], shown: Sequence[Any], number: Any
    ) -> tuple[dict[str, Any], int, Mapping[str, str]]:
        """Return body, status and headers; ``number`` gives the number of an item."""
        link = None
        if len(items) > self.limit:
            arguments = {**request.args, "cursor": f"{CURSOR}{number(items[self.limit - 1])}"}
            link = f"{request.path}?{urlencode(arguments)}"
        body = {name: list(shown[: self.limit]), "links": {"next": link}}
        return body, 200, {"Link": f'<{link}>; rel="next"'} if link else {}


def read(query: Mapping[str, Any]) -> Page:
    """Return the page that a query asks for."""
    cursor = query.get("cursor")
    return Page(after=None if cursor is None else int(cursor.removeprefix(CURSOR)), limit=query["limit"])
