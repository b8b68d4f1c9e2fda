"""No caller pays for what others have sent: what a request costs does not grow with what is held."""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.conftest import NewDatabase
from tests.contract import budget
from tests.contract.budget import Counts, Plans, Service, at, exceeded
from tests.support import sql
from tests.support.operations import Operation, operations_of
from tests.support.urls import AUDIT, BATCH, CHECK, FEEDS, KEYS, ME, POSITIONS, QUARANTINE, TRACKERS, VESSELS

from harbor_api.domain.api_keys import generate
from harbor_api.schemas.fields import rfc3339

Document = dict[str, Any]
Sent = dict[str, Any]
First = Callable[[Service], None] | None
FEW = 2_000
PLANS: tuple[Plans, ...] = ("custom", "generic")
_ABSENT = 2_000_000_000
_FORGED = {"webhook-signature": "v1," + "A" * 43 + "="}
_NEVER_ISSUED = {"Authorization": f"Bearer {generate(bytes(32))}"}
_ANY_VERSION = {"If-Match": "*"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request for an operation: what is special about it, and the status that it must get.

    ``send`` makes its next instance. ``verdict`` is that of all fixes in it, of which some are ``jumps``.
    ``first`` is done aside each time before it is sent.
    """

    operation: str
    what: str
    status: int
    send: Callable[[Service], Sent]
    verdict: str | None = None
    jumps: int = 0
    first: First = None

    def __str__(self) -> str:
        return f"{self.operation} ({self.what})" if self.what else self.operation

    def ask(self, service: Service) -> Counts:
        """Send the next instance and return what it took."""
        counts: Counts = self._ask(service, service.meter.count)
        return counts

    def warm(self, service: Service) -> None:
        """Send the next instance, uncounted: modules are imported and caches are filled once."""
        self._ask(service, lambda work: (work(), None))

    def _ask(self, service: Service, count: Callable[[Callable[[], Any]], tuple[Any, Any]]) -> Any:
        if self.first is not None:
            self.first(service)
        method, _, path = self.operation.partition(" ")
        sent = {"path": path, **self.send(service)}
        answer, counts = count(lambda: service.client.open(method=method, **sent))
        told = f"{self}: {answer.status_code} {answer.text[:300]}"
        assert answer.status_code == self.status, told
        if self.verdict is not None:
            found = re.findall(r'"(?:verdict|would_be)":"([a-z]+)"', answer.text)
            assert set(found) == {self.verdict}, told
        return counts


def _run(statement: str) -> First:
    return lambda service: service.run(statement)


# --- what trackers post ---


def _fix(seconds: float, place: tuple[float, float] = budget.AT_SEA, **members: Any) -> dict[str, Any]:
    return {"recorded_at": rfc3339(at(seconds)), "lat": place[0], "lon": place[1], "sog": 8.4, **members}


def _new(service: Service, _: int = 0) -> dict[str, Any]:
    return _fix(service.serial())


def _numbered(service: Service) -> dict[str, Any]:
    serial = service.serial()
    return _fix(serial, number=300_000 + serial)


def _late(service: Service, place: int = 1) -> dict[str, Any]:
    """Return a new fix between two that are stored, hours before the newest one."""
    return _fix(-budget.EVERY_S * place + 1 + service.serial() / 1000)


def _repeat(_: Service, place: int = 1) -> dict[str, Any]:
    return _fix(-budget.EVERY_S * place)


def _jump(_: Service, place: int = 1, *, since: float = budget.JUMPS_FROM_S) -> dict[str, Any]:
    """Return a fix that contradicts what is stored, what is held and the other jumps."""
    lat, lon = budget.JUMPED_TO
    return _fix(since + budget.EVERY_S * place, (lat, lon + place * 0.4))


def _held(_: Service, place: int = 1) -> dict[str, Any]:
    return _fix(-budget.EVERY_S * place - 15, budget.HELD_AT)


_late_jump = partial(_jump, since=-budget.HISTORY_S - 31)
_JUMPS_GONE = _run("DELETE FROM quarantine WHERE id > 1000000")
_NUMBERS_FULL = _run(
    f"""
    INSERT INTO arrived_numbers
    SELECT {budget.FORGETFUL}, range_agg(int8range(2 * number, 2 * number + 1))
    FROM generate_series(1, 1000) AS number
    ON CONFLICT (tracker_id) DO UPDATE SET numbers = excluded.numbers
    """
)


def _signed(
    operation: str,
    what: str,
    status: int,
    body: Callable[[Service], Any],
    verdict: str | None = None,
    *,
    tracker: int = budget.BUSY,
    headers: Mapping[str, str] | None = None,
    **rest: Any,
) -> Asked:
    def send(service: Service) -> Sent:
        data = body(service)
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        sent = service.tracker(tracker).signed(data, url=operation.partition(" ")[2])
        return {**sent, "headers": {**sent["headers"], **(headers or {})}}

    return Asked(operation=operation, what=what, status=status, send=send, verdict=verdict, **rest)


def _posts(operation: str, *, stored: int, held: int) -> Iterator[Asked]:
    post = partial(_signed, operation)
    yield post("new", stored, _new, "stored")
    yield post("late", stored, _late, "stored")
    yield post("stored before", 200, _repeat, "duplicate")
    yield post("stored otherwise before", 200, lambda _: _fix(-budget.EVERY_S, sog=9), "duplicate")
    yield post("held before", held, _held, "quarantined")
    yield post("null island", held, lambda service: _fix(service.serial() + 0.5, (0, 0)), "quarantined")
    yield post("a jump", held, _jump, "quarantined", first=_JUMPS_GONE, jumps=1)
    yield post("a late jump", held, _late_jump, "quarantined", first=_JUMPS_GONE, jumps=1)
    yield post("numbered", stored, _numbered, "stored", tracker=budget.COUNTING)
    yield post(
        "beyond the gaps that are kept",
        stored,
        _numbered,
        "stored",
        tracker=budget.FORGETFUL,
        first=_NUMBERS_FULL,
    )
    yield post("of a tracker not met before", stored, _new, "stored", first=Service.forget_trackers)
    yield post("no fix", 422, lambda _: _fix(0, (91, 181), number=1))
    yield post("malformed", 400, lambda _: b"{")
    yield post("badly signed", 401, _new, headers=_FORGED)
    yield post("badly signed under test", 401, _new, tracker=budget.UNDER_TEST, headers=_FORGED)
    yield post("of a tracker that is not there", 401, _new, tracker=_ABSENT)
    yield post("of a disabled tracker", 403, _new, tracker=budget.DISABLED)


def _batches() -> Iterator[Asked]:
    operation = f"POST {BATCH}"

    def batch(what: str, fix: Callable[[Service, int], Any], verdict: str, **rest: Any) -> Asked:
        def body(service: Service) -> dict[str, Any]:
            return {"fixes": [fix(service, place) for place in range(100)]}

        return _signed(operation, f"100 {what}", 200, body, verdict, **rest)

    yield batch("new", _new, "stored")
    yield batch("late", _late, "stored")
    yield batch("stored before", _repeat, "duplicate")
    yield batch(
        "stored before, one after the other",
        lambda _, place: _fix(-budget.HISTORY_S - 60 * place, sog=place / 20),
        "duplicate",
    )
    yield batch("held before", lambda service, place: _held(service, place + 1), "quarantined")
    yield batch("jumps", _jump, "quarantined", first=_JUMPS_GONE, jumps=100)
    yield batch("late jumps", _late_jump, "quarantined", first=_JUMPS_GONE, jumps=100)
    yield batch("that are none", lambda _, place: _fix(place, (91, 181)), "invalid")
    yield _signed(operation, "badly signed", 401, lambda service: {"fixes": [_new(service)]}, headers=_FORGED)


def _signed_requests() -> Iterator[Asked]:
    check = f"POST {CHECK}"
    yield from _posts(f"POST {POSITIONS}", stored=201, held=202)
    yield from _posts(check, stored=200, held=200)
    confirmed = _fix(budget.JUMPS_FROM_S + budget.EVERY_S, budget.HELD_AT)
    yield _signed(check, "a jump that others confirm", 200, lambda _: confirmed, "stored", jumps=1)
    yield from _batches()


# --- what keys ask ---


def _keyed(
    operation: str,
    what: str = "",
    status: int = 200,
    *,
    members: Any = None,
    key: int = budget.ADMIN,
    headers: Mapping[str, str] | None = None,
    query: str = "",
    first: First = None,
    **of: int | str,
) -> Asked:
    """Return a request with a key; ``{serial}`` in the members and the headers is new each time."""

    def send(service: Service) -> Sent:
        serial = str(service.serial())
        presented = {**service.bearer(key), **(headers or {})}
        sent: Sent = {
            "path": operation.partition(" ")[2].format(**of) + query,
            "headers": {name: value.replace("{serial}", serial) for name, value in presented.items()},
        }
        if members is not None:
            sent |= {
                "data": json.dumps(members).replace("{serial}", serial),
                "content_type": "application/json",
            }
        return sent

    return Asked(operation=operation, what=what, status=status, send=send, first=first)


# What the filters of lists are tried with that the document does not enumerate: what most of the rows have,
# what only the last one has, what only the first one has and what none has.
_VALUES: Mapping[tuple[str, str], Sequence[str]] = {
    ("listQuarantine", "vessel_id"): ("1", "3", "4"),
    ("listAudit", "subject"): ("vessels/1", "vessels/999", "vessels/2", "vessels/998"),
    ("listVessels", "bbox"): ("-180,-90,180,90",),
    ("listVessels", "near"): ("10,55",),
    ("listVessels", "vessel_id"): ("1,2,999",),
    ("listVessels", "imo"): ("9074729",),
    ("listVessels", "mmsi"): ("257000001",),
    ("listVessels", "q"): ("vessel",),
    ("listVessels", "kind"): ("cargo",),
    ("listVessels", "flag"): ("NO",),
    ("listVessels", "updated_since"): ("2020-01-01T00:00:00Z",),
    ("listVessels", "as_of"): ("2020-03-09T23:58:30Z",),
}
# What only narrows down something else, and what is found by whatever filter in one and the same way.
_BESIDE = {("listVessels", "radius"), ("listVessels", "gap")}
_SEARCHED_IN_MEMORY = {"listVessels"}


# What has parameters that are no filters of a list.
_NO_LISTS = {
    "listPositions",
    "getVesselSummary",
    "getVesselTrack",
    "followPositions",
    "streamPositions",
    "readFeed",
}


def _lists(document: Document) -> Iterator[Asked]:
    """Yield each list with each of its filters, and with all combinations of them."""
    for operation in operations_of(document):
        if operation.described["operationId"] in _NO_LISTS:
            continue
        tried = {
            each["name"]: _tried(operation, each) for each in operation.parameters if each["in"] == "query"
        }
        of = {
            each["name"]: each["schema"]["examples"][0]
            for each in operation.parameters
            if each["in"] == "path"
        }
        for values in _combined(operation, tried) if tried else ():
            asked = {name: value for name, value in zip(tried, values, strict=True) if value}
            # Each combination is tried from the beginning, and from a cursor with no more than one filter.
            if "cursor" not in asked or len(asked) <= 3:
                yield _keyed(str(operation), urlencode(asked), query=f"?{urlencode(asked)}", **of)


def _combined(operation: Operation, tried: Mapping[str, Sequence[str]]) -> Iterator[Sequence[str]]:
    """Yield all combinations of values, of what is searched in memory each by itself."""
    if operation.described["operationId"] not in _SEARCHED_IN_MEMORY:
        yield from itertools.product(*tried.values())
        return
    for name, values in tried.items():
        for value in values:
            yield [value if each == name else "" for each in tried]


def _tried(operation: Operation, parameter: Mapping[str, Any]) -> list[str]:
    """Return values of a parameter of a list, "" for one that is left out."""
    name, schema = parameter["name"], parameter["schema"]
    if name == "limit":
        return ["1"]
    if (operation.described["operationId"], name) in _BESIDE:
        return [""]
    if name == "cursor":
        return ["", "after-500"] if "after-" in schema.get("pattern", "") else [""]
    if schema.get("type") == "boolean":
        return ["", "false", "true"]
    found = schema.get("enum") or _VALUES.get((operation.described["operationId"], name))
    assert found, f"{operation}: nothing says what to try {name} with"
    return ["", *found]


def _created(operation: str, members: Any, status: int = 201, **ids: int) -> Iterator[Asked]:
    """Yield the ways to create: without an Idempotency-Key, with a new one and with one that was used."""
    yield _keyed(operation, "", status, members=members, **ids)
    once, repeated = {"Idempotency-Key": "{serial}"}, {"Idempotency-Key": f"repeated-{operation.split()[1]}"}
    yield _keyed(operation, "once", status, members=members, headers=once, **ids)
    again = json.loads(json.dumps(members).replace("{serial}", "999999"))
    yield _keyed(operation, "repeated", status, members=again, headers=repeated, **ids)


def _vessels() -> Iterator[Asked]:
    vessels, one = VESSELS, VESSELS + "/{vessel_id}"
    for what, key in (("with grants", budget.PARTNER), ("late and coarsely", budget.LATE)):
        yield _keyed(f"GET {vessels}", what, key=key)
        yield _keyed(f"GET {one}", what, key=key, vessel_id=1)
    moment = urlencode({"as_of": (budget.NEWEST - timedelta(seconds=90)).isoformat()})
    for key in (budget.PARTNER, budget.LATE):
        yield _keyed(f"GET {vessels}", f"as of a moment, key {key}", query=f"?{moment}", key=key)
    unused = _run(f"UPDATE api_keys SET last_used_at = NULL WHERE id = {budget.SELDOM}")
    yield _keyed(f"GET {vessels}", "with a key not used for a minute", key=budget.SELDOM, first=unused)
    yield _keyed(f"GET {one}", vessel_id=1)
    yield _keyed(f"GET {one}", "not granted", 404, key=budget.PARTNER, vessel_id=5)
    yield from _created(f"POST {vessels}", {"name": "New {serial}", "call_sign": "N{serial}"})
    taken = {"name": "New", "mmsi": "257000001"}
    yield _keyed(f"POST {vessels}", "with a number that is taken", 409, members=taken)
    renamed = {"name": "Renamed {serial}"}
    yield _keyed(f"PATCH {one}", members=renamed, headers=_ANY_VERSION, vessel_id=1)
    yield _keyed(
        f"PATCH {one}", "of another version", 412, members=renamed, headers={"If-Match": '"999"'}, vessel_id=1
    )
    for what, vessel in (("said before", 1), ("nothing said before", 2)):
        yield _keyed(f"GET {one}/keeping", what, vessel_id=vessel)
    for what, member in (
        ("days", {"keep_positions_days": 30}),
        ("a hold", {"hold_reason": "Order {serial}"}),
    ):
        yield _keyed(f"PATCH {one}/keeping", what, members=member, headers=_ANY_VERSION, vessel_id=1)
    for since, change in (("NULL", "retire"), ("now()", "restore")):
        before = _run(f"UPDATE vessels SET retired_at = {since} WHERE id = 1")
        yield _keyed(f"POST {one}/{change}", first=before, vessel_id=1)


def _tracks() -> Iterator[Asked]:
    track = f"GET {VESSELS}/{{vessel_id}}/track"
    hundred = {"from": rfc3339(at(-budget.HISTORY_S)), "to": rfc3339(at(0))}
    for what, more in (("", {}), ("simplified", {"simplify": 10}), ("as GPX", {"format": "gpx"})):
        yield _keyed(track, what, query=f"?{urlencode({**hundred, **more})}", vessel_id=1)
    for what, key in (("with grants", budget.PARTNER), ("late and coarsely", budget.LATE)):
        yield _keyed(track, what, query=f"?{urlencode(hundred)}", key=key, vessel_id=1)
    yield _keyed(track, "of the last day", vessel_id=1)
    yield _keyed(track, "not granted", 404, key=budget.PARTNER, vessel_id=5)


def _histories() -> Iterator[Asked]:
    history = f"GET {VESSELS}/{{vessel_id}}/positions"
    midst = {"from": rfc3339(at(-budget.EVERY_S * 50)), "to": rfc3339(at(-budget.EVERY_S * 2))}
    for query in (
        {"limit": 1},
        {"limit": 1, "order": "desc"},
        {**midst, "limit": 20},
        {**midst, "limit": 20, "order": "desc", "format": "geojson"},
        {**midst, "format": "csv"},
        {**midst, "format": "gpx"},
    ):
        asked = urlencode(query)
        yield _keyed(history, asked, query=f"?{asked}", vessel_id=1)
        yield _keyed(history, f"{asked}, late and coarsely", key=budget.LATE, query=f"?{asked}", vessel_id=1)
    yield _keyed(history, "with grants", key=budget.PARTNER, query="?limit=1", vessel_id=1)
    yield _keyed(history, "not granted", 404, key=budget.PARTNER, vessel_id=5)
    yield _keyed(history, "from nowhere", 400, query="?cursor=none", vessel_id=1)


def _feed() -> Iterator[Asked]:
    path = f"GET {POSITIONS}"
    for query in (
        {"from": "now"},
        {"from": "2020-01-01T00:00:00Z", "limit": 1},
        {"from": "2020-01-01T00:00:00Z", "limit": 20, "bbox": "-180,-90,180,90"},
        {"from": "2020-01-01T00:00:00Z", "limit": 20, "vessel_id": "1,2,999"},
    ):
        asked = urlencode(query)
        yield _keyed(path, asked, query=f"?{asked}")
        yield _keyed(path, f"{asked} with grants", query=f"?{asked}", key=budget.PARTNER)
    # What it reads is measured at its greatest by tests/repositories/test_plans_at_size.py.
    yield _keyed(path, "late and coarsely", query="?from=now", key=budget.LATE)
    yield _keyed(path, "of a kind", query="?from=now&kind=cargo")
    yield _keyed(path, "from nowhere", 400, query="?cursor=none")
    # What is told after that is read as the feed is, by whom many share.
    yield _keyed(f"{path}/stream", "from nowhere", 400, query="?cursor=none")


def _consumers() -> Iterator[Asked]:
    one, read = f"{FEEDS}/{{name}}", f"GET {FEEDS}/{{name}}/positions"
    yield _keyed(f"GET {FEEDS}")
    for key in (budget.ADMIN, budget.PARTNER):
        yield _keyed(f"GET {one}", f"that has all, key {key}", name="last", key=key)
        yield _keyed(read, f"that has all, key {key}", name="last", key=key)
        yield _keyed(read, f"that has nothing, key {key}", name="first", key=key, query="?limit=20")
        yield _keyed(f"PUT {one}", f"moved, key {key}", name="last", key=key, members={"from": "now"})
    yield _keyed(f"GET {one}", "not there", 404, name="none")
    yield _keyed(f"GET {one}", "that has nothing", name="first")
    yield _keyed(f"PUT {one}", "left where it stands", name="last", members={})
    gone = _run("DELETE FROM feeds WHERE name = 'new'")
    yield _keyed(f"PUT {one}", "created", 201, name="new", members={"kind": ["cargo"]}, first=gone)
    there = _run("INSERT INTO feeds VALUES (1, 'new', 0, '{}') ON CONFLICT DO NOTHING")
    yield _keyed(f"DELETE {one}", "", 204, name="new", first=there)


def _summaries() -> Iterator[Asked]:
    summary = f"GET {VESSELS}/{{vessel_id}}/summary"
    hundred = urlencode({"from": rfc3339(at(-budget.HISTORY_S)), "to": rfc3339(at(0))})
    yield _keyed(summary, query=f"?{hundred}", vessel_id=1)
    for what, key in (("with grants", budget.PARTNER), ("late and coarsely", budget.LATE)):
        yield _keyed(summary, what, query=f"?{hundred}", key=key, vessel_id=1)
    yield _keyed(summary, "of the last day", vessel_id=1)
    yield _keyed(summary, "not granted", 404, key=budget.PARTNER, vessel_id=5)


def _trackers() -> Iterator[Asked]:
    trackers, one = TRACKERS, TRACKERS + "/{number}"
    mine = {"number": budget.ADMINISTERED}
    yield _keyed(f"GET {one}", number=budget.BUSY)
    yield _keyed(f"GET {one}", "with gaps", number=budget.COUNTING)
    yield _keyed(f"GET {one}", "not there", 404, number=_ABSENT)
    yield from _created(f"POST {trackers}", {"vessel_id": 1, "label": "bridge"})
    yield from _created(f"POST {one}/rotate", {"grace_s": 0}, 200, **mine)
    yield _keyed(f"PATCH {one}", members={"label": "mast {serial}"}, headers=_ANY_VERSION, **mine)
    for what, number, more in (
        ("of many fixes", budget.BUSY, {}),
        ("of an old fix", budget.BEFORE, {}),
        ("of no fix", budget.SILENT, {}),
        ("of no fix, long ago", budget.SILENT, {"starts_at": "2000-01-01T00:00:00Z"}),
    ):
        # So much is stored of the vessel since then that it would take too long to tell.
        status = 409 if "starts_at" in more else 200
        undone = _run(f"DELETE FROM assignments WHERE tracker_id = {number} AND starts_at > '0002-01-01'")
        moved = {"members": {"vessel_id": 2, **more}, "headers": _ANY_VERSION}
        yield _keyed(f"POST {one}/reassign", what, status, first=undone, number=number, **moved)
    for since, change in (("NULL", "disable"), ("now()", "enable")):
        before = _run(f"UPDATE trackers SET disabled_at = {since} WHERE id = {budget.ADMINISTERED}")
        yield _keyed(f"POST {one}/{change}", first=before, **mine)


def _keys() -> Iterator[Asked]:
    keys, one, me = KEYS, KEYS + "/{key_id}", f"GET {ME}"
    terms = {"name": "New {serial}", "scopes": ["vessels:read"], "vessel_ids": [1, 2]}
    yield _keyed(f"GET {one}", key_id=budget.PARTNER)
    yield from _created(f"POST {keys}", terms)
    yield from _created(f"POST {one}/rotate", {"grace_s": 0}, 200, key_id=budget.ROTATED)
    yield _keyed(f"PATCH {one}", members=terms, headers=_ANY_VERSION, key_id=budget.CHANGED)
    undone = _run(f"UPDATE api_keys SET revoked_at = NULL WHERE id = {budget.REVOCABLE}")
    yield _keyed(f"POST {one}/revoke", first=undone, key_id=budget.REVOCABLE)
    yield _keyed(me)
    yield _keyed(me, "of some vessels", key=budget.PARTNER)
    yield _keyed(me, "with a revoked key", 401, key=budget.REVOKED)
    yield _keyed(me, "with a key that was never issued", 401, headers=_NEVER_ISSUED)
    yield _keyed(me, "with nonsense", 401, headers={"Authorization": "Bearer nonsense"})
    yield _keyed(f"GET {AUDIT}", "without the scope", 403, key=budget.WITHOUT_SCOPE)


def _decisions() -> Iterator[Asked]:
    one = QUARANTINE + "/{held_id}"
    undone = _run(
        """
        DELETE FROM positions USING quarantine AS q WHERE q.id = 800010 AND positions.vessel_id = q.vessel_id
            AND positions.recorded_at = q.recorded_at AND positions.tracker_id = q.tracker_id;
        UPDATE quarantine SET state = 'held' WHERE id = 800010
        """
    )
    for change in ("release", "reject"):
        yield _keyed(f"POST {one}/{change}", first=undone, held_id=800_010)
        yield _keyed(f"POST {one}/{change}", "not there", 404, held_id=_ABSENT)
    yield _keyed(f"POST {one}/reject", "that is released", 409, held_id=900_001)
    yield _keyed(f"POST {one}/release", "from the future", 409, held_id=900_002)
    stored_again = _run(
        f"""
        DELETE FROM quarantine WHERE vessel_id = 1 AND recorded_at = '{budget.NEWEST}';
        DELETE FROM positions WHERE vessel_id = 1 AND recorded_at = '{budget.NEWEST}';
        INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
        VALUES (1, '{budget.NEWEST}', {budget.BUSY}, now(), 10, 0.5, 1)
        """
    )
    wrong = {"vessel_id": 1, "recorded_at": rfc3339(budget.NEWEST), "note": "wrong"}
    withdraw = f"POST {QUARANTINE}/withdraw"
    yield _keyed(withdraw, members=wrong, first=stored_again)
    yield _keyed(withdraw, "that was withdrawn", members=wrong)
    yield _keyed(withdraw, "not there", 404, members={**wrong, "recorded_at": "2000-01-01T00:00:00Z"})
    held = {**wrong, "recorded_at": rfc3339(at(-budget.EVERY_S - 15))}
    yield _keyed(withdraw, "that is held", 409, members=held)
    some = {"from": rfc3339(at(-budget.EVERY_S - 20)), "to": rfc3339(at(-budget.EVERY_S - 10))}
    held_again = _run(
        """
        DELETE FROM positions USING quarantine AS q WHERE q.id = 800001 AND positions.vessel_id = q.vessel_id
            AND positions.recorded_at = q.recorded_at AND positions.tracker_id = q.tracker_id;
        UPDATE quarantine SET state = 'held' WHERE id = 800001
        """
    )
    for change in ("release", "reject"):
        many = f"POST {QUARANTINE}/{change}"
        for selection in (
            {"reason": "impossible_jump"},
            {"vessel_id": 1},
            {"vessel_id": 1, "reason": "impossible_jump"},
            {"tracker_id": f"trk_{budget.BUSY:04d}"},
            {"tracker_id": f"trk_{budget.BUSY:04d}", "vessel_id": 1, "reason": "impossible_jump"},
            {},
        ):
            counted = {**selection, **some}
            yield _keyed(many, f"counted by {[*counted]}", members={**counted, "dry_run": True})
            yield _keyed(many, f"by {[*counted]}", members=counted, first=held_again)


def _requests(document: Document) -> Iterator[Asked]:
    yield from _signed_requests()
    yield from _lists(document)
    for some in (_vessels, _histories, _feed, _consumers, _tracks, _summaries, _trackers, _keys, _decisions):
        yield from some()
    yield from (_keyed(f"GET /health{which}") for which in ("", "/live", "/ready"))


@pytest.fixture(scope="module")
def few(new_database: NewDatabase) -> Iterator[Service]:
    """Return a service that holds few rows of everything."""
    service = Service(new_database(), FEW)
    yield service
    service.close()


@pytest.fixture(scope="module")
def many(new_database: NewDatabase, pytestconfig: pytest.Config) -> Iterator[Service]:
    """Return a service that differs from the other one only in how many rows of everything it holds."""
    service = Service(new_database(), 100_000 if pytestconfig.getoption("--slow") else 30_000)
    yield service
    service.close()


def test_each_operation_is_asked(document: Document):
    operations = {str(each) for each in operations_of(document)}
    assert {asked.operation for asked in _requests(document)} == operations


def _lie_apart(beyond: list[str], large: Counts, plans: Plans) -> bool:
    """Return whether all that grew is how many pages rows lie on that a plan for their number reads page
    by page.

    Each page once, so they are fewer than the rows; where few are held these lie together. The service's own
    plans are for any values, and go row by row.
    """
    of_pages = [each for each in beyond if not each.startswith("most in")]
    is_by_page = plans == "custom" and large.pages <= large.rows_read
    return is_by_page and all(each.startswith("pages ") for each in of_pages)


@pytest.mark.heavy
def test_what_a_request_costs_does_not_grow_with_what_is_held(
    document: Document, few: Service, many: Service
):
    grown, lines = [], [f"{'':<107}" + "".join(f" {name:>15}" for name in budget.ALLOWED)]
    for asked in _requests(document):
        for service in (few, many):
            asked.warm(service)
        for plans in PLANS:
            for service in (few, many):
                service.meter.plan(plans)
            small, large = asked.ask(few), asked.ask(many)
            cells = (f"{getattr(small, name)}/{getattr(large, name)}" for name in budget.ALLOWED)
            lines.append(f"{asked!s:<99.99} {plans:<7}" + "".join(f" {cell:>15}" for cell in cells))
            beyond = exceeded(small, large, jumps=asked.jumps)
            if beyond and not _lie_apart(beyond, large, plans):
                grown.append(f"{asked}, {plans} plans: {'; '.join(beyond)}")
    print("\n" + "\n".join(lines))
    assert not grown, "\n".join([f"{len(grown)} grow with what is held:", *grown])


# --- the meter itself ---


def _query(statement: str) -> Callable[[Service, int], None]:
    def work(service: Service, size: int) -> None:
        with service.database.autocommit() as unit_of_work:
            sql.run(unit_of_work, statement.replace("SIZE", str(size)))

    return work


def _queries(service: Service, size: int) -> None:
    for _ in range(size):
        _query("SELECT 1")(service, size)


@pytest.mark.parametrize(
    ("measure", "work"),
    [
        ("statements", _queries),
        ("rows_returned", _query("SELECT generate_series(1, SIZE)")),
        ("rows_read", _query("SELECT count(*) FROM (SELECT FROM positions LIMIT SIZE) AS part")),
        # Looks into an index that find nothing.
        (
            "pages",
            _query(
                "SELECT count((SELECT max(id) FROM audit WHERE id > 2000000 + number)) "
                "FROM generate_series(1, SIZE) AS number"
            ),
        ),
        ("steps", lambda _, size: [len("") for _ in range(size)]),
    ],
)
def test_the_meter_notices_what_grows(few: Service, measure: str, work: Callable[[Service, int], None]):
    _, small = few.meter.count(lambda: work(few, 1))
    _, large = few.meter.count(lambda: work(few, 1_000))
    assert any(each.startswith(measure) for each in exceeded(small, large)), (small, large)
