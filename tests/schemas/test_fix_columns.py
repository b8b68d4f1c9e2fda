"""A batch that is read by the column holds exactly the fixes that it holds one by one."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.examples import many
from tests.support.factories import FIX

from harbor_api.domain.received_columns import ByColumn, ReceivedColumns
from harbor_api.schemas.fix_columns import LEAST, load_columns
from harbor_api.schemas.positions import FixSchema, load_fix

REQUIRED = {"recorded_at", "lat", "lon"}


def _by_column(items):
    """Return what the columns of a batch hold, None where it is not taken by the column."""
    columns = load_columns(items)
    return None if columns is None else columns.one_by_one()


def _never_more_lenient(items):
    found = _by_column(items)
    # The text tells 4 from 4.0 and 0.0 from -0.0.
    assert found is None or repr(found) == repr([load_fix(each) for each in items])
    return found


def _batch(**values):
    return [{**FIX, **values} for _ in range(LEAST)]


def test_every_member_of_a_fix_is_read():
    # What the schema gains the columns have to be taught; without a value here no test would see it.
    assert FIX.keys() == FixSchema().fields.keys()
    found = _never_more_lenient(_batch())
    assert found is not None
    assert None not in found[0].motion


# What trackers send, and what lies about its bounds.
_numbers = {
    "lat": (-90, 90),
    "lon": (-180, 180),
    "sog": (0, 102.3),
    "cog": (0, 360),
    "heading": (0, 360),
    "accuracy_m": (0, 1_000_000),
    "battery_v": (0, 1000),
}
_usual = {
    name: st.one_of(st.floats(least, most), st.integers(math.ceil(least), math.floor(most)))
    for name, (least, most) in _numbers.items()
}
_usual["nav_status"] = st.integers(0, 15)
_usual["number"] = st.integers(0, 2**53 - 1)
_moments = st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31, 23, 59, 59))  # noqa: DTZ001 - in UTC below
_forms = st.sampled_from(
    [
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%dt%H:%M:%Sz",
        "%Y-%m-%dT%H:%M:%S.%fZ",
        "%Y-%m-%dT%H:%M:%S.%f123456789+00:00",
        "%Y-%m-%dT%H:%M:%S.5-03:30",
        "%Y-%m-%dT%H:%M:%S+14:00",
    ]
)
_optional = st.sets(st.sampled_from(sorted(FIX.keys() - REQUIRED)))
_null = st.sampled_from(["sog", "cog", "heading", "nav_status", "accuracy_m", "battery_v"])


@st.composite
def _batches(draw):
    """A batch of one form, of which nothing is wrong."""
    form, names = draw(_forms), REQUIRED | draw(_optional)
    values = {name: draw(st.lists(_usual[name], min_size=3, max_size=3)) for name in names if name in _usual}
    moments = draw(st.lists(_moments, min_size=3, max_size=3))
    items = []
    for place in range(LEAST):
        fix = {"recorded_at": moments[place % 3].replace(tzinfo=UTC).strftime(form)}
        fix |= {name: several[place % 3] for name, several in values.items()}
        items.append(fix)
    for name in draw(st.sets(_null)) & names:
        items[draw(st.integers(0, LEAST - 1))][name] = None
    return items


@given(items=_batches())
@settings(deadline=None, max_examples=many(300))
def test_what_trackers_send_is_read_as_one_by_one(items):
    # A form with another offset may leave the years of a datetime, and is no fix then.
    if all(load_fix(each) for each in items):
        assert _never_more_lenient(items) is not None


_ODD = [
    *(
        None,
        True,
        False,
        "",
        "8.4",
        [],
        {},
        -1,
        -0.0,
        0,
        1e-9,
        0.0005,
        0.0015,
        8.3999999,
        90.0000001,
        91,
        181,
    ),
    *(102.3, 102.3004, 102.2995, 102.31, 360, 360.0, 359.9996, 360.0004, 361, 510, 511, 511.0, 511.0004, 512),
    *(math.nan, math.inf, -math.inf),
    *(15, 15.0, 16, -1.0, 9_999.9999, 10_000, 10_000.06, 999_999.96, 1e6, 1_000_000.4, 1e308, -1e308, 5e-324),
    *(2**53 - 1, 2**53, 2**63, 2**64, 10**308, -(10**308), 1.7976931348623157e308, 3.5, 1041.0),
    *("2026-01-02T03:04:05Z", "2026-01-02T03:04:60Z", "2026-06-30T23:59:60Z", "2026-02-29T00:00:00Z"),
    *("2024-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z"),
    *("2026-01-01T24:00:00Z", "2026-01-01T23:60:00Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    *("9999-12-31T23:59:59Z", "2026-01-02 03:04:05Z", "2026-01-02T03:04:05z", "2026-01-02t03:04:05Z"),
    *("2026-01-02T03:04:05", "2026-01-02T03:04:05.Z", "2026-01-02T03:04:05.1Z", "2026-01-02T03:04:0٥Z"),
    *(
        "2026-01-02T03:04:05+00:00",
        "2026-01-02T03:04:05-00:00",
        "2026-01-02T03:04:05+24:00",
        "20260102T030405Z",
    ),
    *("2026-01-02T03:04:05+23:59", "２026-01-02T03:04:05Z", "2026-01-02T03:04:05\0", "2026-W01-2T03:04:05Z"),
    *("1969-12-31T23:59:59Z", "2100-01-01T00:00:00Z", "2026-01-02T03:04:05." + "9" * 100 + "Z"),
]
_odd = st.one_of(st.sampled_from(_ODD), st.floats(allow_nan=False, allow_infinity=False), st.integers())


@given(
    items=_batches(),
    wrong=st.lists(st.tuples(st.integers(0, LEAST - 1), st.sampled_from(sorted(FIX)), _odd), max_size=3),
)
@settings(deadline=None, max_examples=many(600))
def test_what_is_unusual_is_never_taken_for_something_else(items, wrong):
    for place, name, value in wrong:
        items[place][name] = value
    _never_more_lenient(items)


@pytest.mark.parametrize("name", sorted(FIX))
def test_each_odd_value_alone_and_everywhere(name):
    for value in _ODD:
        items = _batch()
        items[7][name] = value
        _never_more_lenient(items)
        _never_more_lenient(_batch(**{name: value}))


@pytest.mark.parametrize("name", sorted(FIX))
def test_a_member_that_one_fix_lacks_or_has_besides(name):
    items = _batch()
    del items[7][name]
    # A number may be left out, but then it is none: whoever counts some fixes is read one by one.
    assert (_never_more_lenient(items) is None) == (name in REQUIRED | {"number"})
    items = _batch()
    for each in items[1:]:
        del each[name]
    assert (_never_more_lenient(items) is None) == (name in REQUIRED | {"number"})
    items[7]["another"] = 1
    assert _by_column(items) is None
    assert _by_column([{**each, "another": 1} for each in _batch()]) is None


def test_fixes_of_as_many_members_that_are_not_the_same():
    items = [{**FIX, name: 1} for name in ("sog", "cog") for _ in range(LEAST)]
    for place, each in enumerate(items):
        del each["heading" if place % 2 else "battery_v"]
    assert _never_more_lenient(items) is not None
    items[3] = {"another" if name == "cog" else name: value for name, value in items[3].items()}
    assert _by_column(items) is None


@pytest.mark.parametrize(
    "item", [None, 1, "fix", [], [FIX], {}, dict.fromkeys(FIX), {**FIX, "lat": {}}], ids=repr
)
def test_what_is_no_fix_among_fixes(item):
    items = _batch()
    items[3] = item
    assert _never_more_lenient(items) is None


def test_decimals_are_kept_as_one_by_one():
    """Rounding is where one that is quick errs: at a half, and at the numbers that no double can hold."""
    for name, decimals in (("lat", 6), ("sog", 3)):
        step = 10.0**-decimals / 2
        for first in range(0, 20_000, 1_000):
            values = [(first + place) * step for place in range(1_000)]
            values = [math.nextafter(each, 0 if place % 2 else 99) for place, each in enumerate(values)]
            _never_more_lenient([{**FIX, name: each} for each in values])


def test_by_column_is_as_received_one_by_one():
    found = load_columns(_batch())
    assert found is not None
    fixes = ByColumn(ReceivedColumns.of([*_received(found)]), _batch())
    assert [each.fix.motion for each in fixes] == [load_fix(FIX).motion] * LEAST
    assert fixes[1:3] == fixes[:][1:3]


def _received(columns):
    from harbor_api.domain.positions import ReceivedFix

    at = datetime(2026, 1, 2, tzinfo=UTC)
    return (ReceivedFix(1, 2, at, fix) for fix in columns.one_by_one())
