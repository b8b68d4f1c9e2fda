"""A member that is joined from blocks is what any reader of gzip takes it for."""

import gzip
import shutil
import subprocess
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.codings import DECODERS

from harbor_api.domain.gzip_blocks import Block, deflate_block, join_gzip

_CONTENTS = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda part, times: part * times, st.binary(max_size=30), st.integers(0, 4_000)),
)


@given(st.lists(_CONTENTS, max_size=8))
def test_blocks_in_any_number_are_one_member_of_all(contents: list[bytes]):
    blocks = [deflate_block(each) for each in contents]
    whole = b"".join(contents)
    joined = join_gzip(blocks)
    assert DECODERS["gzip"](joined) == gzip.decompress(joined) == whole
    # A block is good at any place, and again.
    assert DECODERS["gzip"](join_gzip([*reversed(blocks), *blocks])) == b"".join(contents[::-1]) + whole


@pytest.mark.parametrize("millions", [1, 30, 5_000])
def test_a_member_may_be_of_any_length(millions: int):
    million = deflate_block(bytes(1_000_000))
    joined = join_gzip([deflate_block(b"positions"), *[million] * millions])
    assert int.from_bytes(joined[-4:], "little") == (9 + 1_000_000 * millions) % 2**32
    if millions < 100:
        check = zlib.crc32(b"positions" + bytes(1_000_000 * millions))
        assert int.from_bytes(joined[-8:-4], "little") == check


def test_it_says_neither_when_nor_where_it_was_made():
    assert join_gzip([]) == bytes.fromhex("1f8b 08 00 00000000 00 ff 0300 00000000 00000000")
    member = join_gzip([deflate_block(b"x" * 5_000)])
    assert member[:10] == bytes.fromhex("1f8b 08 00 00000000 00 ff")


@pytest.mark.skipif(shutil.which("gzip") is None, reason="no gzip on this machine")
def test_gzip_itself_reads_it():
    contents = [b'{"features":[', *(b'{"id":%d},' % number * 500 for number in range(40)), b"]}"]
    joined = join_gzip(map(deflate_block, contents))
    done = subprocess.run(["gzip", "-dc"], input=joined, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"".join(contents), b"")


def test_a_damaged_block_is_noticed():
    blocks = [deflate_block(b"a" * 4_000), deflate_block(b"b" * 4_000)]
    wrong = Block(blocks[0].deflated, blocks[0].crc ^ 1, blocks[0].length, blocks[0].shift)
    with pytest.raises(zlib.error, match="incorrect data check"):
        DECODERS["gzip"](join_gzip([wrong, blocks[1]]))
