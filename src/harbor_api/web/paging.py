"""Lists in pages: an opaque cursor, a link in the body and in the header, no totals, no offsets."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import request

from harbor_api.schemas.paging import CURSOR, PageQuery
from harbor_api.web.blueprint import Answer

Item = TypeVar("Item")


def answer(
    query: PageQuery,
    name: str,
    found: Sequence[Item],
    *,
    show: Callable[[Item], dict[str, Any]],
    number: Callable[[Item], int],
) -> Answer:
    """Return the page that a query asked for, of which ``query.to_read`` items were to be found.

    ``show`` gives an item's members, and ``number`` the number by which a list goes on.
    """
    link = None
    if len(found) > query.limit:
        arguments = {**request.args, "cursor": f"{CURSOR}{number(found[query.limit - 1])}"}
        link = f"{request.path}?{urlencode(arguments)}"
    body = {name: [show(each) for each in found[: query.limit]], "links": {"next": link}}
    return body, 200, {"Link": f'<{link}>; rel="next"'} if link else {}
