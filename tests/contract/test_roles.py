"""Who may call which operation: the whole matrix, made from the document and asked of the service."""

from typing import Any

import pytest
from tests.support.checked_client import CheckedClient
from tests.support.factories import World
from tests.support.operations import Operation, operations_of

from harbor_api.domain.api_keys import SCOPES

Document = dict[str, Any]
_NOBODY, _TRACKER, _NO_SCOPE = "nobody", "tracker", "no scope"
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
        if scope in required.get("api_key", ())
    }
    assert methods == {"GET"} if scope.endswith(":read") else "GET" not in methods
