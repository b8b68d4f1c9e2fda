"""What is the same for everybody until the next release: compressed once, and named by its bytes."""

import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from flask import Response, request

from harbor_api.web import compression, preconditions
from harbor_api.web.compression import Coding

# For as long as it is cached: its address changes with its bytes.
_FOREVER = "public, max-age=31536000, immutable"
# To be kept, and to be asked about each time: an upgrade shows at once, and costs an answer without a body.
_REVALIDATED = "public, no-cache"


@dataclass(frozen=True, slots=True)
class Representation:
    """Bytes as they are sent, with the strong ETag that names them and no others (RFC 9110, 8.8.3)."""

    content: bytes
    etag: str
    coding: Coding | None


def answer(content: bytes, content_type: str) -> Response:
    """Return the answer to a GET of bytes that only a release changes: whole, compressed, or 304.

    One whose query holds ``v=`` and the right ``version`` may be kept for good.
    """
    response = Response(content_type=content_type)
    accepted = request.headers.get("Accept-Encoding", "")
    chosen = _representation(content, compression.chosen(accepted, response.mimetype, len(content)))
    response.set_data(chosen.content)
    response.set_etag(chosen.etag)
    response.headers["Cache-Control"] = (
        _FOREVER if request.args.get("v") == version(content) else _REVALIDATED
    )
    response.vary.add("Accept-Encoding")
    if chosen.coding:
        response.content_encoding = chosen.coding
    if preconditions.is_had(chosen.etag):
        response.status_code = 304
    return response


def file(path: Path) -> Response:
    """Return the answer to a GET of a file of ours, by whose name its media type is known."""
    content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    is_text = content_type.startswith("text/")
    return answer(_bytes(path), f"{content_type}; charset=utf-8" if is_text else content_type)


def version_of(path: Path) -> str:
    """Return the ``version`` of a file of ours."""
    return version(_bytes(path))


def published() -> Path:
    """Return the folder of what is read beside the service: guides, examples, the firmware kit."""
    # An installed wheel carries these files inside the package; a checkout has them at its top.
    package = Path(__file__).parents[1]
    packaged = package / "published"
    return packaged if packaged.is_dir() else package.parents[1] / "openapi"


def version(content: bytes) -> str:
    """Return what stands for these bytes in an address that may be kept for good."""
    return _representation(content, None).etag


@cache
def _bytes(path: Path) -> bytes:
    return path.read_bytes()


# The files of a map's coast are many, and each may be wanted in each coding.
@lru_cache(maxsize=1024)
def _representation(content: bytes, coding: Coding | None) -> Representation:
    if coding is not None:
        content = compression.encode(content, coding, is_kept=True)
    return Representation(content, _digest(content), coding)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:24]
