"""In which media type an answer goes out, where there are several (RFC 9110, section 12.5.1).

``format=`` wins over ``Accept``: it can stand in a link and in a browser's address line, where nobody sets a
header. What ``Accept`` likes best is taken, and where nothing is that there is, the usual format in place of
406: the RFC leaves that open, and programs send lists that they were built with and read what comes all the
same. GDAL asks for ``text/plain, application/json`` where it reads GeoJSON.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from flask import request
from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from harbor_api.schemas.formats import MEDIA_TYPES

# No program sends more; to read all that a caller may send would take longer than to answer.
_LONGEST_READ = 1_000


def chosen(wanted: str | None, names: Sequence[str]) -> str:
    """Return the name of the format to answer this request in: one of some, of which the first is the usual.

    ``wanted`` is what ``format=`` says, None where it is left out.
    """
    return wanted or liked(request.headers.get("Accept", ""), tuple(names))


@lru_cache(maxsize=256)
def liked(accept: str, names: tuple[str, ...]) -> str:
    """Return which of some formats an Accept header likes best.

    Of those alike one that is named goes before one that a wildcard takes in, and one that is named first
    before one that is named later.
    """
    if len(accept) > _LONGEST_READ:
        return names[0]
    ranges = [
        (each.partition(";")[0].strip().lower(), quality)
        for each, quality in parse_accept_header(accept, Accept)
    ]
    likings = {name: _liking(MEDIA_TYPES[name], ranges) for name in names}
    best = max(names, key=likings.__getitem__)
    return best if likings[best][0] > 0 else names[0]


def _liking(media_type: str, ranges: Sequence[tuple[str, float]]) -> tuple[float, int, int]:
    """Return how well a media type is liked: its quality, how closely it is named, and how early.

    The closest range decides: ``text/*;q=0.5, text/csv;q=0`` takes no CSV.
    """
    main = media_type.partition("/")[0]
    places: Mapping[str, int] = {each: -place for place, (each, _) in reversed([*enumerate(ranges)])}
    qualities = dict(reversed(ranges))
    for closeness, named in ((2, media_type), (1, f"{main}/*"), (0, "*/*")):
        if named in qualities:
            return qualities[named], closeness, places[named] if closeness == 2 else 0
    return 0, 0, 0
