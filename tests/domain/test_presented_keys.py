"""What is said of a key that is none: the mistake where the form shows it, and nothing of what was sent."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor_api.domain import api_keys, presented_keys
from harbor_api.domain.errors import KeyInvalid, KeyMissing

KEY = api_keys.generate(bytes(range(32)))
WRONG = KEY[:-1] + ("A" if KEY[-1] != "A" else "B")


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER  {KEY} ", f"Bearer {KEY}\t"])
def test_a_whole_key_is_read(header):
    assert presented_keys.read(header) == KEY


@pytest.mark.parametrize(
    ("header", "kind", "hint"),
    [
        ("", KeyMissing, "Send your API key"),
        ("Bearer", KeyMissing, "no key behind Bearer"),
        ("Bearer ", KeyMissing, "no key behind Bearer"),
        (KEY, KeyMissing, "the word Bearer is missing"),
        (f"Token {KEY}", KeyMissing, "the word before the key is Bearer"),
        (f"ApiKey {KEY}", KeyMissing, "the word before the key is Bearer"),
        (f"Basic {KEY}", KeyMissing, "a name and a password are not taken"),
        (f"Bearer:{KEY}", KeyMissing, "between the two is one space"),
        (f"Bearer: {KEY}", KeyMissing, "between the two is one space"),
        (f"Bearer{KEY}", KeyMissing, "between the two is one space"),
        (f"Bearer Bearer {KEY}", KeyInvalid, "the word Bearer stands twice"),
        (f"Bearer bearer {KEY}", KeyInvalid, "the word Bearer stands twice"),
        (f'Bearer "{KEY}"', KeyInvalid, "quotation marks"),
        (f"Bearer '{KEY}'", KeyInvalid, "quotation marks"),
        (f"Bearer \u201c{KEY}\u201d", KeyInvalid, "quotation marks"),
        (f"Bearer {KEY}\\n", KeyInvalid, "a line end stands behind it"),
        (f"Bearer {KEY}%0A", KeyInvalid, "a line end stands behind it"),
        (f"Bearer {KEY} {KEY}", KeyInvalid, "more than one word"),
        (f"Bearer {KEY},Bearer {KEY}", KeyInvalid, "more than one word"),
        (f"Bearer {KEY},", KeyInvalid, "more than one word"),
        ("Bearer hbr_...", KeyInvalid, "placeholder"),
        ("Bearer <your key>", KeyInvalid, "placeholder"),
        ("Bearer $HARBOR_KEY", KeyInvalid, "placeholder"),
        ("Bearer {{key}}", KeyInvalid, "placeholder"),
        ("Bearer whsec_" + "A" * 43 + "=", KeyInvalid, "a tracker's secret"),
        (f"Bearer {KEY.removeprefix('hbr_')}", KeyInvalid, "lacks hbr_"),
        (f"Bearer {KEY.replace('hbr_', 'HBR_')}", KeyInvalid, "in lower case"),
        ("Bearer eyJhbGciOiJIUzI1NiJ9.e30.x", KeyInvalid, "a key begins with hbr_"),
        (f"Bearer {KEY[:-1]}", KeyInvalid, "cut off"),
        ("Bearer hbr_", KeyInvalid, "cut off"),
        (f"Bearer {KEY}0", KeyInvalid, "too long"),
        (f"Bearer {KEY[:20]}-{KEY[21:]}", KeyInvalid, "letters and digits alone"),
        (f"Bearer {WRONG}", KeyInvalid, "mistyped"),
    ],
)
def test_a_usual_mistake_is_named_and_nothing_repeated(header, kind, hint):
    with pytest.raises(kind) as caught:
        presented_keys.read(header)
    assert hint in caught.value.detail
    assert KEY[4:12] not in caught.value.detail


@given(st.text(max_size=60), st.sampled_from(["", "Bearer ", "Bearer hbr_", f"Bearer {KEY}", "Basic "]))
def test_any_text_is_answered(text, begin):
    with suppress(KeyMissing, KeyInvalid):
        assert presented_keys.read(begin + text) == KEY
