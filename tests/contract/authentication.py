"""Asks each operation of a document, in all wrong ways, whether it lets in whom it should not."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from flask.testing import FlaskClient
from tests.support.factories import SigningTracker, World
from tests.support.operations import Operation, operations_of

_ANOTHER_SECRET = "whsec_" + "A" * 43 + "="
_BODY = b"{}"
Headers = Mapping[str, str]


def broken_promises(document: Mapping[str, Any], client: FlaskClient, world: World) -> list[str]:
    """Return what the service does with callers that the document does not say it does."""
    broken = []
    # The key that paths name: any key that may write keys has power over it.
    world.key("keys:write")
    for operation in operations_of(document):
        for what, headers, expected in _attempts(document, operation, world):
            answer = client.open(
                operation.url,
                method=operation.method,
                data=_BODY if "requestBody" in operation.described else None,
                headers={"Content-Type": "application/json", **headers},
            )
            if not _as_expected(answer.status_code, expected):
                broken.append(f"{operation} {what}: {answer.status_code}, not {expected}")
            elif answer.status_code == 401 and not answer.headers.get("WWW-Authenticate"):
                broken.append(f"{operation} {what}: 401 without WWW-Authenticate")
    return broken


def _as_expected(status: int, expected: int | None) -> bool:
    return status == expected if expected else status not in {401, 403}


def _attempts(
    document: Mapping[str, Any], operation: Operation, world: World
) -> Iterator[tuple[str, Headers, int | None]]:
    """Yield ways to call an operation, each with the status that it must answer; None if it lets in."""
    if not operation.security:
        yield "without anything", {}, None
        yield "with a wrong key", {"Authorization": "Bearer nonsense"}, None
        return
    yield "without anything", {}, 401
    [required] = operation.security
    if "api_key" in required:
        yield from _with_keys(world, set(required["api_key"]), _all_scopes(document))
        yield "with a signature", _signed(operation, world.tracker()), 401
    else:
        assert set(required) == {"webhook_id", "webhook_timestamp", "webhook_signature"}
        yield from _with_signatures(operation, world)
        yield "with a key", world.bearer(*_all_scopes(document)), 401


def _with_keys(world: World, needed: set[str], known: set[str]) -> Iterator[tuple[str, Headers, int | None]]:
    bearer = world.bearer(*known)
    key = bearer["Authorization"].partition(" ")[2]
    other = key[:-1] + ("0" if key[-1] != "0" else "1")
    yield "with the right key", bearer, None
    yield "with only the scopes that it needs", world.bearer(*(needed or known)), None
    yield "with a mistyped key", {"Authorization": f"Bearer {other}"}, 401
    yield "with nonsense", {"Authorization": "Bearer nonsense"}, 401
    yield "with an empty key", {"Authorization": "Bearer "}, 401
    yield "with the key alone", {"Authorization": key}, 401
    yield "with another scheme", {"Authorization": f"Basic {key}"}, 401
    revoked, secret = world.key(*known)
    world.revoke(revoked)
    yield "with a revoked key", {"Authorization": f"Bearer {secret}"}, 401
    if needed:
        without = world.bearer(*(known - needed or {"something:else"}))
        yield "with a key that lacks the scope", without, 403


def _with_signatures(operation: Operation, world: World) -> Iterator[tuple[str, Headers, int | None]]:
    tracker = world.tracker()
    right = _signed(operation, tracker)
    yield "rightly signed", right, None
    yield "rightly signed by a tracker that is disabled", _signed(operation, world.disabled_tracker()), 403
    for name in right:
        yield f"without {name}", {other: value for other, value in right.items() if other != name}, 401
    yield (
        "signed with another secret",
        _signed(operation, SigningTracker(tracker.tracker, _ANOTHER_SECRET)),
        401,
    )
    yield "signed by another tracker", {**right, "webhook-id": f"{world.tracker().tracker.id}-1"}, 401
    yield "signed over another body", _signed(operation, tracker, body=b'{"lat": 1}'), 401
    yield "signed an hour ago", _signed(operation, tracker, timestamp=int(time.time()) - 3600), 401
    yield "with a signature of another version", {**right, "webhook-signature": "v2,AAAA"}, 401


def _signed(operation: Operation, tracker: SigningTracker, *, body: bytes = b"", **how: Any) -> Headers:
    sent = _BODY if "requestBody" in operation.described else b""
    headers: dict[str, str] = tracker.signed(body or sent, url=operation.url, **how)["headers"]
    return {name: value for name, value in headers.items() if name != "content-type"}


def _all_scopes(document: Mapping[str, Any]) -> set[str]:
    return {
        scope
        for operation in operations_of(document)
        for required in operation.security
        for scope in required.get("api_key", ())
    }
