"""What texts and numbers of people may hold, and that HTTP and all that stands beside it ask the same."""

import math
import unicodedata
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.checked_client import CheckedClient
from tests.support.factories import ACTOR, World
from tests.support.urls import KEYS, TRACKERS, VESSELS

from harbor_api.domain import api_keys as keys
from harbor_api.domain import trackers as tracker_rules
from harbor_api.domain import vessels as vessel_rules
from harbor_api.domain.api_keys import KeyTerms
from harbor_api.domain.changes import ANY, Edit
from harbor_api.domain.errors import ValidationFailed
from harbor_api.domain.values import Span, Text
from harbor_api.domain.vessels import VesselDetails
from harbor_api.services import api_keys, trackers, vessels

# One of each kind that is not seen, or makes others be seen in another order.
UNSEEN = {
    "NUL": "\0",
    "newline": "\n",
    "escape": "\x1b[31m",
    "DEL": "\x7f",
    "C1, next line": "\x85",
    "C1, control sequence introducer": "\x9b2J",
    "soft hyphen": "\xad",
    "Arabic letter mark": "\u061c",
    "space without width": "\u200b",
    "left-to-right mark": "\u200e",
    "line separator": "\u2028",
    "right-to-left override": "\u202e",
    "isolate": "\u2066",
    "word joiner": "\u2060",
    "Hangul filler": "\u3164",
    "byte order mark": "\ufeff",
    "annotation": "\ufff9",
    "no character": "\uffff",
}
BLANK = [
    " ",
    "\xa0",
    "\u2003",
    "\u3000",
    "\u2800",
    "\u200d",
    "\u200c\u200d",
    "\ufe0f",
    "\U000e0067\U000e007f",
]
SEEN = [
    "Skagerrak Trader",
    "[red]Anna[/red]",
    'M/V "O\'Neill" & Søn <3>',
    "МИР",
    "海王丸",
    "سفینه\u200cها",
    "👩\u200d✈️",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "\\x1b[31m",
    "%s{0}$HOME",
]
_FORMATS_TAKEN = {"\u200c", "\u200d"}


@pytest.mark.parametrize("text", UNSEEN.values(), ids=UNSEEN)
def test_what_is_not_seen_is_refused_wherever_it_stands(text):
    for rule in (Text(100), Text(100, may_be_empty=True)):
        for held in (text, f"Anna{text}", f"{text}Anna", f"An{text}na"):
            assert rule.fault(held) == "Must not hold control characters, nor others that are not seen."


@pytest.mark.parametrize("text", BLANK)
def test_blanks_and_joiners_alone_are_no_text(text):
    assert Text(100).fault(text) == Text(100, may_be_empty=True).fault(text) == "Must not be blank."
    assert Text(100).fault(f"Anna{text}") is None


@pytest.mark.parametrize("text", SEEN)
def test_anything_that_is_seen_is_taken(text):
    assert Text(100).fault(text) is None


def test_length_is_counted_in_characters():
    assert Text(3).fault("🚢🚢🚢") is None
    assert Text(3).fault("🚢🚢🚢🚢") == "Must not be longer than 3 characters."
    assert (Text(3).fault(""), Text(3, may_be_empty=True).fault("")) == ("Must not be empty.", None)


@given(st.text(max_size=20))
def test_what_is_taken_is_seen_as_it_stands(text):
    if Text(20).fault(text) is None:
        for character in text:
            category = unicodedata.category(character)
            assert category not in {"Cc", "Cs", "Zl", "Zp"}
            assert unicodedata.bidirectional(character) not in {"LRE", "RLE", "LRO", "RLO", "PDF"}
            assert unicodedata.bidirectional(character) not in {"LRI", "RLI", "FSI", "PDI"}
            if category == "Cf" and character < "\U000e0000" and unicodedata.bidirectional(character) == "BN":
                assert character in _FORMATS_TAKEN
        assert text.strip()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0, 0.0099, 1000.1, -1])
def test_a_number_is_finite_and_within_its_bounds(value):
    assert Span(0.01, 1000).fault(value) == "Must be a number from 0.01 to 1000."
    assert Span(0.01, 1000).fault(0.01) is Span(0.01, 1000).fault(1000) is None


_WRONG_TEXTS = ["\x9b", "a\u202eb", "\u200d", "x" * 201]
_WRONG: list[tuple[str, str, Any]] = [
    *(("vessel", name, wrong) for name in ("name", "kind") for wrong in (*_WRONG_TEXTS, "")),
    *(("vessel", "call_sign", wrong) for wrong in ("laxy5", "LA XY", "LAXY5\n", "", "ＬＡ", "A" * 11)),
    *(("vessel", "flag", wrong) for wrong in ("no", "NOR", "", "N\n", "ÅL")),
    *(("vessel", "imo", wrong) for wrong in ("9074728", "907472", "９０７４７２９")),
    *(("vessel", "mmsi", wrong) for wrong in ("25712345", "２57123450", "257123450\n")),
    *(
        ("vessel", name, wrong)
        for name in ("length_m", "beam_m", "draught_m")
        for wrong in (0, -1, 1000.5, 1e30)
    ),
    *(("vessel", "max_speed_kn", wrong) for wrong in (0, 0.5, 1001)),
    *(("tracker", "label", wrong) for wrong in _WRONG_TEXTS),
    *(("key", "name", wrong) for wrong in (*_WRONG_TEXTS, "")),
    *(("key", "owner", wrong) for wrong in _WRONG_TEXTS),
    *(("key", "delay_s", wrong) for wrong in (-1, 31_536_001)),
    *(("key", "coordinate_decimals", wrong) for wrong in (-1, 7)),
    *(("key", "history_days", wrong) for wrong in (0, 36_501)),
    *(("key", "requests_per_minute", wrong) for wrong in (0, 1_000_001)),
]


def _pointers(client: CheckedClient, world: World, noun: str, member: str, wrong: Any) -> list[str]:
    """Return which members HTTP names where one is wrong: on creation, and on a change of what there is."""
    vessel, headers = world.vessel(), world.bearer(*keys.SCOPES)
    urls: dict[str, tuple[str, dict[str, Any], str]] = {
        "vessel": (VESSELS, {"name": "Anna"}, f"{VESSELS}/{vessel.id}"),
        "tracker": (TRACKERS, {"vessel_id": vessel.id}, f"{TRACKERS}/{world.tracker(vessel).tracker.number}"),
        "key": (KEYS, {"name": "a", "scopes": ["vessels:read"]}, f"{KEYS}/{world.key()[0].id}"),
    }
    url, body, own = urls[noun]
    created = client.post(url, json={**body, member: wrong}, headers=headers)
    changed = client.patch(own, json={member: wrong}, headers={**headers, "If-Match": "*"})
    assert (created.status_code, changed.status_code) == (422, 422)
    assert created.json["errors"] == changed.json["errors"]
    return [fault["pointer"] for fault in created.json["errors"]]


def _refuse(world: World, noun: str, member: str, wrong: Any) -> list[list[str | None]]:
    """Return which members the services name, which command line, demo and imports stand on."""
    vessel, tracker, (key, _) = world.vessel(), world.tracker().tracker, world.key()
    giver = api_keys.Grantor(world.key(*keys.SCOPES)[0].id, usual_limit=60)
    edit: Edit[Any] = Edit({member: wrong})
    found = []
    for attempt in {
        "vessel": (
            lambda u: vessels.register(u, VesselDetails(**{"name": "Anna", member: wrong}), actor=ACTOR),
            lambda u: vessels.ensure(u, VesselDetails(**{"name": "Anna", member: wrong}), actor=ACTOR),
            lambda u: vessels.change(u, vessel.id, edit, versions=ANY, actor=ACTOR),
        ),
        "tracker": (
            lambda u: trackers.register(u, vessel_id=vessel.id, label=wrong, actor=ACTOR),
            lambda u: trackers.change(u, tracker.number, edit, versions=ANY, actor=ACTOR),
        ),
        "key": (
            lambda u: api_keys.issue(u, KeyTerms(**{"name": "a", member: wrong}), actor=ACTOR),
            lambda u: api_keys.change(u, key.id, edit, versions=ANY, actor=ACTOR, grantor=giver),
        ),
    }[noun]:
        with pytest.raises(ValidationFailed) as refused, world.database.unit_of_work() as unit_of_work:
            attempt(unit_of_work)
        found.append([fault.pointer for fault in refused.value.faults])
    return found


@pytest.mark.parametrize(("noun", "member", "wrong"), _WRONG)
def test_what_http_refuses_is_refused_below_it_too(client: CheckedClient, world: World, noun, member, wrong):
    told = _pointers(client, world, noun, member, wrong)
    assert told == [f"#/{member}"]
    assert all(each == told for each in _refuse(world, noun, member, wrong))


def test_every_member_that_people_give_has_a_rule():
    assert vessel_rules.RULES.keys() == asdict(VesselDetails(name="")).keys()
    assert tracker_rules.RULES.keys() == {"label"}
    beside = {"scopes", "vessel_ids", "expires_at", "independent"}
    assert keys.RULES.keys() == asdict(KeyTerms(name="")).keys() - beside


@pytest.mark.parametrize("text", SEEN)
def test_whatever_is_seen_is_read_as_it_was_given(client: CheckedClient, world: World, text):
    headers = world.bearer("vessels:read", "vessels:write")
    made = client.post(VESSELS, json={"name": text, "kind": text}, headers=headers)
    found = client.get(made.headers["Location"], headers=headers).json["properties"]
    assert (made.status_code, found["name"], found["kind"]) == (201, text, text)
