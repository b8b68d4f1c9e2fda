"""Opens files as authorities publish them: plain, or packed with gzip, zip or zstandard.

What a file is packed with is told by its first bytes, since a pipe has no name. All is read as a stream,
so that a file of gigabytes takes no memory.
"""

import io
import os
import shutil
import stat
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from gzip import GzipFile
from pathlib import Path
from typing import IO, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP, _ZIP, _ZSTD = b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd"
# Of files that are not read, to say so instead of "no text".
_FOREIGN = {
    b"PK\x05\x06": "a zip archive without members",
    b"BZh": "packed with bzip2",
    b"\xfd7zX": "packed with xz",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"PAR1": "Parquet",
    b"SQLi": "an SQLite database",
}
_LOOKED_AT = 4
# What the unpackers raise where a file is cut or damaged.
_DAMAGE = (
    EOFError,
    OSError,
    zlib.error,
    zipfile.BadZipFile,
    zstd.ZstdError,
    # Of a zip archive: a way of packing that is not known here, and a password.
    NotImplementedError,
    RuntimeError,
)


class UnreadableError(ValueError):
    """A file cannot be opened or unpacked, or not to its end; the message says why, in one line."""


class Source:
    """An open file, unpacked.

    ``size`` is its size in bytes as it lies on disk, None for a pipe, and ``position`` how many of them
    were read.
    """

    def __init__(self, stream: IO[bytes], raw: IO[bytes], size: int | None) -> None:
        self._stream = stream
        self._raw = raw
        self.size = size

    @property
    def position(self) -> int | None:
        return None if self.size is None else self._raw.tell()

    def lines(self, longest: int) -> Iterator[bytes]:
        """Yield its lines with their ends; one of more bytes than ``longest`` is cut behind the first beyond.

        UnreadableError where it is cut or damaged, after the lines before.
        """
        try:
            while line := self._stream.readline(longest + 1):
                yield line
                rest = line
                while len(rest) > longest and not rest.endswith(b"\n"):
                    rest = self._stream.readline(longest + 1)
        except _DAMAGE as error:
            raise UnreadableError(f"it is cut or damaged: {_told(error)}") from error


@contextmanager
def opened(path: str) -> Iterator[Source]:
    """Open a file, a named pipe or, as ``-``, the standard input.

    UnreadableError where it cannot be read, where its archive holds not exactly one file, or one with a
    password.
    """
    with ExitStack() as stack:
        try:
            # By number: sys.stdin would buffer, and may be None.
            name: int | Path = 0 if path == "-" else Path(path)
            raw = stack.enter_context(open(name, "rb", buffering=0, closefd=path != "-"))
            status = os.fstat(raw.fileno())
            size = status.st_size if stat.S_ISREG(status.st_mode) else None
            stream = _unpacked(stack, raw, is_seekable=size is not None)
        except _DAMAGE as error:
            raise UnreadableError(_told(error)) from error
        yield Source(stream, raw, size)


def _unpacked(stack: ExitStack, raw: io.FileIO, *, is_seekable: bool) -> IO[bytes]:
    head = _first_bytes(raw)
    for beginning, kind in _FOREIGN.items():
        if head.startswith(beginning):
            raise UnreadableError(f"it is {kind}; unpack it into CSV")
    packed: io.RawIOBase = raw
    if is_seekable:
        raw.seek(-len(head), os.SEEK_CUR)
    else:
        packed = _Resumed(head, raw)
    stream = stack.enter_context(io.BufferedReader(packed, 1 << 16))
    if head.startswith(_GZIP):
        return cast("IO[bytes]", stack.enter_context(GzipFile(fileobj=stream)))
    if head.startswith(_ZSTD):
        # Without a buffer, which would wait for a block of a slow pipe.
        return cast("IO[bytes]", stack.enter_context(zstd.ZstdFile(cast("IO[bytes]", packed))))
    if head.startswith(_ZIP):
        return io.BufferedReader(_only_member(stack, stream, is_seekable=is_seekable), 1 << 16)
    return stream


def _first_bytes(raw: io.FileIO) -> bytes:
    head = b""
    # A pipe hands over what is there, which may be one byte.
    while len(head) < _LOOKED_AT and (more := raw.read(_LOOKED_AT - len(head))):
        head += more
    return head


class _Resumed(io.RawIOBase):
    """A pipe of which the first bytes were looked at."""

    def __init__(self, head: bytes, rest: io.FileIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int | None:  # type: ignore[override]  # what BufferedReader hands over
        if not self._head:
            return self._rest.readinto(buffer)
        length = min(len(buffer), len(self._head))
        buffer[:length] = self._head[:length]
        self._head = self._head[length:]
        return length


def _only_member(stack: ExitStack, stream: IO[bytes], *, is_seekable: bool) -> io.RawIOBase:
    packed: IO[bytes] = stream
    if not is_seekable:
        # A zip's directory stands at its end: what comes through a pipe waits on disk until that is there.
        packed = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        shutil.copyfileobj(stream, packed)
    archive = stack.enter_context(zipfile.ZipFile(packed))
    # Macs add a folder of their own to what they pack.
    members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        raise UnreadableError(f"it is a zip archive of {len(members)} files; unpack it, send one at a time")
    return cast("io.RawIOBase", stack.enter_context(archive.open(members[0])))


def _told(error: BaseException) -> str:
    """Return what went wrong in one line; the operating system's own words without a path and a number."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
