"""Times as text: what is taken for one, and the one form in which they leave."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor_api.domain.times import from_rfc3339, rfc3339


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02t03:04:05z", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02T03:04:05z", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02t03:04:05+00:00", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02T03:04:05-00:00", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02T03:04:05+23:59", "2026-01-01T03:05:05.000000Z"),
        ("2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05.500000Z"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456Z"),
        ("2026-01-02T03:04:05.1234567890123z", "2026-01-02T03:04:05.123456Z"),
        (f"2026-01-02T03:04:05.{'9' * 100}Z", "2026-01-02T03:04:05.999999Z"),
        # Leap seconds: one that was, one on any day, with a fraction, and by other clocks than UTC's.
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"),
        ("2026-06-17T23:59:60Z", "2026-06-18T00:00:00.000000Z"),
        ("2016-12-31t23:59:60.250z", "2017-01-01T00:00:00.250000Z"),
        ("1990-12-31T15:59:60-08:00", "1991-01-01T00:00:00.000000Z"),
        ("2017-01-01T05:29:60+05:30", "2017-01-01T00:00:00.000000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_what_rfc_3339_has_is_taken_and_told_in_one_form(text, told):
    assert rfc3339(from_rfc3339(text)) == told


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05+05:60",
        "2026-01-02T03:04:05+05:75",
        "2026-01-02T03:04:05-00:99",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:60Z",
        "2026-01-02T23:59:60+01:00",
        "2026-01-02T23:59:61Z",
        "2026-01-02T24:00:00Z",
        "9999-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "2026-02-29T00:00:00Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05,5Z",
        f"2026-01-02T03:04:05.{'9' * 101}Z",
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04:05ZZ",
        "2026-01-02T03:04:05Z\n",
        "2026-01-02T03:04:05 Z",
        "2026-1-02T03:04:05Z",
        "٢٠٢٦-01-02T03:04:05Z",
        1767323045,
        None,
    ],
)
def test_nothing_else_is_a_time(text):
    assert from_rfc3339(text) is None


@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - made aware below
    st.integers(-1439, 1439),
)
def test_a_time_that_was_told_is_read_as_it_was_and_always_as_long(moment, minutes):
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    told = rfc3339(aware)
    assert from_rfc3339(told) == aware
    assert from_rfc3339(told).tzinfo is UTC
    assert len(told) == len("2026-01-02T03:04:05.000000Z")
