"""API keys: their form."""

from hypothesis import given
from hypothesis import strategies as st

from harbor_api.domain import api_keys


def test_new_keys_are_well_formed_and_differ():
    keys = {api_keys.generate() for _ in range(100)}
    assert len(keys) == 100
    assert all(api_keys.is_well_formed(key) and len(key) == 40 for key in keys)


@given(st.integers(4, 39), st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
def test_one_mistyped_character_is_noticed(place, character):
    key = api_keys.generate()
    mistyped = key[:place] + character + key[place + 1 :]
    assert api_keys.is_well_formed(mistyped) == (mistyped == key)


@given(st.text())
def test_other_text_is_no_key(text):
    assert not api_keys.is_well_formed(text)
