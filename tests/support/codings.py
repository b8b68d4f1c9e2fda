"""Reads content codings as strict clients do: one gzip member or one zstd frame, and nothing behind it."""

import sys
import zlib
from collections.abc import Callable, Mapping

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def _gunzip(coded: bytes) -> bytes:
    machine = zlib.decompressobj(zlib.MAX_WBITS | 16)
    content = machine.decompress(coded)
    assert machine.eof, "the gzip member has no end"
    assert not machine.unused_data, "something stands behind the gzip member"
    return content


def _unzstd(coded: bytes) -> bytes:
    machine = zstd.ZstdDecompressor()
    content = machine.decompress(coded)
    assert machine.eof, "the zstd frame has no end"
    assert not machine.unused_data, "something stands behind the zstd frame"
    return content


DECODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": _gunzip,
    "zstd": _unzstd,
    "br": brotli.decompress,
}
# What returns of each piece as much as there is so far.
READERS: Mapping[str, Callable[[], Callable[[bytes], bytes]]] = {
    "gzip": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16).decompress,
    "zstd": lambda: zstd.ZstdDecompressor().decompress,
    "br": lambda: brotli.Decompressor().process,
}


def decoded(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return what an answer's body says, whatever it is coded in; a HEAD's is empty."""
    coding = headers.get("Content-Encoding")
    return DECODERS[coding](body) if coding and body else body
