"""The quick way to read JSON takes and refuses what the strict way does, with the same result."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harbor_api.domain.errors import MalformedJSON
from harbor_api.web import strict_json
from harbor_api.web.strict_json import parse_json

_texts = st.text(max_size=8)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts
)
_objects = st.dictionaries(_texts, _scalars, max_size=5)
_values = st.dictionaries(_texts, _scalars | _objects | st.lists(_objects | _scalars, max_size=4), max_size=5)
_layouts = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")])


def _outcome(body: bytes) -> Any:
    try:
        return repr(parse_json(body))
    except MalformedJSON:
        return MalformedJSON


def _strictly(body: bytes) -> Any:
    """Return the outcome without the quick way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "_plain", lambda _: None)
        return _outcome(body)


@given(value=_values, layout=_layouts, escape=st.booleans())
def test_of_good_json_both_make_the_same(value, layout, escape):
    body = json.dumps(value, separators=layout, ensure_ascii=escape, allow_nan=False).encode(errors="replace")
    assert _outcome(body) == _strictly(body)


@given(value=_values, layout=_layouts, at=st.integers(0, 200), inserted=st.binary(max_size=3))
@example(value={"a": 1}, layout=(",", ":"), at=1, inserted=b'"a":2,')
def test_of_broken_json_both_make_the_same(value, layout, at, inserted):
    good = json.dumps(value, separators=layout, ensure_ascii=False).encode(errors="replace")
    broken = good[:at] + inserted + good[at + 1 :]
    assert _outcome(broken) == _strictly(broken)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'{"a" :1,"b":2,"b":3}',
        b'{"fixes":[{"lat":1,"lat":2}]}',
        b'{"fixes":[{"lat":1}],"fixes":[]}',
        b'{"a":"x","a":"y"}',
    ],
)
def test_a_repeated_name_is_never_overlooked(body: bytes):
    with pytest.raises(MalformedJSON, match="repeated"):
        parse_json(body)
