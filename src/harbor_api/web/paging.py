"""Lists in pages: an opaque cursor, a link in the body and in the header, no totals, no offsets."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import request

from harbor_api.schemas.paging import CURSOR, PageQuery
from harbor_api.web.blueprint import Answer

Item = TypeVar("Item")
# Proxies and clients take 4 to 8 kB for all headers together.
_LONGEST_LINK = 2_000


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
        link = next_page(f"{CURSOR}{number(found[query.limit - 1])}")
    body = {name: [show(each) for each in found[: query.limit]], "links": {"next": link}}
    return body, 200, headers(link)


def next_page(cursor: str, **further: str) -> str:
    """Return the address of the page behind this one; ``further`` parameters are put beside its own."""
    # With commas as they may stand: a list is no longer than it came.
    return f"{request.path}?{urlencode({**request.args, **further, 'cursor': cursor}, safe=',')}"


def headers(link: str | None) -> dict[str, str]:
    """Return the header that names the next page, by its name; nothing where there is no page.

    Nor for an address that is longer than headers may be on the way, as it repeats a list of a thousand: the
    body has it always.
    """
    is_told = link is not None and len(link) <= _LONGEST_LINK
    return {"Link": f'<{link}>; rel="next"'} if is_told else {}
