"""Who may call which operation: the whole matrix, made from the document and asked of the service."""

from typing import Any

import pytest
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import SigningTracker, World, a_fix
from tests.support.operations import Operation, operations_of
from tests.support.urls import FEEDS, POSITIONS, VESSELS

from harbor_api.domain.api_keys import SCOPES

Document = dict[str, Any]
_NOBODY, _TRACKER, _NO_SCOPE = "nobody", "tracker", "no scope"
# What changes only what the key itself keeps here.
_OF_ITS_OWN = {"putFeed", "deleteFeed"}
_ROLES = (_NOBODY, _TRACKER, _NO_SCOPE, *SCOPES)
_ALLOWED = "allowed"


def _expected(operation: Operation, role: str) -> str:
    """Return what the document says of a role: allowed, or the status that refuses it."""
    if not operation.security:
        return _ALLOWED
    [required] = operation.security
    if "api_key" not in required:
        return _ALLOWED if role == _TRACKER else "401"
    if role in {_NOBODY, _TRACKER}:
        return "401"
    carried = set() if role == _NO_SCOPE else {role}
    return _ALLOWED if set(required["api_key"]) <= carried else "403"


def _answered(client: CheckedClient, world: World, operation: Operation, role: str) -> str:
    body = b"{}" if "requestBody" in operation.described else b""
    headers: dict[str, str] = {}
    if role == _TRACKER:
        headers = world.tracker().signed(body, url=operation.url)["headers"]
        headers.pop("content-type")
    elif role == _NO_SCOPE:
        # No key is issued without a scope over HTTP; one that an older release knew is as good as none.
        headers = world.bearer("something:else")
    elif role != _NOBODY:
        headers = world.bearer(role)
    sent = {"data": body, "content_type": "application/json"} if body else {}
    answer = client.open(operation.url, method=operation.method, headers=operation.headers | headers, **sent)
    assert answer.status_code < 500, f"{operation} as {role}: {answer.text}"
    return str(answer.status_code) if answer.status_code in {401, 403} else _ALLOWED


def _table(rows: dict[str, list[str]]) -> str:
    names = [role.replace(":", ":\n") for role in _ROLES]
    head = [(*name.split("\n"), "")[:2] for name in names]
    width = max(len(name) for name in rows)
    lines = [" " * width + "".join(f" {column[line]:>9}" for column in head) for line in range(2)]
    for name, cells in rows.items():
        shown = ["yes" if cell == _ALLOWED else cell for cell in cells]
        lines.append(f"{name:<{width}}" + "".join(f" {cell:>9}" for cell in shown))
    return "\n".join(lines)


def test_every_role_may_do_exactly_what_the_document_says(
    client: CheckedClient, world: World, document: Document
):
    # What the paths name by example: the first vessel, tracker and key. Any key that may write keys has
    # power over that key, so that only the scope decides.
    world.key("keys:write")
    world.tracker(world.vessel())
    rows, wrong = {}, []
    for operation in operations_of(document):
        cells = [_answered(client, world, operation, role) for role in _ROLES]
        rows[str(operation)] = cells
        for role, cell in zip(_ROLES, cells, strict=True):
            if cell != _expected(operation, role):
                wrong.append(f"{operation} as {role}: {cell}, not {_expected(operation, role)}")
    print(f"\n{_table(rows)}")
    assert wrong == []


def test_the_document_and_the_code_know_the_same_scopes(document: Document):
    named = {
        scope
        for operation in operations_of(document)
        for required in operation.security
        for scope in required.get("api_key", ())
    }
    assert named == set(SCOPES)


@pytest.mark.parametrize("scope", SCOPES)
def test_no_scope_that_reads_is_enough_to_write(document: Document, scope: str):
    """GET and HEAD are safe (RFC 9110): whatever else asks for a reading scope would break the promise."""
    methods = {
        operation.method
        for operation in operations_of(document)
        for required in operation.security
        if scope in required.get("api_key", ()) and operation.described["operationId"] not in _OF_ITS_OWN
    }
    assert methods == {"GET"} if scope.endswith(":read") else "GET" not in methods


def test_what_a_key_that_only_reads_keeps_is_its_own(client: CheckedClient, world: World, document: Document):
    """Where its consumers stand, and nothing that anybody else reads."""
    operations = [each for each in operations_of(document) if each.described["operationId"] in _OF_ITS_OWN]
    vessel = world.vessel()
    before = client.get(f"{VESSELS}/{vessel.id}", headers=world.bearer()).json
    for operation in operations:
        body = {"json": {}} if "requestBody" in operation.described else {}
        mine = world.bearer()
        client.put(f"{FEEDS}/mine", json={}, headers=mine)
        url = operation.path.replace("{name}", "mine")
        assert client.open(url, method=operation.method, headers=mine, **body).status_code in {200, 204}
    assert client.get(f"{VESSELS}/{vessel.id}", headers=world.bearer()).json == before
    assert len(operations) == len(_OF_ITS_OWN)


# What a key that may write, and not read, is told of a change beside its being done.
_COUNTS = {"matched", "decided", "left", "too_early"}
_TOLD = {
    "rotateTracker": {"id", "number", "generation", "previous_valid_until", "secret"},
    "rotateApiKey": {"id", "prefix", "previous_valid_until", "secret"},
    "releaseFixes": _COUNTS,
    "rejectFixes": _COUNTS,
    # Of the fix that it has named, and not where that was.
    "withdrawFix": {
        *("id", "vessel_id", "tracker_id", "reason", "state", "recorded_at"),
        *("decided_at", "decided_by", "note"),
    },
}
# What a change needs where `{}` is not enough.
_BODIES: dict[str, dict[str, Any]] = {
    "reassignTracker": {"vessel_id": 1},
    "releaseFixes": {"vessel_id": 1},
    "rejectFixes": {"vessel_id": 1},
}
# What reads it, where that is another scope than what writes it says.
_READ_WITH = {"updateKeeping": "audit:read"}


def _writes(document: Document) -> list[tuple[Operation, str]]:
    return [
        (operation, required["api_key"][0])
        for operation in operations_of(document)
        for required in operation.security
        if [each for each in required.get("api_key", ()) if each.endswith(":write")]
    ]


def _held_fix(client: CheckedClient, signing: SigningTracker) -> None:
    answer = client.post(POSITIONS, **signing.signed(a_fix(60, lat=0, lon=0)))
    assert answer.json["verdict"] == "quarantined"


def test_a_scope_that_writes_does_not_read(client: CheckedClient, world: World, document: Document):
    """Whoever changes something is told what it is now only with the scope that reads it."""
    # One that everybody here may change, of which nobody is to learn anything.
    world.key("keys:write")
    signing = world.tracker(world.vessel("Secretive"))
    client.post(POSITIONS, **signing.signed(a_fix()))
    _held_fix(client, signing)
    told = {}
    for operation, scope in _writes(document):
        name = operation.described["operationId"]
        if name.startswith("create"):
            # A creation answers what its sender has said.
            continue
        sql.run(world.database, "UPDATE quarantine SET state = 'held'; UPDATE api_keys SET revoked_at = NULL")
        body = {"json": _BODIES.get(name, {})} if "requestBody" in operation.described else {}
        for also in ((), (_READ_WITH.get(name, scope.replace(":write", ":read")),)):
            sql.run(world.database, "DELETE FROM positions WHERE lat = 0")
            sql.run(world.database, "UPDATE quarantine SET state = 'held'")
            if name == "withdrawFix":
                wrong = world.tracker()
                client.post(POSITIONS, **wrong.signed(a_fix()))
                named = {"vessel_id": wrong.tracker.vessel_id, "recorded_at": a_fix()["recorded_at"]}
                body = {"json": {**named, "note": "Clock of the tracker was wrong"}}
            headers = operation.headers | world.bearer(scope, *also)
            answer = client.open(operation.url, method=operation.method, headers=headers, **body)
            assert answer.status_code in {200, 204}, f"{name}: {answer.text}"
            if also:
                assert answer.status_code == 200, name
            else:
                told[name] = set(answer.json) if answer.data else set()
            if name.startswith("rotate"):
                sql.run(world.database, "UPDATE trackers SET previous_valid_until = NULL")
                sql.run(world.database, "UPDATE api_keys SET previous_valid_until = NULL")
            if name == "reassignTracker":
                sql.run(world.database, "DELETE FROM assignments WHERE starts_at > '2000-01-01'")
    assert told == {name: _TOLD.get(name, set()) for name in told}
    assert len(told) >= 13


def test_no_tag_tells_a_key_that_only_writes_that_something_has_moved(client: CheckedClient, world: World):
    vessel = world.vessel()
    bearer = world.bearer("vessels:write") | {"If-Match": "*"}
    tags = []
    for second in (0, 5):
        client.post(POSITIONS, **world.tracker(vessel).signed(a_fix(second)))
        tags.append(client.patch(f"{VESSELS}/{vessel.id}", json={}, headers=bearer).headers["ETag"])
    assert len(set(tags)) == 1
    named = bearer | {"If-Match": tags[0]}
    statuses = [
        client.patch(f"{VESSELS}/{vessel.id}", json={"name": name}, headers=named).status_code
        for name in ("A", "B")
    ]
    assert statuses == [204, 412]
