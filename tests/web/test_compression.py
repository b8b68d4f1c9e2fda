"""Content codings: which one a caller gets, and that it is what that caller can read."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.codings import DECODERS, READERS

from harbor_api.web.compression import CODINGS, Coding, chosen, encode, stream

CSV = "text/csv; charset=utf-8".partition(";")[0]


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("deflate", None),
        ("compress, pack200-gzip, exi, dcb, dcz", None),
        ("gzip, deflate", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", "br"),
        ("br;q=0.5, gzip;q=0.5, zstd;q=0.4", "gzip"),
        ("zstd;q=0, gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip;q=0, x-gzip;q=0", None),
        ("gzip;Q=0.3", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, zstd;q=0", "gzip"),
        ("*;q=0", None),
        ("*;q=0, gzip", "gzip"),
        ("gzip;q=0", None),
        # Who likes it plain better gets it plain.
        ("gzip;q=0.2, identity", None),
        ("gzip, identity;q=0.5", "gzip"),
        ("gzip, identity", "gzip"),
        ("*;q=0, identity", None),
        # Whatever else there is: a body beats a 406.
        ("identity;q=0", None),
        ("identity;q=0, deflate", None),
        # Garbage is nobody's wish; what stands beside it still is.
        ("gzip;q=high", None),
        ("gzip;q=2", None),
        ("gzip;q=-1", None),
        ("gzip;q=nan, br", "br"),
        (",,;,;q=1,gzip", "gzip"),
        ("\xff\xfe,gzip", "gzip"),
        ('"gzip', None),
        ("gzip/1.0", None),
        ("gzip" * 1_000, None),
        ("gzip," * 100_000, None),
    ],
)
def test_a_caller_gets_what_it_likes_best(accepted: str, coding: Coding | None):
    assert chosen(accepted, "application/json", 100_000) == coding


@pytest.mark.parametrize(
    ("media_type", "size", "coding"),
    [
        ("application/json", 999, None),
        ("application/json", 1_000, "gzip"),
        ("application/json", None, "gzip"),
        ("application/geo+json", 5_000, "gzip"),
        ("application/gpx+xml", 5_000, "gzip"),
        (CSV, 5_000, "gzip"),
        ("image/svg+xml", 5_000, "gzip"),
        ("image/png", 5_000, None),
        ("application/gzip", 5_000, None),
        ("application/octet-stream", None, None),
        ("", 5_000, None),
        (None, 5_000, None),
    ],
)
def test_what_is_not_worth_it_is_coded_only_for_whoever_takes_nothing_else(media_type, size, coding):
    assert chosen("gzip", media_type, size) == coding
    for refused in ("identity;q=0", "*;q=0"):
        assert chosen(f"gzip, {refused}", media_type, size) == "gzip"


def test_an_answer_may_like_another_order():
    alike = "gzip, br, zstd"
    assert chosen(alike, CSV, order=("gzip", "zstd", "br")) == "gzip"
    assert chosen("gzip;q=0.5, zstd", CSV, order=("gzip", "zstd", "br")) == "zstd"


_NAMES = st.sampled_from([*CODINGS, "deflate", "identity", "*", "x-unknown"])
_QUALITIES = st.sampled_from(
    [None, "0", "0.0", "0.000", "0.001", "0.25", "0.5", "0.999", "1", "1.0", "1.000"]
)
_BLANK = st.sampled_from(["", " ", "\t", "  "])


@given(st.dictionaries(_NAMES, _QUALITIES, max_size=7), st.data())
def test_it_is_chosen_as_rfc_9110_says(likes: dict[str, str | None], data: st.DataObject):
    fields = []
    for name, quality in likes.items():
        written = data.draw(st.sampled_from([name, name.upper()]))
        weight = "" if quality is None else f"{data.draw(_BLANK)};{data.draw(_BLANK)}q={quality}"
        fields.append(f"{data.draw(_BLANK)}{written}{weight}{data.draw(_BLANK)}")
    header = ",".join(fields)
    said = {name: float(quality or "1") for name, quality in likes.items()}
    weights = {name: said.get(name, said.get("*", 0.0)) for name in CODINGS}
    most = max(weights.values())
    plain = said.get("identity", said.get("*"))
    expected = next(name for name in CODINGS if weights[name] == most)
    is_coded = most > 0 and (plain is None or most >= plain)
    assert chosen(header, "text/csv", 5_000) == (expected if is_coded else None), header


@given(st.text(st.characters(max_codepoint=255), max_size=1_200))
def test_nothing_that_is_sent_does_any_harm(accepted: str):
    assert chosen(accepted, "text/csv", 5_000) in {None, *CODINGS}


def _rows(count: int, seed: int = 1) -> Iterator[bytes]:
    dice = random.Random(seed)
    for number in range(count):
        yield f"{number},2026-01-02T03:04:05.000000Z,{dice.random():.6f},{dice.random():.6f}\r\n".encode()


@pytest.mark.parametrize("coding", CODINGS)
class TestCoding:
    """Of each: whole and as a stream."""

    @pytest.mark.parametrize("is_kept", [False, True])
    def test_a_whole_body_is_read_by_the_strictest(self, coding: Coding, is_kept: bool):
        for content in (b"", b"x", b"".join(_rows(5_000)), random.Random(2).randbytes(300_000)):
            coded = encode(content, coding, is_kept=is_kept)
            assert DECODERS[coding](coded) == content
            assert len(coded) < 1.001 * len(content) + 100

    def test_a_stream_is_read_by_the_strictest(self, coding: Coding):
        for chunks in ([], [b""], [b"x"], [b"a", b"", b"b"], [*_rows(5_000)], [b"x" * 1_000_000]):
            assert DECODERS[coding](b"".join(stream(iter(chunks), coding))) == b"".join(chunks)

    @given(st.lists(st.binary(max_size=2_000), max_size=20))
    def test_a_stream_of_anything(self, coding: Coding, chunks: list[bytes]):
        assert DECODERS[coding](b"".join(stream(chunks, coding))) == b"".join(chunks)

    def test_a_stream_flows(self, coding: Coding):
        """The first rows are there at once, and never more than 64 kB of them wait."""
        sent = read = 0

        def rows() -> Iterator[bytes]:
            nonlocal sent
            for row in _rows(20_000):
                sent += len(row)
                yield row

        reader, before = READERS[coding](), 0
        for number, piece in enumerate(stream(rows(), coding)):
            read += len(reader(piece))
            assert number or 0 < read == sent < 100
            assert sent - before < 64 * 1024 + 100
            before = sent
            # Brotli's own reader in Python holds back what others, node's for one, hand out at once.
            assert coding == "br" or sent - read < 64 * 1024 + 100
        assert read == sent

    def test_a_stream_costs_little_more_than_a_whole(self, coding: Coding):
        rows = [*_rows(20_000)]
        whole = encode(b"".join(rows), coding)
        assert len(b"".join(stream(rows, coding))) < 1.1 * len(whole)

    def test_a_stream_that_breaks_has_no_end(self, coding: Coding):
        def broken() -> Iterator[bytes]:
            yield from _rows(3_000)
            raise OSError

        pieces, going = [], stream(broken(), coding)
        with pytest.raises(OSError):  # noqa: PT011 - it has no text
            pieces.extend(iter(lambda: next(going), None))
        with pytest.raises(Exception):  # noqa: B017, PT011 - each decoder has its own
            DECODERS[coding](b"".join(pieces))

    def test_whoever_closes_a_stream_closes_what_it_reads(self, coding: Coding):
        closed = []

        def rows() -> Iterator[bytes]:
            try:
                yield from _rows(100_000)
            finally:
                closed.append(True)

        source = rows()
        going = stream(source, coding)
        next(going)
        going.close()
        assert closed == [True]


def test_other_processes_make_the_same_bytes():
    code = (
        "import hashlib; from harbor_api.web.compression import CODINGS, encode, stream\n"
        "content = bytes(range(256)) * 400 + b'a,b,c' * 9_000\n"
        "made = [part for it in CODINGS for part in (encode(content, it), *stream([content] * 2, it))]\n"
        "print(hashlib.sha256(b''.join(made)).hexdigest())"
    )
    others = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(others) == 1


def test_gzip_tells_neither_a_time_nor_a_system():
    for coded in (encode(b"x" * 9_000, "gzip"), b"".join(stream([b"x"], "gzip"))):
        assert coded[:10] == bytes.fromhex("1f8b 08 00 00000000 00 ff")


@pytest.mark.parametrize(("program", "coding"), [("gzip", "gzip"), ("zstd", "zstd"), ("brotli", "br")])
def test_the_programs_of_that_name_read_it(program: str, coding: Coding):
    if shutil.which(program) is None:
        pytest.skip(f"no {program} on this machine")
    rows = [*_rows(9_000)]
    for coded in (encode(b"".join(rows), coding), b"".join(stream(rows, coding))):
        done = subprocess.run([program, "-dc"], input=coded, capture_output=True, check=True)
        assert done.stdout == b"".join(rows)
