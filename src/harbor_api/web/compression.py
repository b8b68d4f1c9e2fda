"""Content codings (RFC 9110, section 8.4.1) of what is answered: which of them, and how.

Levels were measured with a fleet of 10,000 and a page of history: no coding costs more than gzip's level 4,
and where callers like several alike zstd goes first, which costs a third of it. What is coded is the same
bytes in each worker, since a strong tag names them.

zstd is one frame always. It could be joined from frames, but many clients read the first and take that for
the whole, without a word: those of .NET, aiohttp and reqwest did until not long ago. A fleet in one frame is
4 ms; what is joined is gzip (``domain/gzip_blocks.py``).
"""

import re
import sys
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import brotli
from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from harbor_api.domain import gzip_blocks
from harbor_api.web import turns

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Coding = Literal["zstd", "gzip", "br"]
CODINGS: Sequence[Coding] = ("zstd", "gzip", "br")
"""Those that there are, in the order in which they are taken where a caller likes several alike."""

# Less fits into one packet all the same.
_LEAST_CODED = 1_000
_COMPRESSIBLE = re.compile(r"text/.+|application/(json|javascript|xml)|.+\+(json|xml)")
# No client sends more; of 800 kB, which a caller may send, it would take a second to read what is liked.
_LONGEST_READ = 1_000
# Of what is coded for one caller, and of what is coded once and kept until the next release.
_QUICK: Mapping[Coding, int] = {"zstd": 1, "gzip": gzip_blocks.LEVEL, "br": 2}
_THOROUGH: Mapping[Coding, int] = {"zstd": 12, "gzip": 9, "br": 7}
# Rows are like those shortly before them: Brotli's usual window of 4 MB is slower, and not even smaller.
_BROTLI_WINDOW = 18
# What waits of a stream to be coded with what comes next.
_MOST_WAITING = 64 * 1024
# What is coded in one go: some milliseconds, before others have their turns.
_AT_ONCE = 256 * 1024


class _Encoder(NamedTuple):
    """Codes what is added; ``flush`` returns all that waits, ``end`` what has to stand at the end."""

    add: Callable[[bytes], bytes]
    flush: Callable[[], bytes]
    end: Callable[[], bytes]


def chosen(
    accepted: str, media_type: str | None, size: int | None = None, *, order: Sequence[Coding] = CODINGS
) -> Coding | None:
    """Return the coding in which a body goes to a caller that has sent this Accept-Encoding; None as it is.

    ``size`` is in bytes, None for a stream. What is not worth it is coded only where nothing else is taken.
    Where nothing is taken that there is, the body goes as it is: RFC 9110, section 12.5.3, leaves that open,
    and whoever writes such a header gains nothing from a 406.
    """
    if not accepted or len(accepted) > _LONGEST_READ:
        return None
    liked, takes_plain = _liked(accepted, tuple(order))
    is_worth_it = (size is None or size >= _LEAST_CODED) and _COMPRESSIBLE.fullmatch(media_type or "")
    return liked if is_worth_it or not takes_plain else None


def encode(content: bytes, coding: Coding, *, is_kept: bool = False) -> bytes:
    """Return a whole body in a coding. One that ``is_kept`` is worth ten times the time."""
    if len(content) > _AT_ONCE and not is_kept:
        encoder = _encoder(coding)
        return b"".join((*turns.between(map(encoder.add, _cut(content))), encoder.end()))
    level = (_THOROUGH if is_kept else _QUICK)[coding]
    match coding:
        case "zstd":
            return zstd.compress(content, level)
        case "br":
            coded: bytes = brotli.compress(content, quality=level, lgwin=_BROTLI_WINDOW)
            return coded
        case "gzip":
            encoder = _gzip(level)
            return encoder.add(content) + encoder.end()


def stream(chunks: Iterable[bytes], coding: Coding) -> Iterator[bytes]:
    """Yield a body in a coding, as its chunks come: the first goes out at once, then whatever makes 64 kB.

    Where the chunks end in an error it has no end, either, so that no client takes it for whole. Whoever
    closes it closes the chunks.
    """
    encoder = _encoder(coding)
    waiting = _MOST_WAITING
    try:
        for chunk in chunks:
            coded = encoder.add(chunk)
            waiting += len(chunk)
            if waiting >= _MOST_WAITING:
                coded += encoder.flush()
                waiting = 0
            if coded:
                yield coded
        yield encoder.end()
    finally:
        if isinstance(chunks, Generator):
            chunks.close()


def _cut(content: bytes) -> Iterator[bytes]:
    return (content[begin : begin + _AT_ONCE] for begin in range(0, len(content), _AT_ONCE))


@lru_cache(maxsize=256)
def _liked(accepted: str, order: tuple[Coding, ...]) -> tuple[Coding | None, bool]:
    """Return what a caller likes best, None for a body as it is, and whether it takes that at all."""
    # RFC 9110, section 8.4.1.3: they are one.
    taken = parse_accept_header(accepted.lower().replace("x-gzip", "gzip"), Accept)
    plain = next((quality for name, quality in taken if name in {"identity", "*"}), None)
    best = max(order, key=taken.quality)
    is_liked = taken.quality(best) > 0 and taken.quality(best) >= (plain or 0)
    return best if is_liked else None, plain != 0


def _encoder(coding: Coding) -> _Encoder:
    level = _QUICK[coding]
    match coding:
        case "zstd":
            compressor = zstd.ZstdCompressor(level)
            return _Encoder(
                compressor.compress, partial(compressor.flush, compressor.FLUSH_BLOCK), compressor.flush
            )
        case "br":
            squeezer = brotli.Compressor(quality=level, lgwin=_BROTLI_WINDOW)
            return _Encoder(squeezer.process, squeezer.flush, squeezer.finish)
        case "gzip":
            return _gzip(level)


def _gzip(level: int) -> _Encoder:
    """Return what codes as one member that says neither when nor where it was made."""
    deflater = gzip_blocks.deflater(level)
    crc = length = 0
    head = gzip_blocks.HEAD

    def add(content: bytes) -> bytes:
        nonlocal crc, length, head
        crc, length = zlib.crc32(content, crc), length + len(content)
        begin, head = head, b""
        return begin + deflater.compress(content)

    return _Encoder(
        add,
        partial(deflater.flush, zlib.Z_SYNC_FLUSH),
        lambda: add(b"") + deflater.flush() + gzip_blocks.tail(crc, length),
    )
