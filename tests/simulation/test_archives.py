import gzip
import io
import os
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from harbor_api.simulation.archives import UnreadableError, opened

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LINES = [f"{number},row\n".encode() for number in range(20_000)]
TEXT = b"".join(LINES)


def zipped(*names: str, text: bytes = TEXT) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, text)
    return file.getvalue()


PACKED = {
    "plain": TEXT,
    "gzip": gzip.compress(TEXT),
    "gzip of two members": gzip.compress(TEXT[:100_000]) + gzip.compress(TEXT[100_000:]),
    "zip": zipped("__MACOSX/._ais.csv", "a folder/", "ais.csv"),
    "zstd": zstd.compress(TEXT),
    "zstd of two frames": zstd.compress(TEXT[:100_000]) + zstd.compress(TEXT[100_000:]),
}


def lines(path: Path | str, longest: int = 100) -> list[bytes]:
    with opened(str(path)) as source:
        return list(source.lines(longest))


def piped(path: Path, content: bytes, chunk: int) -> threading.Thread:
    """Write into a named pipe, piece by piece."""
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            for start in range(0, len(content), chunk):
                pipe.write(content[start : start + chunk])

    writer = threading.Thread(target=write)
    writer.start()
    return writer


@pytest.mark.parametrize("packed", PACKED.values(), ids=PACKED)
def test_file_is_unpacked_by_what_is_in_it(tmp_path, packed):
    path = tmp_path / "no ending [of] a name"
    path.write_bytes(packed)
    assert lines(path) == LINES


@pytest.mark.parametrize("chunk", [1_000, 65_536])
@pytest.mark.parametrize("packed", PACKED.values(), ids=PACKED)
def test_pipe_is_unpacked_too(tmp_path, packed, chunk):
    writer = piped(tmp_path / "pipe", packed, chunk)
    assert lines(tmp_path / "pipe") == LINES
    writer.join()


@pytest.mark.parametrize("content", [b"", b"a", b"ab\ncd\n"])
def test_pipe_may_hand_over_byte_by_byte(tmp_path, content):
    writer = piped(tmp_path / "pipe", content, 1)
    assert b"".join(lines(tmp_path / "pipe")) == content
    writer.join()


@pytest.mark.parametrize("name", ["plain", "gzip", "zstd"])
def test_lines_come_before_a_pipe_has_ended(tmp_path, name):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    # Held open: whoever read it whole would wait here for ever.
    held = os.open(path, os.O_RDWR)
    try:
        os.write(held, PACKED[name][:60_000])
        with opened(str(path)) as source:
            assert next(source.lines(100)) == LINES[0]
    finally:
        os.close(held)


def test_position_tells_how_much_of_a_file_was_read(tmp_path):
    path = tmp_path / "ais.csv.gz"
    path.write_bytes(PACKED["gzip"])
    with opened(str(path)) as source:
        list(source.lines(100))
        assert (source.size, source.position) == (len(PACKED["gzip"]), len(PACKED["gzip"]))


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_archive_that_is_cut_gives_what_came_before(tmp_path, name):
    path = tmp_path / "cut"
    path.write_bytes(PACKED[name][:-10])
    read: list[bytes] = []
    with opened(str(path)) as source, pytest.raises(UnreadableError, match="cut or damaged") as caught:
        read.extend(source.lines(100))
    assert str(caught.value).isprintable()
    assert read
    assert read == LINES[: len(read)]


@pytest.mark.parametrize("name", ["gzip", "zip", "zstd"])
def test_damaged_archive_is_told(tmp_path, name):
    path = tmp_path / "damaged"
    packed = bytearray(zipped("ais.csv") if name == "zip" else PACKED[name])
    middle = len(packed) // 2
    packed[middle : middle + 200] = bytes(200)
    path.write_bytes(packed)
    with pytest.raises(UnreadableError, match="cut or damaged"):
        lines(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (zipped("a.csv", "b.csv"), "2 files"),
        (zipped("a folder/"), "0 files"),
        (PACKED["zip"][:-30], "not a zip file"),
        (b"PK\x05\x06" + bytes(18), "without members"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"PAR1....", "Parquet"),
    ],
)
def test_what_cannot_be_opened_is_told(tmp_path, content, told):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=told) as caught:
        lines(path)
    assert str(caught.value).isprintable()


def test_zip_with_a_password_is_told(tmp_path):
    path = tmp_path / "secret.zip"
    packed = bytearray(PACKED["zip"])
    # The bit that says so, in the header of the member and in the directory.
    for at in (packed.rindex(b"PK\x03\x04") + 6, packed.rindex(b"PK\x01\x02") + 8):
        packed[at] |= 1
    path.write_bytes(packed)
    with pytest.raises(UnreadableError, match="encrypted"):
        lines(path)


def test_missing_file_and_folder_are_told(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UnreadableError):
            lines(path)


def test_endless_line_takes_no_memory(tmp_path):
    path = tmp_path / "zeros.gz"
    path.write_bytes(gzip.compress(bytes(50_000_000) + b"\nafter\n"))
    with opened(str(path)) as source:
        assert [len(line) for line in source.lines(100)] == [101, 6]
