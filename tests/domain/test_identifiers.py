"""IMO numbers and MMSIs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor_api.domain.identifiers import is_imo_number, is_mmsi


@pytest.mark.parametrize("number", ["9074729", "9176187", "1234567"])
def test_knows_imo_numbers(number):
    assert is_imo_number(number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "907472",
        "90747290",
        "9074728",
        "IMO9074729",
        "٩٠٧٤٧٢٩",
        "9074729\n",
        " 9074729",
        "0000000",
        "0123455",
    ],
)
def test_refuses_what_is_no_imo_number(text):
    assert not is_imo_number(text)


@given(st.integers(100_000, 999_999))
def test_each_six_digits_have_exactly_one_check_digit(body):
    assert sum(is_imo_number(f"{body:06d}{digit}") for digit in range(10)) == 1


@given(st.integers(100_000, 999_999), st.integers(0, 5), st.integers(1, 9))
def test_one_mistyped_digit_is_noticed_unless_its_weight_hides_it(body, place, change):
    good = next(f"{body:06d}{digit}" for digit in range(10) if is_imo_number(f"{body:06d}{digit}"))
    wrong = good[:place] + str((int(good[place]) + change) % 10) + good[place + 1 :]
    weight = (7, 6, 5, 4, 3, 2)[place]
    hidden = (int(wrong[place]) - int(good[place])) * weight % 10 == 0
    assert is_imo_number(wrong) == hidden


@given(st.text())
def test_nothing_else_passes(text):
    assert is_mmsi(text) == (len(text) == 9 and all(character in "0123456789" for character in text))


def test_nine_zeros_are_no_mmsi():
    assert not is_mmsi("000000000")
    assert is_mmsi("002570000")
