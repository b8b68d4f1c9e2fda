"""Posting signed bodies fast and from many threads, for tests in which the service is what is slow."""

import http.client
import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import httpx
from tests.support import sql
from tests.support.factories import MASTER_KEY
from tests.support.urls import POSITIONS

from harbor_api.database import Database
from harbor_api.domain.signatures import derive_secret, sign
from harbor_api.domain.trackers import tracker_id

VERDICT_OF_STATUS = {201: "stored", 200: "duplicate", 202: "quarantined", 422: "invalid"}


class Connection:
    """One connection to a service that is kept open; for one thread."""

    def __init__(self, port: int, *, timeout_s: float = 60) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def post(self, path: str, tracker: int, value: Any, **headers: str) -> tuple[int, Any]:
        """Post a JSON value, or bytes as they are, as a tracker; return the status and the answer's JSON.

        OSError or HTTPException where there is no whole answer; the next post connects anew.
        """
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        try:
            self._http.request("POST", path, data, signed_headers(tracker, data) | headers)
            answer = self._http.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            self._http.close()
            raise

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def signed_headers(tracker: int, data: bytes) -> dict[str, str]:
    """Return the headers with which the tracker of a number, in its first generation, signs a body."""
    sender = tracker_id(tracker)
    message_id, moment = f"{sender}-{uuid.uuid4().hex}", int(time.time())
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(moment),
        "webhook-signature": sign(derive_secret(MASTER_KEY, sender, 1), message_id, moment, data),
    }


def send(
    client: httpx.Client, signed: Mapping[str, Any], url: str = POSITIONS, **more: Any
) -> httpx.Response:
    """Post what a tracker has signed with a client of httpx, which names the body otherwise than Flask's."""
    return client.post(url, content=signed["data"], headers=signed["headers"], **more)


def head_of(url: str, headers: Mapping[str, Any]) -> bytes:
    """Return the head of a post as it goes over the wire, for who sends the body in a way of their own."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {url} HTTP/1.1\r\nHost: harbor\r\n{lines}\r\n".encode()


def register_fleet(database: Database, size: int) -> None:
    """Register vessels 1 to ``size``, each with the tracker of its number.

    In three statements: through the services, two thousand of them would take a minute.
    """
    with database.unit_of_work() as unit_of_work:
        execute = partial(sql.run, unit_of_work)
        execute(
            "INSERT INTO vessels (name, seq) "
            f"SELECT 'Ship ' || n, nextval('fleet_order') FROM generate_series(1, {size}) AS n"
        )
        execute(f"INSERT INTO trackers (label) SELECT 'bridge' FROM generate_series(1, {size})")
        execute(
            "INSERT INTO assignments (tracker_id, starts_at, vessel_id) "
            f"SELECT n, '2000-01-01T00:00:00Z', n FROM generate_series(1, {size}) AS n"
        )


def backwards(database: Database) -> Sequence[Any]:
    """Return the vessels whose latest position is not their newest stored fix, as it is stored."""
    return sql.run(
        database,
        """
        SELECT vessel_id FROM (
            SELECT DISTINCT ON (vessel_id) * FROM positions
            ORDER BY vessel_id, recorded_at DESC, tracker_id DESC
        ) AS newest
        FULL JOIN latest_positions AS latest USING (vessel_id)
        -- What is shown has no column for when it was released, and whether it came late.
        WHERE to_jsonb(newest) - 'released_at' - 'late' IS DISTINCT FROM to_jsonb(latest)
        """,
    )


def in_both(database: Database) -> Sequence[Any]:
    """Return the fixes that are stored and held at once."""
    return sql.run(
        database,
        "SELECT vessel_id, recorded_at FROM positions "
        "JOIN quarantine USING (vessel_id, recorded_at, tracker_id) WHERE state = 'held'",
    )


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value below which a share of all of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
