"""Two partners walk the whole API: neither finds a byte of what only the other may see."""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.examples import many
from tests.support.factories import SigningTracker, World
from tests.support.operations import Operation, operations_of
from tests.support.urls import FEEDS, POSITIONS, VESSELS

from harbor_api.domain.vessels import Vessel
from harbor_api.schemas.fields import rfc3339

Document = dict[str, Any]
_VESSELS = 4
_DELAY_S = 3600
# Each vessel was seen before the delay, which both partners may know, and just now.
_OLD, _LIVE = timedelta(days=1), timedelta(minutes=2)
_ABSENT = 2_000_000_000
_STREAMS = 3
_MANY = 6
_serials = itertools.count(1)


@dataclass(frozen=True)
class Ship:
    """A vessel of which nothing is like any other's, with two fixes of its tracker."""

    serial: int
    vessel: Vessel
    tracker: SigningTracker
    began: datetime

    @cached_property
    def identity(self) -> dict[str, str]:
        """Return what tells the vessel apart, as text that nothing else holds."""
        details = self.vessel.details
        return {
            "name": details.name,
            "imo": str(details.imo),
            "mmsi": str(details.mmsi),
            "call sign": str(details.call_sign),
            "kind": str(details.kind),
            "tracker": self.tracker.tracker.id,
            "label": self.tracker.tracker.label,
            "secret": self.tracker.secret,
        }

    def fix(self, *, live: bool) -> dict[str, Any]:
        """Return the JSON of its old or its live fix: no two share a number, all decimals count."""
        moment = self.began - (_LIVE if live else _OLD) + timedelta(milliseconds=self.serial)
        fraction = (self.serial * 2 + live) / 10_000 + 0.000_005_7
        return {
            "recorded_at": rfc3339(moment),
            "lat": round(31.4 + fraction, 6),
            "lon": round(-41.4 - fraction, 6),
            "sog": 2.5 if live else 1.5,
        }

    def traces(self, *, live: bool) -> dict[str, str]:
        """Return what its old or its live fix would leave behind in an answer."""
        fix = self.fix(live=live)
        which = "live" if live else "old"
        return {
            f"{which} latitude": f"{fix['lat']}",
            f"{which} longitude": f"{fix['lon']}",
            f"{which} time": fix["recorded_at"].removesuffix("Z"),
        }

    def post(self, client: CheckedClient, *, live: bool) -> None:
        answer = client.post(POSITIONS, **self.tracker.signed(self.fix(live=live)))
        assert answer.json["verdict"] == "stored", answer.text


@dataclass(frozen=True)
class Partner:
    """A key with the ships that it was granted, and those that are another's."""

    name: str
    secret: str
    key_id: int
    terms: Mapping[str, Any]
    granted: tuple[Ship, ...]
    others: tuple[Ship, ...]

    @property
    def headers(self) -> dict[str, str]:
        # A request id of our own: a random one could hold any seven digits.
        return {"Authorization": f"Bearer {self.secret}", "X-Request-Id": "two-partners"}

    @cached_property
    def forbidden(self) -> list[tuple[Ship, str, str]]:
        """Return whose, what, and the text that no answer may hold."""
        return list(self._forbidden())

    def _forbidden(self) -> Iterator[tuple[Ship, str, str]]:
        for ship in self.others:
            hidden = ship.identity | ship.traces(live=False) | ship.traces(live=True)
            yield from ((ship, what, text) for what, text in hidden.items())
        for ship in self.granted:
            hidden = {name: ship.identity[name] for name in ("tracker", "label", "secret")}
            hidden |= self._too_exact(ship)
            yield from ((ship, what, text) for what, text in hidden.items())

    def _too_exact(self, ship: Ship) -> dict[str, str]:
        old, live = ship.traces(live=False), ship.traces(live=True)
        if self.terms.get("coordinate_decimals") is not None:
            return old | live
        return live if self.terms.get("delay_s") else {}

    def feature(self, ship: Ship) -> dict[str, Any]:
        """Return the position with which the partner must be shown a ship that it was granted."""
        fix = ship.fix(live=not self.terms.get("delay_s"))
        decimals = self.terms.get("coordinate_decimals")
        recorded_at = fix["recorded_at"]
        if decimals is None:
            decimals = 6
        else:
            # Both fixes are the first ones of their steps, at whose beginning they are shown.
            step_s = [43_200, 4_320, 432, 44, 5, 1][decimals]
            began = datetime.fromisoformat(recorded_at).timestamp() // step_s * step_s
            recorded_at = rfc3339(datetime.fromtimestamp(began, UTC))
        return {
            "name": ship.vessel.details.name,
            "recorded_at": recorded_at,
            "coordinates": [round(fix["lon"], decimals), round(fix["lat"], decimals)],
        }


class Walk:
    """Calls operations as a partner and holds each answer against what it may see."""

    def __init__(self, client: CheckedClient, document: Document, ships: Iterable[Ship]) -> None:
        self._client = client
        # What is deleted is read before.
        self._operations = sorted(operations_of(document), key=lambda each: each.method == "DELETE")
        self._ships = tuple(ships)
        self.responses = 0
        self.walked: set[str] = set()

    def all(self, partner: Partner, rival: Partner) -> None:
        """Call every operation with each value that its parameters may have."""
        for operation in self._operations:
            self.walked.add(str(operation))
            urls = self._urls(operation, partner, rival)
            if operation.described["operationId"] == "streamPositions":
                # Each takes a while, and tells what the feed does: tests/following holds one to the other.
                urls = itertools.islice(urls, _STREAMS)
            for url in urls:
                self.call(operation, url, partner)

    def call(self, operation: Operation, url: str, partner: Partner) -> Any:
        """Call an operation once; AssertionError where its answer tells too much."""
        body = {"data": b"{}", "content_type": "application/json"}
        answer = self._client.open(
            url,
            method=operation.method,
            headers=operation.headers | partner.headers,
            **(body if "requestBody" in operation.described else {}),
        )
        self.responses += 1
        where = f"{operation.method} {url} as {partner.name}: {answer.status_code}"
        assert answer.status_code < 500, where
        if not operation.security:
            expected = answer.status_code not in {401, 403}
        elif "api_key" not in operation.security[0]:
            expected = answer.status_code == 401
        elif set(operation.security[0]["api_key"]) <= {"vessels:read"}:
            # What a partner may not see does not exist for it.
            expected = answer.status_code in {200, 201, 204, 304, 400, 404}
        else:
            expected = answer.status_code == 403
        assert expected, where
        self._search(answer, url, partner, where)
        return answer

    def _urls(self, operation: Operation, partner: Partner, rival: Partner) -> Iterator[str]:
        """Yield the operation's URLs: all that its path can name, then all that its query can ask."""
        numbers: dict[str, list[int]] = {
            "vessel_id": [ship.vessel.id for ship in self._ships],
            "number": [ship.tracker.tracker.number for ship in self._ships],
            "key_id": [partner.key_id, rival.key_id],
        }
        in_path = [each for each in operation.parameters if each["in"] == "path"]
        anything = sorted({each for values in numbers.values() for each in values})
        choices = [[*numbers.get(each["name"], anything), _ABSENT] for each in in_path]
        for chosen in itertools.product(*choices):
            url = operation.path
            for parameter, value in zip(in_path, chosen, strict=True):
                url = url.replace(f"{{{parameter['name']}}}", str(value))
            yield url
        yield operation.asked()
        in_query = {each["name"]: each for each in operation.parameters if each["in"] == "query"}
        # One ship of each kind stands for the others: what counts is that the value names a ship.
        curious = (*partner.others[:1], *partner.granted[:1])
        identities = [text for ship in curious for text in _asked_for(ship)]
        values = {
            name: [*_values_of(each), *(identities if _may_name(each) else ())]
            for name, each in in_query.items()
        }
        for name, asked in values.items():
            for value in asked:
                yield operation.asked(urlencode({name: value}))
        # Of many parameters, which all narrow down what is found, each is tried beside the next one.
        is_many = len(values) > _MANY
        for names in itertools.pairwise(values) if is_many else itertools.combinations(values, 2):
            plain = [list(_values_of(in_query[name])) for name in names]
            for pair in zip(*plain, strict=False) if is_many else itertools.product(*plain):
                yield operation.asked(urlencode(dict(zip(names, pair, strict=True))))

    def _search(self, answer: Any, url: str, partner: Partner, where: str) -> None:
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers)
        body = answer.text
        for ship, what, text in partner.forbidden:
            if text not in body and text not in head:
                continue
            # An answer may repeat what the partner itself has asked.
            is_asked = any(each(text) in url for each in (quote, quote_plus, partial(quote, safe="")))
            part = "holds" if text in body else "a header holds"
            assert is_asked, f"{where}: {part} the {what} of {ship.identity['name']}"
        if "json" in (answer.content_type or ""):
            seen = {ship.vessel.id for ship in partner.granted}
            assert set(_vessel_ids(answer.json)) <= seen, f"{where}: names vessels that are not granted"


def _asked_for(ship: Ship) -> list[str]:
    """Return how a curious partner would ask for a ship, whatever the parameter."""
    identity = ship.identity
    asked = [str(ship.vessel.id), f"vessels/{ship.vessel.id}", f"trackers/{identity['tracker']}"]
    return asked + [identity[name] for name in ("name", "imo", "mmsi", "call sign", "tracker")]


def _may_name(parameter: Mapping[str, Any]) -> bool:
    """Return whether a parameter may name a ship: no number does, no yes or no."""
    schema = parameter["schema"]
    return "enum" not in schema and schema.get("type") not in {"number", "boolean"}


def _values_of(parameter: Mapping[str, Any]) -> Iterator[Any]:
    schema = parameter["schema"]
    for each in schema.get("examples", ()):
        yield ",".join(map(str, each)) if isinstance(each, list) else each
    yield from schema.get("enum", ())
    if schema.get("type") == "boolean":
        yield from ("true", "false")
    if schema.get("type") in {"integer", "number"}:
        # Without a least or a greatest value any number will do.
        yield from (schema.get("minimum", 0), schema.get("maximum", _ABSENT))


def _vessel_ids(value: Any) -> Iterator[int]:
    """Yield the ids of all vessels that an answer names, as Features or as members."""
    if isinstance(value, list):
        for item in value:
            yield from _vessel_ids(item)
    elif isinstance(value, dict):
        # Those of a track have none: whose it is stands beside them.
        if value.get("type") == "Feature" and "id" in value:
            yield value["id"]
        if isinstance(value.get("vessel_id"), int):
            yield value["vessel_id"]
        yield from value.get("vessel_ids") or ()
        for item in value.values():
            yield from _vessel_ids(item)


def _imo(serial: int) -> str:
    digits = f"{900_000 + serial}"
    total = sum(weight * int(digit) for weight, digit in zip(range(7, 1, -1), digits, strict=True))
    return f"{digits}{total % 10}"


def _ships(client: CheckedClient, world: World, count: int) -> list[Ship]:
    """Return vessels that were seen long ago and just now.

    A key with a delay sees the order up to the first fix that is not due: so none of an earlier example
    stands before these, and what is old came long ago and first.
    """
    sql.run(world.database, "DELETE FROM positions")
    ships = [_ship(world) for _ in range(count)]
    for ship in ships:
        ship.post(client, live=False)
    sql.run(world.database, "UPDATE positions SET received_at = recorded_at")
    for ship in ships:
        ship.post(client, live=True)
    return ships


def _ship(world: World) -> Ship:
    serial = next(_serials)
    vessel = world.vessel(
        f"Quokka {serial:05d} Xi",
        imo=_imo(serial),
        mmsi=f"{987_000_000 + serial}",
        call_sign=f"QX{serial:05d}",
        kind=f"quokka-carrier-{serial:05d}",
    )
    tracker = world.tracker(vessel)
    return Ship(serial, vessel, tracker, datetime.now(UTC).replace(microsecond=0))


def _partner(
    world: World, name: str, ships: list[Ship], granted: set[int], terms: Mapping[str, Any]
) -> Partner:
    mine = tuple(ship for place, ship in enumerate(ships) if place in granted)
    key, secret = world.key("vessels:read", vessel_ids=frozenset(each.vessel.id for each in mine), **terms)
    return Partner(name, secret, key.id, terms, mine, tuple(each for each in ships if each not in mine))


_grants = st.sets(st.integers(0, _VESSELS - 1))
_terms = st.fixed_dictionaries(
    {},
    optional={
        "delay_s": st.just(_DELAY_S),
        "coordinate_decimals": st.integers(0, 5),
    },
)


@pytest.mark.heavy
@settings(
    max_examples=many(5, least=2),
    derandomize=True,
    deadline=None,
    # The database may keep what earlier examples left: each has ships and keys of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(first=_grants, second=_grants, first_terms=_terms, second_terms=_terms)
@example(
    first={0, 1},
    second={1, 2},
    first_terms={"delay_s": _DELAY_S, "coordinate_decimals": 2},
    second_terms={},
)
def test_no_partner_finds_a_byte_of_the_others(
    client: CheckedClient, world: World, document: Document, first, second, first_terms, second_terms
):
    ships = _ships(client, world, _VESSELS)
    one = _partner(world, "one", ships, first, first_terms)
    two = _partner(world, "two", ships, second, second_terms)
    walk = Walk(client, document, ships)
    for partner, ship in itertools.product((one, two), ships):
        begun = {"from": "2020-01-01T00:00:00Z"}
        client.put(f"{FEEDS}/{ship.vessel.id}", json=begun, headers=partner.headers)

    walk.all(one, two)
    walk.all(two, one)

    assert walk.walked == {str(each) for each in operations_of(document)}
    for partner in (one, two):
        assert _fleet(client, partner) == {ship.vessel.id: partner.feature(ship) for ship in partner.granted}
    print(f"{len(walk.walked)} operations, {walk.responses} responses compared")


def _fleet(client: CheckedClient, partner: Partner) -> dict[int, dict[str, Any]]:
    """Return what the partner is shown: without it, a service that shows nothing would pass."""
    features = client.get(VESSELS, headers=partner.headers).json["features"]
    return {
        each["id"]: {
            "name": each["properties"]["name"],
            "recorded_at": each["properties"]["recorded_at"],
            "coordinates": each["geometry"]["coordinates"],
        }
        for each in features
    }


def test_a_vessel_that_is_anothers_and_one_that_is_not_there_are_told_alike(
    client: CheckedClient, world: World, document: Document
):
    ships = _ships(client, world, 2)
    partner = _partner(world, "one", ships, {0}, {})
    compared = 0
    for operation in operations_of(document):
        if operation.security != [{"api_key": ["vessels:read"]}] or "{vessel_id}" not in operation.path:
            continue
        answers = []
        for vessel_id in (ships[1].vessel.id, _ABSENT):
            url = operation.path.replace("{vessel_id}", str(vessel_id))
            answer = client.open(url, method=operation.method, headers=partner.headers)
            head = {name: value for name, value in answer.headers if name not in {"Date", "RateLimit"}}
            head.pop("Content-Length")
            answers.append((answer.status_code, head, re.sub(rf"\b{vessel_id}\b", "<the id>", answer.text)))
        assert answers[0] == answers[1], str(operation)
        assert answers[0][0] == 404, str(operation)
        compared += 1
    assert compared


def test_a_live_fix_changes_nothing_that_a_partner_with_a_delay_can_see(
    client: CheckedClient, world: World, document: Document
):
    """Not even an ETag or a length may tell that a vessel has moved just now."""
    [ship] = _ships(client, world, 1)
    partner = _partner(world, "one", [ship], {0}, {"delay_s": _DELAY_S})
    reads = [
        each
        for each in operations_of(document)
        if each.method == "GET"
        and each.security == [{"api_key": ["vessels:read"]}]
        # A stream has no end that could be compared; tests/following looks at what one tells.
        and each.described["operationId"] != "streamPositions"
    ]

    def seen() -> list[tuple[str, int, dict[str, str], Any]]:
        answers = []
        for operation in reads:
            url = operation.path.replace("{vessel_id}", str(ship.vessel.id)).replace("{name}", "warehouse")
            answer = client.get(url, headers=partner.headers)
            clocks = {"Date", "RateLimit", "Harbor-Now"}
            head = {name: value for name, value in answer.headers if name not in clocks}
            body = json.loads(answer.text)
            if operation.described["operationId"] == "readFeed":
                del body["now"]
            answers.append((str(operation), answer.status_code, head, body))
        return answers

    client.put(f"{FEEDS}/warehouse", json={}, headers=partner.headers)
    # When it is read for the first time is seen.
    seen()
    before = seen()
    fix = ship.fix(live=True) | {"recorded_at": rfc3339(datetime.now(UTC)), "lat": 31.401}
    assert client.post(POSITIONS, **ship.tracker.signed(fix)).json["latest"] is True

    assert len(before) >= 2
    assert seen() == before


def test_the_walk_notices_a_leak(client: CheckedClient, world: World, document: Document):
    """Sabotage: the walk of a key for all vessels, taken for one that was granted a single ship."""
    ships = _ships(client, world, 2)
    key, secret = world.key("vessels:read")
    pretender = Partner("pretender", secret, key.id, {}, (ships[0],), (ships[1],))
    walk = Walk(client, document, ships)
    leaks = 0
    for operation in operations_of(document):
        for url in (operation.url, operation.path.replace("{vessel_id}", str(ships[1].vessel.id))):
            if "{" in url:
                continue
            try:
                walk.call(operation, url, pretender)
            except AssertionError as leak:
                leaks += "holds the name of" in str(leak)
    assert leaks >= 2
