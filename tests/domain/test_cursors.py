"""Cursors: what is sealed comes back to whom it was given, and to nobody else."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor_api.domain.cursors import cursor_key, fingerprint, seal, unseal
from harbor_api.domain.errors import CursorMismatch, InvalidParameter

KEY = cursor_key(bytes(range(32)))
OF = fingerprint("history", {"from": "2026-01-02T03:04:05Z", "vessel": "1"})
_values = st.lists(st.one_of(st.integers(-(2**63), 2**63), st.text(max_size=40)), max_size=5)
CURSOR = seal(KEY, holder=7, of=OF, values=[123_456, "2026-01-02T03:04:05Z", 3])


@given(holder=st.integers(1, 2**31), values=_values)
def test_what_is_sealed_comes_back(holder, values):
    cursor = seal(KEY, holder=holder, of=OF, values=values)
    assert set(cursor) <= {*string.ascii_letters, *string.digits, "-", "_"}
    assert unseal(KEY, cursor, holder=holder, of=OF) == values
    assert seal(KEY, holder=holder, of=OF, values=values) == cursor


@given(
    place=st.integers(0, len(CURSOR) - 1), character=st.sampled_from(string.ascii_letters + "0123456789-_")
)
def test_one_other_character_makes_it_nobodys(place, character):
    other = CURSOR[:place] + character + CURSOR[place + 1 :]
    if other != CURSOR:
        with pytest.raises(InvalidParameter):
            unseal(KEY, other, holder=7, of=OF)


@pytest.mark.parametrize(
    "text", ["", "A", "=", "after-1", CURSOR + "=", CURSOR + "A", CURSOR[:-2], "é" * 40, "A" * 10**6]
)
def test_what_is_no_cursor_is_refused(text):
    with pytest.raises(InvalidParameter):
        unseal(KEY, text, holder=7, of=OF)


@pytest.mark.parametrize(
    ("holder", "of"),
    [
        (8, OF),
        (7, fingerprint("history", {})),
        (7, fingerprint("fleet", {"from": "2026-01-02T03:04:05Z", "vessel": "1"})),
    ],
)
def test_it_is_bound_to_key_and_list(holder, of):
    with pytest.raises(CursorMismatch):
        unseal(KEY, CURSOR, holder=holder, of=of)


def test_another_master_key_opens_nothing():
    with pytest.raises(InvalidParameter):
        unseal(cursor_key(bytes(32)), CURSOR, holder=7, of=OF)


def test_nothing_of_it_can_be_read():
    """Numbers that differ by one make cursors that have nothing in common."""
    one, other = (seal(KEY, holder=7, of=OF, values=[number]) for number in (1_000_000, 1_000_001))
    assert sum(a == b for a, b in zip(one, other, strict=True)) < len(one) / 4
