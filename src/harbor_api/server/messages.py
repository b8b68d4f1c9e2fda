"""What a request must have, and how much of it has come, in whichever way it is read."""

import re
from typing import Any

from gunicorn.http.body import LengthReader

# RFC 3986: a name, or an address in brackets, and perhaps a port.
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]{0,5})?", re.ASCII)


def is_host(text: str) -> bool:
    """Return whether a host can have such a name."""
    return _HOST.fullmatch(text) is not None


def is_unread(body: Any) -> bool:
    """Return whether a part of gunicorn's body was neither read nor came along with what was."""
    reader = body.reader
    if isinstance(reader, LengthReader):
        return bool(body.failed or reader.length > _buffered(reader.unreader))
    return bool(body.failed or getattr(reader, "parser", None) is not None)


def is_followed(req: Any) -> bool:
    """Return whether a part of the next request has come, behind what nobody has read of this one's body."""
    reader = req.body.reader
    unread = reader.length if isinstance(reader, LengthReader) else 0
    return _buffered(req.unreader) > unread


def _buffered(unreader: Any) -> int:
    """Return how many bytes have come that nobody has asked for yet."""
    return int(unreader.buf.getbuffer().nbytes)
