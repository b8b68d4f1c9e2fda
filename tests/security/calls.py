"""How the tests of security call the service: where, with what, and in bytes as they are."""

import re
import socket
from collections.abc import Mapping
from typing import Any

from tests.support.checked_client import CheckedClient
from tests.support.live_service import LiveService
from tests.support.operations import Operation, operations_of

ANY = {"If-Match": "*"}
Document = dict[str, Any]


def call(
    client: CheckedClient, operation: Operation, headers: Mapping[str, str], body: bytes = b"{}", **more: Any
) -> Any:
    sent = {"data": body, "content_type": "application/json"} if "requestBody" in operation.described else {}
    return client.open(
        more.get("url", operation.asked()),
        method=operation.method,
        headers={**operation.headers, **headers},
        **sent,
    )


def with_keys(document: Document) -> list[Operation]:
    """Return the operations that API keys may call."""
    found = [each for each in operations_of(document) if each.security and "api_key" in each.security[0]]
    assert found
    return found


def raw(service: LiveService, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are and return status, headers and body."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
            head, found, body = received.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if found and length and len(body) >= int(length[1]):
                break
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split(" ")[1]), headers, body
