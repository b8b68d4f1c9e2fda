"""The neighbours: honest trackers and honest partners, who want an answer as on any other day.

Each asks, waits for the answer, rests for 50 ms and asks again; one of each kind makes a new connection each
time, the other keeps its one. Where a kept connection turns out to have been closed, which a server may do
while nothing is under way, it is made anew and asked once more, as any client does.

One more tracker has a slow line: it sends what it has stored, and the wait is counted from its last byte on.
"""

import http.client
import json
import select
import threading
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta

from tests.neighbours.scene import (
    BATCH,
    HONEST_KEPT,
    HONEST_NEW,
    HONEST_SLOW,
    SINGLE,
    Scene,
    connection,
    read_part,
    rfc3339,
    say_ready,
    signed_headers,
    tell,
)

OK = "ok"
TRACKER_NEW, TRACKER_KEPT = "tracker, new connections", "tracker, one connection"
TRACKER_SLOW = "tracker, slow line"
PARTNER_NEW, PARTNER_KEPT = "partner, new connections", "partner, one connection"
CLIENTS = (TRACKER_NEW, TRACKER_KEPT, TRACKER_SLOW, PARTNER_NEW, PARTNER_KEPT)
# How many times its patience a client may take to end, as it may ask once more and in two parts.
LAST_ANSWERS = 4
_REST_S = 0.05
_WERE_CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
# A modem at 9.6 kbit/s, and a batch that takes it some eight seconds.
_SLOW_BYTES_A_SECOND = 1_200
_SLOW_PIECE = 120
_SLOW_BATCH = 150
Request = tuple[str, str, bytes | None, dict[str, str]]


@dataclass(frozen=True)
class Sample:
    """One request: when it began and ended, by the machine's monotonic clock, its answer's wait, and how."""

    began: float
    ended: float
    waited_s: float
    outcome: str
    reopened: int


class Client:
    """An honest client that asks for one thing at a time."""

    expects = 200

    def __init__(self, scene: Scene, *, keeps: bool = False) -> None:
        self._scene = scene
        self._keeps = keeps
        self._asked = 0
        self._http: http.client.HTTPConnection | None = None

    def ask(self) -> Sample:
        """Make one request, and tell how it went."""
        self._asked += 1
        request = self._request()
        began = self._waits_since = time.monotonic()
        reopened = 0
        while True:
            is_new = self._http is None
            try:
                outcome = self._answer(*request)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if not is_new and isinstance(error, _WERE_CLOSED):
                    reopened += 1
                    continue
                outcome = type(error).__name__
            ended = time.monotonic()
            return Sample(began, ended, ended - self._waits_since, outcome, reopened)

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
        self._http = None

    def _answer(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> str:
        if self._http is None:
            self._http = connection(self._scene, 0, patience_s=self._scene.patience_s)
        self._send(self._http, method, path, body, headers)
        answer = self._http.getresponse()
        answer.read()
        if not self._keeps or answer.will_close:
            self.close()
        return OK if answer.status == self.expects else str(answer.status)

    def _send(
        self,
        http_connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> None:
        http_connection.request(method, path, body, headers)

    def _request(self) -> Request:
        raise NotImplementedError


class Partner(Client):
    """Reads where a vessel is, and what its own key may do, in turns."""

    def _request(self) -> Request:
        path = f"/api/v1/vessels/{HONEST_NEW}" if self._asked % 2 else "/api/v1/me"
        return "GET", path, None, {"Authorization": f"Bearer {self._scene.key}"}


class Tracker(Client):
    """Posts where it is."""

    expects = 201

    def __init__(self, scene: Scene, number: int, *, keeps: bool = False) -> None:
        super().__init__(scene, keeps=keeps)
        self._number = number

    def _request(self) -> Request:
        body = json.dumps(_fix(datetime.now(UTC))).encode()
        return "POST", SINGLE, body, signed_headers(self._scene, self._number, body)


class SlowTracker(Client):
    """Posts a batch of new fixes over a slow line."""

    def _request(self) -> Request:
        now = datetime.now(UTC)
        fixes = [_fix(now - timedelta(milliseconds=number)) for number in range(_SLOW_BATCH)]
        body = json.dumps({"fixes": fixes}).encode()
        headers = signed_headers(self._scene, HONEST_SLOW, body)
        return "POST", BATCH, body, {**headers, "Content-Length": str(len(body))}

    def _send(
        self,
        http_connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> None:
        http_connection.connect()
        http_connection.request(method, path, self._pieces(http_connection, body or b""), headers)
        self._waits_since = time.monotonic()

    def _pieces(self, http_connection: http.client.HTTPConnection, body: bytes) -> Iterator[bytes]:
        for first in range(0, len(body), _SLOW_PIECE):
            # An answer that comes before all is sent is a refusal: to send on would be to lose it.
            if select.select([http_connection.sock], [], [], _SLOW_PIECE / _SLOW_BYTES_A_SECOND)[0]:
                return
            yield body[first : first + _SLOW_PIECE]


def clients(scene: Scene) -> dict[str, Client]:
    """Return the honest clients by name."""
    return {
        TRACKER_NEW: Tracker(scene, HONEST_NEW),
        TRACKER_KEPT: Tracker(scene, HONEST_KEPT, keeps=True),
        TRACKER_SLOW: SlowTracker(scene),
        PARTNER_NEW: Partner(scene),
        PARTNER_KEPT: Partner(scene, keeps=True),
    }


def _fix(moment: datetime) -> dict[str, object]:
    return {"recorded_at": rfc3339(moment), "lat": 10, "lon": 10}


def _ask_on(client: Client, seen: list[Sample], ended: threading.Event) -> None:
    while not ended.is_set():
        seen.append(client.ask())
        ended.wait(_REST_S)
    client.close()


def main() -> None:
    """Ask until told to end, and hand over every sample."""
    _, scene = read_part()
    ended = threading.Event()
    seen: dict[str, list[Sample]] = {name: [] for name in CLIENTS}
    threads = [
        threading.Thread(target=_ask_on, args=(client, seen[name], ended), daemon=True)
        for name, client in clients(scene).items()
    ]
    for thread in threads:
        thread.start()
    say_ready()
    ended.set()
    until = time.monotonic() + LAST_ANSWERS * scene.patience_s
    for thread in threads:
        thread.join(max(0, until - time.monotonic()))
    tell({name: [astuple(each) for each in list(samples)] for name, samples in seen.items()})


if __name__ == "__main__":
    main()
