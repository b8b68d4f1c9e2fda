"""load_fix and FixSchema take and refuse the same values, with the same results."""

import copy
import math
import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.examples import many
from tests.support.factories import FIX

from harbor_api.domain.errors import NoFix
from harbor_api.domain.judgement import Thresholds, judge
from harbor_api.domain.positions import Fix, Motion, Neighbour
from harbor_api.domain.times import rfc3339
from harbor_api.schemas.positions import FixSchema, is_no_fix, load_fix

EARLY, LATE = (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC) + timedelta(days=days) for days in (-40_000, 0))
repeatable = settings(derandomize=True, deadline=None, max_examples=many(500))


def _slowly(value):
    """Return what the schema makes of a value; None where it raises anything."""
    try:
        return FixSchema().load(copy.deepcopy(value))
    except Exception:
        return None


def _both(value):
    """Return what both make of a value: where the fast one has an answer, the same."""
    before = copy.deepcopy(value)
    fast_one, slow_one = load_fix(value), _slowly(value)
    # The text tells 4 from 4.0, 0.0 from -0.0, and finds NaN the same as NaN.
    assert repr(value) == repr(before), "the input was changed"
    assert fast_one is None or repr(fast_one) == repr(slow_one)
    return fast_one, slow_one


def _agree(value):
    """Both take a value that JSON can hold, with the same result, or both refuse it."""
    fast_one, slow_one = _both(value)
    assert (fast_one is None) == (slow_one is None)


# Values


def _either_number(low, high):
    return st.integers(math.ceil(low), math.floor(high)) | st.floats(low, high)


def _ordinary_time():
    moments = st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
    return st.builds(
        "{}{}{}".format,
        moments.map("{:%Y-%m-%dT%H:%M:%S}".format),
        st.sampled_from(["", "", ".5", ".250", ".123456", ".123456789"]),
        st.sampled_from(["Z", "Z", "+00:00", "-00:00", "+02:00", "-11:30", "+14:00"]),
    )


ordinary_fixes = st.fixed_dictionaries(
    {
        "recorded_at": _ordinary_time(),
        "lat": _either_number(-90, 90),
        "lon": _either_number(-180, 180),
    },
    optional={
        "sog": _either_number(0, 102.3) | st.sampled_from([None, 102.3]),
        "cog": _either_number(0, 360) | st.sampled_from([None, 360, 360.0, 359.9999]),
        "heading": _either_number(0, 360) | st.sampled_from([None, 511, 511.0, 359.9999]),
        "nav_status": st.integers(0, 15) | st.sampled_from([None, 15.0, 3.0]),
        "accuracy_m": _either_number(0, 1_000_000) | st.none(),
        "battery_v": _either_number(0, 1000) | st.none(),
        "number": st.integers(0, 2**53 - 1) | st.sampled_from([0.0, 1041.0, 2**53 - 1]),
    },
)
ODD_NUMBERS = (
    -0.0, 0, 1e308, -1e308, 5e-324, 1e-5, 0.0005, 359.9995, 359.9999999, 10**308, -(10**308),
    2**53 - 1, 2.0**53 - 1, 2**53, 2.0**53, 2**53 + 1,
    102.3, 102.30000000000001, 102.4, 360, 360.0, 360.0000001, 511, 511.0, 510.9, 15, 15.0, 15.5, 14.9999,
    16, -1, 91, 91.0, -91, 90.0, 90.00000000000001, 181, 181.0, -181, 180.00000000000003,
    1_000_000, 1_000_000.1, 1000, 1000.5,
)  # fmt: skip
odd_numbers = st.sampled_from(ODD_NUMBERS)
not_json = st.sampled_from([math.nan, math.inf, -math.inf, 10**400, -(10**400), (), b"", object, {1, 2}])
# The parts of a time, each with what it may be and what it may not.
_PARTS = (
    ("2026", "0000", "0001", "2024", "9999", "10000", "+2026", "२०२६"),
    ("-",),
    ("02", "00", "01", "12", "13", "1", "W1"),
    ("-", ""),
    ("02", "00", "01", "28", "29", "30", "31", "32", "1 "),
    ("T", "t", " ", "_", "\0"),
    ("03", "00", "12", "23", "24", "25", "-1"),
    (":", "", "."),
    ("04", "00", "59", "60", "Z\0", "+1"),
    (":", ""),
    ("05", "00", "59", "60", "61", "5", "٠٠"),
    ("", ".", ".0", ".999999999", ".9999999999", ",5"),
    ("Z", "z", "", " Z", "Z\n", "+00:00", "+14:00", "-14:00", "+23:59", "-23:59", "+24:00", "-99:99",
     "-24:00", "+0530", "+05", "+05:30:15", "+05:30:15.000001"),
)  # fmt: skip


@st.composite
def _odd_time(draw):
    parts = [part[0] for part in _PARTS]
    for place in draw(st.lists(st.integers(0, len(parts) - 1), min_size=1, max_size=3)):
        parts[place] = draw(st.sampled_from(_PARTS[place]))
    return "".join(parts)


odd_times = _odd_time() | st.sampled_from(
    ["2026-W01-1T00:00:00Z", "2026-001T00:00:00Z", "20260102T030405Z", "2026-01-02Z", "2026-01-02T03:Z\0:05Z",
     "now", "", "1767323045"]
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
odd_values = (
    odd_numbers
    | odd_numbers.map(str)
    | odd_times
    | json_values
    | st.sampled_from([True, False, "8.4", "NaN"])
)
names = st.sampled_from([*FIX, "at", "Lat", "lat ", "", "_schema"])


@st.composite
def near_fixes(draw, values=odd_values):
    """An ordinary fix of which some members are replaced, removed or added."""
    fix = draw(ordinary_fixes)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(names)
        if draw(st.integers(0, 4)):
            fix[name] = draw(values)
        else:
            fix.pop(name, None)
    return fix


# A fix


@given(ordinary_fixes)
@repeatable
def test_every_ordinary_fix_is_taken_fast(value):
    fast_one, slow_one = _both(value)
    assert isinstance(fast_one, Fix)
    assert fast_one == slow_one


@given(near_fixes())
@repeatable
def test_fixes_with_mistakes_are_taken_and_refused_alike(value):
    _agree(value)


@given(near_fixes(odd_values | not_json))
@repeatable
def test_what_no_json_holds_is_at_most_taken_alike(value):
    _both(value)


@given(json_values | st.lists(ordinary_fixes, max_size=2) | not_json)
@repeatable
def test_what_is_no_object_is_left_to_the_schema(value):
    assert load_fix(value) is None


@pytest.mark.parametrize("name", FIX)
@given(value=odd_values)
@settings(repeatable, max_examples=many(100))
def test_each_member_is_taken_and_refused_alike(name, value):
    _agree({**FIX, name: value})


@pytest.mark.parametrize("name", FIX)
def test_each_bound_is_the_same(name):
    for value in ODD_NUMBERS:
        _agree({**FIX, name: value})


@given(odd_times | _ordinary_time() | st.text())
@repeatable
def test_times_are_taken_and_refused_alike(value):
    _agree({**FIX, "recorded_at": value})


def test_these_fixes_have_each_member_of_the_schema():
    # What the schema gains load_fix has to be taught; without a value here no test above would see it.
    assert FIX.keys() == FixSchema().fields.keys()


@pytest.mark.parametrize(
    "values", [{"lat": 91}, {"lon": 181}, {"number": None}, {"sog": []}, {"lat": True}, {"sog": 10**400}]
)
def test_none_of_these_is_a_fix(values):
    assert load_fix({**FIX, **values}) is None


def test_a_fix_is_taken_to_the_last_type():
    assert repr(load_fix(FIX)) == repr(
        Fix(
            recorded_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            motion=Motion(
                lat=59.9,
                lon=10.7,
                sog=8.4,
                cog=181.2,
                heading=180.0,
                nav_status=0,
                accuracy_m=4.0,
                battery_v=3.9,
            ),
            number=1041,
        )
    )


def test_sentinels_are_null_and_measures_rounded_on_both_paths():
    value = {**FIX, "sog": 102.3, "cog": 360, "heading": 511, "nav_status": 15, "accuracy_m": 1.23456}
    fast_one, slow_one = _both(value)
    assert fast_one.motion == slow_one.motion == Motion(lat=59.9, lon=10.7, accuracy_m=1.235, battery_v=3.9)
    around = {**FIX, "cog": 0.0004, "heading": 360}
    motion = _both(around)[0].motion
    assert (motion.cog, motion.heading) == (0, 0)


# Judged is what is kept


def _as_read_again(fix):
    """Return the JSON of a fix as PostgreSQL has it: measures in four bytes, times in microseconds."""
    members = {
        name: value if name in {"lat", "lon", "nav_status"} else _in_four_bytes(value)
        for name, value in fix.motion._asdict().items()
        if value is not None
    }
    return {"recorded_at": rfc3339(fix.recorded_at), **members}


def _in_four_bytes(value):
    single = struct.unpack("f", struct.pack("f", value))[0]
    texts = (f"{single:.{digits}g}" for digits in range(1, 10))
    return float(next(text for text in texts if struct.pack("f", float(text)) == struct.pack("f", value)))


@given(ordinary_fixes | near_fixes(odd_numbers | odd_times | st.floats(0, 1_000_001)))
@settings(repeatable, max_examples=many(2_000))
def test_what_is_kept_and_sent_again_is_the_same_fix(value):
    fix = load_fix(value)
    if fix is None:
        return
    again = load_fix(_as_read_again(fix))
    # The text finds -0.0, which equals 0.0.
    assert repr(again) == repr(fix._replace(number=None))
    assert "-0.0," not in repr(fix)
    here, there = Neighbour.of(fix), Neighbour.of(again)
    for now in (fix.recorded_at, EARLY, LATE):
        verdicts = [judge(one, now=now, thresholds=Thresholds()) for one in (here, there)]
        assert verdicts[0] == verdicts[1]


@pytest.mark.parametrize(
    ("name", "sent", "is_kept"),
    [
        # 1023 tenths of a knot, as a float has them.
        ("sog", 1023 * 0.1, None),
        ("sog", 102.29999, None),
        ("sog", 102.30049, None),
        ("sog", 102.2994, 102.299),
        ("sog", -0.0004, 0.0),
        ("sog", -0.0, 0.0),
        ("cog", 359.9999999, None),
        ("cog", 360.0000001, None),
        ("cog", 359.9994, 359.999),
        ("heading", 359.9999999, 0.0),
        ("heading", 360.0000001, 0.0),
        ("heading", 510.9999999, None),
        ("heading", -0.0, 0.0),
        ("lat", 90.0000001, 90.0),
        ("lat", -90.0000001, -90.0),
        ("lat", -0.0000001, 0.0),
        ("lon", 180.0000001, 180.0),
        ("lon", -180.0000001, -180.0),
        ("lon", -0.0, 0.0),
        ("accuracy_m", 999999.999, 1000000.0),
        ("accuracy_m", 1000000.0001, 1000000.0),
        ("accuracy_m", 12345.678, 12345.7),
        ("battery_v", -1e-9, 0.0),
    ],
)
def test_a_number_is_rounded_before_it_is_judged(name, sent, is_kept):
    fast_one, slow_one = _both({**FIX, name: sent})
    assert repr(getattr(fast_one.motion, name)) == repr(getattr(slow_one.motion, name)) == repr(is_kept)


@pytest.mark.parametrize("value", [{"lat": 90.999999999}, {"lon": 181.0000001}, {"lat": 91}])
def test_no_fix_is_known_by_what_is_kept(value):
    assert is_no_fix({**FIX, **value})
    with pytest.raises(NoFix):
        FixSchema().load({**FIX, **value})


@pytest.mark.parametrize(
    "value", [{"lat": 90.000001}, {"lon": -180.000001}, {"sog": 102.301}, {"sog": -0.001}]
)
def test_beyond_a_bound_is_what_is_beyond_it_once_rounded(value):
    assert load_fix({**FIX, **value}) is None
