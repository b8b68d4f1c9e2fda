"""A tracker comes back into coverage with 17,000 fixes, over one connection that is slow and breaks.

It sends batches of 1,000, the newest first, so that the map is right at once, and then the oldest on. Some
of its fixes have a wrong clock or no place. When the connection breaks it sends again what has no verdict.
In the end each fix has had exactly one verdict that counts, and the gaps in its numbers have closed.
"""

import gzip
import http.client
import json
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.live_service import LiveService
from tests.support.signed_posts import Connection, backwards, in_both, register_fleet, signed_headers
from tests.support.urls import BATCH, TRACKERS
from tests.support.urls import POSITIONS as SINGLE

_BACKLOG = 17_000
_BATCH = 1_000
_SLOW_BYTES_PER_S = 20_000
_CHUNK = 2_000
_ROLLOVER = timedelta(weeks=1024)
Fix = dict[str, Any]


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _backlog(now: datetime) -> list[Fix]:
    """Return fixes of every ten seconds up to now, oldest first: a ship under way along a coast."""
    fixes = []
    for number in range(_BACKLOG):
        moment = now - timedelta(seconds=10 * (_BACKLOG - 1 - number))
        lat, lon = round(50 + number * 0.0004, 4), round(3 + number * 0.0001, 4)
        if number % 1_000 == 100:
            lat, lon = 0, 0
        elif number % 1_000 == 200:
            moment += timedelta(days=365)
        elif number % 1_000 == 300:
            moment -= _ROLLOVER
        elif number % 1_000 == 400:
            lat = 91
        fixes.append({"recorded_at": _text(moment), "lat": lat, "lon": lon, "sog": 8.6, "number": number})
    return fixes


def _expected(fix: Fix) -> str:
    return {100: "null_island", 200: "future", 300: "week_rollover", 400: "invalid"}.get(
        fix["number"] % 1_000, "stored"
    )


class _Throttled:
    """A body that leaves at the speed of a slow link; it may break off."""

    def __init__(self, data: bytes, breaks_after: float) -> None:
        self._data = data
        self._breaks_at = int(len(data) * breaks_after)

    def __iter__(self):
        for first in range(0, len(self._data), _CHUNK):
            if first >= self._breaks_at:
                raise ConnectionAbortedError("out of coverage")
            time.sleep(_CHUNK / _SLOW_BYTES_PER_S)
            yield self._data[first : first + _CHUNK]


def _slowly(port: int, fixes: Sequence[Fix], *, breaks_after: float = 2) -> dict[str, Any]:
    """Post a batch, compressed and throttled, and return the answer."""
    data = gzip.compress(json.dumps({"fixes": fixes}, separators=(",", ":")).encode())
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = signed_headers(1, data)
        headers |= {"content-encoding": "gzip", "content-length": str(len(data))}
        connection.request("POST", BATCH, _Throttled(data, breaks_after), headers)
        answer = connection.getresponse()
        content: dict[str, Any] = json.loads(answer.read())
        assert answer.status == 200, content
        return content
    finally:
        connection.close()


def _at_once(port: int, fixes: Sequence[Fix], *, breaks_after: float = 2) -> Any:
    """Post a batch as fast as it goes; where the link breaks, the service has it and the answer is lost."""
    data = json.dumps({"fixes": fixes}).encode()
    if breaks_after > 1:
        with Connection(port) as connection:
            status, answer = connection.post(BATCH, 1, data)
        assert status == 200, answer
        return answer
    head = [f"POST {BATCH} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(data)}"]
    head += [f"{name}: {value}" for name, value in signed_headers(1, data).items()]
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall("\r\n".join([*head, "", ""]).encode() + data)
        link.shutdown(socket.SHUT_WR)
    raise ConnectionAbortedError("out of coverage")


@pytest.mark.parametrize("send", [_at_once, _slowly])
def test_a_backlog_of_17000_over_one_link_that_breaks(live_service: LiveService, send):
    database = live_service.world.database
    register_fleet(database, 1)
    fixes = _backlog(datetime.now(UTC).replace(microsecond=0))
    batches = [fixes[first : first + _BATCH] for first in range(0, _BACKLOG, _BATCH)]
    told: dict[int, list[dict[str, Any]]] = defaultdict(list)
    missing: list[list[dict[str, int]]] = []

    def post(batch: Sequence[Fix], **how) -> None:
        answer = send(live_service.port, batch, **how)
        for fix, verdict in zip(batch, answer["verdicts"], strict=True):
            told[fix["number"]].append(verdict)
        missing.append(answer.get("missing", []))

    began = time.monotonic()
    # The newest first.
    post(batches.pop()[::-1])
    newest = [fix for fix in fixes if _expected(fix) == "stored"][-1]
    [marker] = sql.run(database, "SELECT recorded_at, lat, lon FROM latest_positions")
    assert marker == (datetime.fromisoformat(newest["recorded_at"]), newest["lat"], newest["lon"])
    breaks_at = len(batches) // 2
    for batch in batches[:breaks_at]:
        post(batch)
    # Eight thousand numbers are still to come, and the service knows which.
    gap = {"first": breaks_at * _BATCH, "last": _BACKLOG - _BATCH - 1}
    assert missing[-1] == [gap]
    bearer = live_service.world.bearer("trackers:read")
    assert live_service.http.get("/api/v1/trackers/1", headers=bearer).json()["missing"] == [gap]
    with pytest.raises(OSError, match="out of coverage"):
        post(batches[breaks_at], breaks_after=0.5)
    for batch in batches[breaks_at:]:
        post(batch)
    took = time.monotonic() - began
    print(f"{send.__name__}: {_BACKLOG} fixes in {len(missing) + 1} posts and {took:.1f} s")

    assert live_service.http.get("/api/v1/trackers/1", headers=bearer).json()["missing"] == []
    assert missing[-1] == []
    assert len(told) == _BACKLOG
    # The answer that was lost may have been a "stored": then it is a duplicate now.
    again = range(breaks_at * _BATCH, (breaks_at + 1) * _BATCH)
    for fix in fixes:
        [verdict] = told[fix["number"]]
        kind = verdict.get("reason", verdict["verdict"])
        assert kind == _expected(fix) or (kind == "duplicate" and fix["number"] in again), (fix, verdict)
        assert not verdict.get("differs")
    kept = Counter(row[0] for row in sql.run(database, "SELECT reason FROM quarantine"))
    counts = Counter(map(_expected, fixes))
    assert kept == {reason: counts[reason] for reason in ("null_island", "future", "week_rollover")}
    assert sql.run(database, "SELECT count(*) FROM positions") == [(counts["stored"],)]
    [marker] = sql.run(database, "SELECT recorded_at, lat, lon FROM latest_positions")
    assert marker == (datetime.fromisoformat(newest["recorded_at"]), newest["lat"], newest["lon"])
    assert not backwards(database)
    assert not in_both(database)


def test_gaps_are_told_newest_first_to_go_and_disappear_when_sent_again(client: CheckedClient, world: World):
    signer = world.tracker()

    def post(*numbers: int) -> Any:
        body = {"fixes": [a_fix(number, number=number) for number in numbers]}
        return client.post(BATCH, **signer.signed(body)).json.get("missing", [])

    assert post(5) == []
    assert post(7, 11) == [{"first": 6, "last": 6}, {"first": 8, "last": 10}]
    assert post(9, 9, 7) == [{"first": 6, "last": 6}, {"first": 8, "last": 8}, {"first": 10, "last": 10}]
    single = client.post(SINGLE, **signer.signed(a_fix(10, number=10)))
    assert single.json["missing"] == [{"first": 6, "last": 6}, {"first": 8, "last": 8}]
    # What comes before the first is no gap until it has come.
    assert post(3) == [{"first": 4, "last": 4}, {"first": 6, "last": 6}, {"first": 8, "last": 8}]
    assert post(8, 6, 4) == []
    told = client.get(f"{TRACKERS}/{signer.tracker.number}", headers=world.bearer("trackers:read"))
    assert told.json["missing"] == []


@pytest.mark.parametrize("path", [BATCH, SINGLE])
def test_the_number_of_a_fix_that_is_refused_for_good_is_not_missing(
    client: CheckedClient, world: World, path: str
):
    """It never will be accepted and the tracker has erased it: to ask for it again would be for ever."""
    signer = world.tracker()
    client.post(SINGLE, **signer.signed(a_fix(1, number=1)))
    refused = a_fix(2, number=2, lat=91)
    answer = client.post(path, **signer.signed(refused if path == SINGLE else {"fixes": [refused]}))
    assert answer.status_code == (422 if path == SINGLE else 200)
    following = client.post(SINGLE, **signer.signed(a_fix(3, number=3)))
    assert following.json.get("missing", []) == []
