"""A generated loader and its schema take and refuse the same values, with the same results."""

import copy
import math
from datetime import UTC, datetime
from textwrap import indent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import EXCLUDE, Schema, ValidationError, post_load, pre_load, validates, validates_schema
from marshmallow.fields import Integer, List, String
from marshmallow.validate import And, Equal, Length, OneOf, Range

from harbor_api.domain.entities import Fix, Motion
from harbor_api.schemas import fast
from harbor_api.schemas.fields import Number, Timestamp, Whole
from harbor_api.schemas.positions import FixSchema, _heading

FIX = {
    "recorded_at": "2026-01-02T03:04:05Z",
    "lat": 59.9,
    "lon": 10.7,
    "sog": 8.4,
    "cog": 181.2,
    "heading": 180,
    "nav_status": 0,
    "accuracy_m": 4,
    "battery_v": 3.9,
}
load_fix = fast.compile_loader(FixSchema())
repeatable = settings(derandomize=True, deadline=None, max_examples=500)


def _slowly(schema, value):
    """Return what the schema makes of a value; None where it raises anything."""
    try:
        return schema.load(copy.deepcopy(value))
    except Exception:
        return None


def _both(schema, load, value):
    """Return what both make of a value: where the fast one has an answer, the same."""
    before = copy.deepcopy(value)
    fast_one, slow_one = load(value), _slowly(schema, value)
    # The text tells 4 from 4.0, 0.0 from -0.0, and finds NaN the same as NaN.
    assert repr(value) == repr(before), "the input was changed"
    assert fast_one is None or repr(fast_one) == repr(slow_one)
    return fast_one, slow_one


def _agree(schema, load, value):
    """Both take a value that JSON can hold, with the same result, or both refuse it."""
    fast_one, slow_one = _both(schema, load, value)
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
    },
)
odd_numbers = st.sampled_from(
    [-0.0, 0, 1e308, -1e308, 5e-324, 1e-5, 0.0005, 359.9995, 359.9999999, 2**53 + 1, 10**308, -(10**308),
     102.3, 102.30000000000001, 102.4, 360, 360.0, 360.0000001, 511, 511.0, 510.9, 15, 15.0, 15.5, 14.9999,
     16, -1, 91, 91.0, -91, 90.0, 90.00000000000001, 181, 181.0, -181, 180.00000000000003,
     1_000_000, 1_000_000.1, 1000, 1000.5]
)  # fmt: skip
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
    fast_one, slow_one = _both(FixSchema(), load_fix, value)
    assert isinstance(fast_one, Fix)
    assert fast_one == slow_one


@given(near_fixes())
@repeatable
def test_fixes_with_mistakes_are_taken_and_refused_alike(value):
    _agree(FixSchema(), load_fix, value)


@given(near_fixes(odd_values | not_json))
@repeatable
def test_what_no_json_holds_is_at_most_taken_alike(value):
    _both(FixSchema(), load_fix, value)


@given(json_values | st.lists(ordinary_fixes, max_size=2) | not_json)
@repeatable
def test_what_is_no_object_is_left_to_the_schema(value):
    assert load_fix(value) is None


@pytest.mark.parametrize("name", FIX)
@given(value=odd_values)
@settings(repeatable, max_examples=100)
def test_each_member_is_taken_and_refused_alike(name, value):
    _agree(FixSchema(), load_fix, {**FIX, name: value})


@given(odd_times | _ordinary_time() | st.text())
@repeatable
def test_times_are_taken_and_refused_alike(value):
    _agree(FixSchema(), load_fix, {**FIX, "recorded_at": value})


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
        )
    )


def test_sentinels_are_null_and_measures_rounded_on_both_paths():
    value = {**FIX, "sog": 102.3, "cog": 360, "heading": 511, "nav_status": 15, "accuracy_m": 1.23456}
    fast_one, slow_one = _both(FixSchema(), load_fix, value)
    assert fast_one.motion == slow_one.motion == Motion(lat=59.9, lon=10.7, accuracy_m=1.235, battery_v=3.9)
    around = {**FIX, "cog": 359.9996, "heading": 360}
    motion = _both(FixSchema(), load_fix, around)[0].motion
    assert (motion.cog, motion.heading) == (0, 0)


# Any schema


class _Odd(Range):
    """A range with a rule of its own."""

    def __call__(self, value):
        if not value % 2:
            raise ValidationError("Must be odd.")
        return super().__call__(value)


def _even(value):
    if value % 2:
        raise ValidationError("Must be even.")


class _EveryRule(Schema):
    inside = Number(validate=Range(0, 10, min_inclusive=False, max_inclusive=False))
    half_open = Number(validate=Range(-1.5, 1.5, min_inclusive=False))
    least = Whole(validate=Range(min=3))
    less = Whole(allow_none=True, validate=Range(max=3, max_inclusive=False))
    unbounded = Number(validate=Range())
    infinite = Number(validate=Range(-math.inf, math.inf))
    plain = Number(allow_none=True)
    chosen = Whole(validate=OneOf([1, 2, 5]))
    both = Whole(validate=[Range(0, 100), _even])
    all = Whole(validate=And(Range(0, 100), _even, Equal(4)))
    odd = Whole(validate=_Odd(0, 9))
    no_length = Whole(validate=Length(max=3))
    since = Timestamp(validate=Range(datetime(2020, 1, 1, tzinfo=UTC), max_inclusive=False))
    known = Timestamp(required=True, allow_none=True)

    @pre_load
    def _unwrap(self, data, **kwargs):
        return data["wrapped"] if isinstance(data, dict) and "wrapped" in data else data

    @post_load
    def _tell(self, data, **kwargs):
        return {"loaded": data, "with": kwargs}

    @post_load
    def _untell(self, data, **kwargs):
        return {"untold": data, "with": kwargs}


small_numbers = st.integers(-3, 12) | st.sampled_from(
    [0.0, -0.0, 5e-324, 10.0, 9.999999999999998, -1.5, -1.4999999999999998, 1.5, 1.5000000000000002, 3.0, 2.5,
     102, 1e308, 10**308]
)  # fmt: skip
every_rule = st.fixed_dictionaries(
    {},
    optional={
        name: st.none()
        | st.booleans()
        | (_ordinary_time() | odd_times if name in {"since", "known"} else small_numbers)
        for name in _EveryRule().fields
    },
)


@given(every_rule | every_rule.map(lambda value: {"wrapped": value}))
@repeatable
def test_every_rule_is_kept(value):
    schema = _EveryRule()
    _agree(schema, fast.compile_loader(schema), value)


@pytest.mark.parametrize("name", _EveryRule().fields)
@given(st.data())
@settings(repeatable, max_examples=50)
def test_every_rule_is_kept_alone(name, data):
    schema = _EveryRule()
    value = {"known": None, name: data.draw(odd_values | small_numbers | _ordinary_time())}
    _agree(schema, fast.compile_loader(schema), value)


def test_the_description_shows_what_is_generated():
    class Described(Schema):
        recorded_at = Timestamp(required=True)
        lat = Number(required=True, validate=Range(-90, 90))
        heading = Number(allow_none=True, validate=_heading)

        @post_load
        def _make(self, data, **_):
            return data

    source, _ = fast._generate(Described())
    assert indent(source, "    ") in fast.__doc__


class _StrictNumber(Number):
    """A subclass, whose rules are not known."""


def _schema(field=None, name="value", **methods):
    return type("_Made", (Schema,), {name: field or Number(), **methods})


@pytest.mark.parametrize(
    "schema",
    [
        _schema(Integer())(),
        _schema(_StrictNumber())(),
        _schema(String(validate=Length(max=3)))(),
        _schema(List(Number()))(),
        _schema(Number(data_key="other"))(),
        _schema(Number(attribute="other"))(),
        _schema(Number(load_default=1.0))(),
        _schema(Number(load_default=None))(),
        _schema(Number(pre_load=float))(),
        _schema(Number(post_load=abs))(),
        _schema(name="a.b")(),
        _schema(name="x'] = 1 #")(),
        _schema()(many=True),
        _schema()(partial=True),
        _schema()(partial=("value",)),
        _schema()(unknown=EXCLUDE),
        _schema(check=validates("value")(lambda self, value, data_key: None))(),
        _schema(check=validates_schema(lambda self, data, **kwargs: None))(),
        _schema(hook=pre_load(lambda self, data, **kwargs: data, pass_collection=True))(),
        _schema(hook=post_load(lambda self, data, **kwargs: data, pass_collection=True))(),
        _schema(hook=post_load(lambda self, data, original, **kwargs: data, pass_original=True))(),
    ],
)
def test_what_is_not_known_is_refused_when_compiled(schema):
    with pytest.raises(TypeError, match=r"not compiled|must load one object"):
        fast.compile_loader(schema)
