"""What is the same for everybody until the next release: compressed once, and named by its bytes."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache

from flask import Response, request

# For as long as it is cached: its address changes with its bytes.
_FOREVER = "public, max-age=31536000, immutable"
# To be kept, and to be asked about each time: an upgrade shows at once, and costs an answer without a body.
_REVALIDATED = "public, no-cache"
# Less than this is not worth it.
_LEAST_COMPRESSED = 512


@dataclass(frozen=True, slots=True)
class Representation:
    """Bytes as they are sent, with the strong ETag that names them and no others (RFC 9110, 8.8.3)."""

    content: bytes
    etag: str
    encoding: str | None


def answer(content: bytes, content_type: str, *, is_compressible: bool = True) -> Response:
    """Return the answer to a GET of bytes that only a release changes: whole, compressed, or 304.

    One whose query holds ``v=`` and the right ``version`` may be kept for good.
    """
    taken = request.accept_encodings
    compressed = is_compressible and taken["gzip"] > 0 and taken["gzip"] >= taken["identity"]
    chosen = _representation(content, compressed)
    response = Response(chosen.content, content_type=content_type)
    response.set_etag(chosen.etag)
    response.headers["Cache-Control"] = (
        _FOREVER if request.args.get("v") == version(content) else _REVALIDATED
    )
    if is_compressible:
        response.vary.add("Accept-Encoding")
    if chosen.encoding:
        response.content_encoding = chosen.encoding
    response.make_conditional(request)
    return response


def version(content: bytes) -> str:
    """Return what stands for these bytes in an address that may be kept for good."""
    return _representation(content, False).etag


@lru_cache(maxsize=64)
def _representation(content: bytes, compressed: bool) -> Representation:
    if compressed and len(content) >= _LEAST_COMPRESSED:
        # The same bytes in all workers, so that they have the same name.
        content = gzip.compress(content, mtime=0)
        return Representation(content, _digest(content), "gzip")
    return Representation(content, _digest(content), None)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:24]
