"""What a process remembers of signed messages: the first answer of each, and no more than it has room for."""

import os
import tracemalloc

import orjson
import pytest

from harbor_api.ingest import repeats
from harbor_api.ingest.repeats import Answer, Repeats

FIRST, SECOND = Answer(201, b'{"verdict":"stored"}'), Answer(200, b'{"verdict":"duplicate"}')


def named(number: int) -> bytes:
    return Repeats.name("positions", f"trk_0001-{number}", b"{}")


def test_of_several_under_way_the_first_answer_is_told():
    met = Repeats()
    # Both have come before either was answered; the second one finds stored what the first one sent.
    met.note(named(1))
    met.note(named(1))
    assert met.answer(named(1)) is None
    met.note(named(1), FIRST)
    met.note(named(1), SECOND)
    assert met.answer(named(1)) == FIRST


def test_a_message_that_failed_is_told_what_it_gets_later():
    met = Repeats()
    met.note(named(1))
    assert met.is_met(named(1))
    met.note(named(1), SECOND)
    assert met.answer(named(1)) == SECOND


def test_one_that_is_long_ago_is_new(monkeypatch: pytest.MonkeyPatch):
    met = Repeats()
    met.note(named(1), FIRST)
    later = repeats.time.monotonic() + 601
    monkeypatch.setattr(repeats.time, "monotonic", lambda: later)
    assert not met.is_met(named(1))
    met.note(named(1), SECOND)
    assert met.answer(named(1)) == SECOND


@pytest.mark.parametrize("size", [0, 100, 1_023, 1_024, 60_000])
def test_the_oldest_go_where_there_is_no_more_room(size):
    met = Repeats(most_bytes=100_000)
    # Nothing that could be compressed, which is the most that an answer may take.
    for number in range(500):
        met.note(named(number))
        met.note(named(number), Answer(200, os.urandom(size)))
    kept = [number for number in range(500) if met.is_met(named(number))]
    assert kept == list(range(kept[0], 500))
    assert 100_000 / (size + 500) - 1 <= len(kept) <= 100_000 / (size + 400)
    for number in kept:
        assert len(met.answer(named(number)).body) == size


def test_what_is_kept_takes_no_more_room_than_is_counted():
    met = Repeats()
    many = 1_000
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(many):
            # As the service renders it: orjson writes into 4 kB and more, and gives none of it back.
            met.note(named(number), Answer(201, orjson.dumps({"verdict": "stored", "latest": True})))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before <= met._bytes
