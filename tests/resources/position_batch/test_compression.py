"""Compressed bodies: gzip and deflate, whole streams only, and no bombs."""

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import pytest
from tests.resources.position_batch.batches import LATEST, STORED, problem_of, stored_in
from tests.support.checked_client import CheckedClient
from tests.support.factories import SigningTracker, World, a_fix
from tests.support.urls import BATCH as URL
from tests.support.urls import POSITIONS as ALONE

from harbor_api.domain.errors import BadRequest, BodyTooLarge
from harbor_api.web.strict_json import LARGEST_DECOMPRESSED, decompress

MIB = 1024 * 1024


def _raw_deflate(body: bytes, level: int = 9) -> bytes:
    machine = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return machine.compress(body) + machine.flush()


COMPRESSIONS = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "in capitals": (" GZip ", gzip.compress),
    "with a file name": ("gzip", lambda body: _named(gzip.compress(body))),
    "zlib": ("deflate", zlib.compress),
    "zlib, stored": ("deflate", lambda body: zlib.compress(body, 0)),
    "gzip in members": ("gzip", lambda body: _in_members(body, 3)),
    "raw": ("deflate", _raw_deflate),
    "raw, stored": ("deflate", lambda body: _raw_deflate(body, 0)),
    "raw, fast": ("deflate", lambda body: _raw_deflate(body, 1)),
}


def _named(member: bytes) -> bytes:
    """Return a gzip member with a file name in its header (RFC 1952, FNAME)."""
    return member[:3] + b"\x08" + member[4:10] + b"fixes.json\0" + member[10:]


def _in_members(body: bytes, many: int) -> bytes:
    """Return a gzip file of so many members (RFC 1952), some of which hold nothing."""
    size = -(-max(1, len(body)) // many)
    return b"".join(gzip.compress(body[n * size : (n + 1) * size]) for n in range(many))


class TestCompressed:
    @staticmethod
    def _send(client: CheckedClient, tracker: SigningTracker, data: bytes, encoding: str, url=URL) -> Any:
        request = tracker.signed(data)
        request["headers"]["content-encoding"] = encoding
        return client.post(url, **request)

    @pytest.mark.parametrize("how", COMPRESSIONS)
    def test_bodies_are_taken(self, client: CheckedClient, world: World, how):
        encoding, compress = COMPRESSIONS[how]
        for count in (1, 300):
            body = json.dumps({"fixes": [a_fix(n) for n in range(count)]}).encode()
            tracker = world.tracker()
            answer = self._send(client, tracker, compress(body), encoding)
            assert answer.status_code == 200, answer.json
            assert answer.json["verdicts"] == [STORED] * (count - 1) + [LATEST]

    @pytest.mark.parametrize("how", COMPRESSIONS)
    def test_any_whole_stream_is_taken_and_no_part_of_one(self, how):
        encoding, compress = COMPRESSIONS[how]
        encoding = encoding.strip().lower()
        for body in (b"", b"{", b"x" * 70_000, bytes(range(256)) * 20):
            stream = compress(body)
            assert decompress(stream, encoding) == body
            for end in {0, 1, len(stream) // 2 - 1, len(stream) - 1}:
                with pytest.raises(Exception, match="The body is not"):
                    decompress(stream[:end], encoding)

    @pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip, identity", "", "*"])
    def test_other_encodings_are_refused(self, client: CheckedClient, world: World, encoding):
        body = gzip.compress(json.dumps({"fixes": [a_fix()]}).encode())
        answer = self._send(client, world.tracker(), body, encoding)
        problem_of(answer, 415, "unsupported_media_type")
        assert answer.headers["Accept-Encoding"] == "gzip, deflate"

    @pytest.mark.parametrize("encoding", ["gzip", "deflate"])
    @pytest.mark.parametrize(
        "damage",
        [
            "nothing",
            "not compressed",
            "cut",
            "changed",
            "more behind",
            "a second one",
            "half a second one",
            "zeros behind",
            "the other kind",
        ],
    )
    def test_what_is_not_one_whole_stream_is_refused(
        self, client: CheckedClient, world: World, encoding, damage
    ):
        body = json.dumps({"fixes": [a_fix(n) for n in range(20)]}).encode()
        compress, other = (gzip.compress, zlib.compress)[:: 1 if encoding == "gzip" else -1]
        stream = compress(body)
        damaged = {
            "nothing": b"",
            "not compressed": body,
            "cut": stream[:-3],
            # The last bytes are the checksum of what is before them.
            "changed": stream[:-1] + bytes([stream[-1] ^ 1]),
            "more behind": stream + b"\n",
            "a second one": stream + compress(b"x"),
            "half a second one": stream + stream[: len(stream) // 2],
            "zeros behind": stream + bytes(100),
            "the other kind": other(body),
        }[damage]

        # Of gzip a second one is a member more, and here makes that no JSON.
        code = "malformed_json" if (encoding, damage) == ("gzip", "a second one") else "bad_request"
        problem_of(self._send(client, world.tracker(), damaged, encoding), 400, code)
        assert stored_in(world) == []

    def test_what_comes_out_must_be_json(self, client: CheckedClient, world: World):
        problem_of(self._send(client, world.tracker(), gzip.compress(b"{"), "gzip"), 400, "malformed_json")

    @pytest.mark.parametrize("how", ["gzip", "zlib", "raw"])
    def test_a_mebibyte_may_come_out_and_no_more(self, client: CheckedClient, world: World, how):
        encoding, compress = COMPRESSIONS[how]
        body, tracker = json.dumps({"fixes": [a_fix()]}).encode(), world.tracker()

        too_large = self._send(client, tracker, compress(body.ljust(MIB + 1)), encoding)
        problem_of(too_large, 413, "body_too_large")
        assert stored_in(world) == []
        assert self._send(client, tracker, compress(body.ljust(MIB)), encoding).status_code == 200

    @pytest.mark.parametrize("how", ["gzip", "zlib", "raw"])
    def test_a_bomb_is_refused_before_it_has_gone_off(self, how):
        encoding, compress = COMPRESSIONS[how]
        bomb = compress(bytes(100 * MIB))
        assert len(bomb) < 512 * 1024
        tracemalloc.start()
        try:
            with pytest.raises(BodyTooLarge):
                decompress(bomb, encoding)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < 4 * LARGEST_DECOMPRESSED

    def test_a_thousand_members_are_taken_and_too_many_refused(self):
        body = b"0123456789" * 200
        assert decompress(_in_members(body, 2_000), "gzip") == body
        with pytest.raises(BadRequest):
            decompress(_in_members(body, 2_001), "gzip")

    def test_a_bomb_in_members_is_refused_too(self):
        with pytest.raises(BodyTooLarge):
            decompress(gzip.compress(bytes(MIB)) * 2, "gzip")

    def test_a_bomb_within_what_may_be_sent_is_413(self, client: CheckedClient, world: World):
        answer = self._send(client, world.tracker(), gzip.compress(bytes(100 * MIB)), "gzip")
        problem_of(answer, 413, "body_too_large")

    def test_the_signature_covers_the_bytes_as_sent(self, client: CheckedClient, world: World):
        body = json.dumps({"fixes": [a_fix()]}).encode()
        request = world.tracker().signed(body)
        request["headers"]["content-encoding"] = "gzip"
        request["data"] = gzip.compress(body)

        problem_of(client.post(URL, **request), 401, "signature_invalid")
        assert stored_in(world) == []

    def test_nothing_is_decompressed_for_whom_is_not_known(self, client: CheckedClient, world: World):
        request = world.tracker().signed(b"no gzip at all")
        request["headers"] |= {"content-encoding": "gzip", "webhook-signature": "v1,AAAA"}
        problem_of(client.post(URL, **request), 401, "signature_invalid")

    def test_a_single_fix_may_be_compressed_too(self, client: CheckedClient, world: World):
        answer = self._send(
            client, world.tracker(), gzip.compress(json.dumps(a_fix()).encode()), "gzip", ALONE
        )
        assert (answer.status_code, answer.json) == (201, LATEST)
