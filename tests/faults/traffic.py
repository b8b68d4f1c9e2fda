"""Traffic, in a process of its own: trackers that send fixes until each is acknowledged, and partners.

Told on its input what to do, as a JSON object of ``Order``; it says ``ready`` once it has begun. Another line
ends it: no new fixes are made, what is not acknowledged is sent on for a while, and what was met is written
as a JSON object of ``Seen``. Times are those of ``time.monotonic``, which all processes of a machine share.
"""

import http.client
import json
import ssl
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.signed_posts import signed_headers
from tests.support.urls import POSITIONS, VESSELS

ACKNOWLEDGED = {"200", "201", "202"}
# Whoever is told one of these is told when to come again.
COME_AGAIN = {429, 502, 503, 504}
# How long a fix is sent on that is not acknowledged, once no new ones are made.
_PATIENCE_S = 60.0
# A tracker that was refused waits no longer than this, whatever it is told: the table is to show when the
# service was back, not when trackers were.
_PAUSE_S = 0.1
_TIMEOUT_S = 30.0
_OLD_EACH = 4


@dataclass(frozen=True)
class Order:
    """What to do: trackers 1 to ``trackers``, each aboard the vessel of its number, send together so much.

    With ``back_days`` each fourth fix is so much older than it would be.
    """

    port: int = 0
    certificate: str = ""
    key: str = ""
    trackers: int = 40
    fixes_per_second: float = 80
    reads_per_second: float = 20
    connections: int = 8
    back_days: int = 0


@dataclass
class Seen:
    """What was met.

    An attempt is what was asked, when it began and ended, and the status or the name of what went wrong; a
    fix is its vessel and when it was recorded, in microseconds. ``untold`` counts who were told to come again
    and not when.
    """

    attempts: list[tuple[str, float, float, str]] = field(default_factory=list)
    acknowledged: list[tuple[int, int]] = field(default_factory=list)
    given_up: int = 0
    untold: int = 0


class _Caller(threading.Thread):
    """Asks over one connection that it keeps, at a pace that does not wait for answers that are late."""

    def __init__(self, order: Order, per_second: float, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self.seen = Seen()
        self.order = order
        self.ended = ended
        self._every_s = 1 / per_second
        self._http = http.client.HTTPSConnection(
            "localhost",
            order.port,
            timeout=_TIMEOUT_S,
            context=ssl.create_default_context(cafile=order.certificate),
        )

    def ask(self, what: str, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> str:
        began = time.monotonic()
        try:
            self._http.request(method, path, body, headers)
            answer = self._http.getresponse()
            answer.read()
            outcome = str(answer.status)
            self.seen.untold += answer.status in COME_AGAIN and answer.headers["Retry-After"] is None
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            outcome = type(error).__name__
        self.seen.attempts.append((what, began, time.monotonic(), outcome))
        return outcome

    def run(self) -> None:
        due = time.monotonic()
        while not self.ended.is_set():
            self.once()
            due += self._every_s
            self.ended.wait(max(0.0, due - time.monotonic()))
        self._http.close()

    def once(self) -> None:
        raise NotImplementedError


class _Tracker(_Caller):
    """Sends fixes of several trackers in turn; each until it is acknowledged."""

    def __init__(self, *args: Any, numbers: range) -> None:
        super().__init__(*args)
        self._numbers = numbers
        self._turn = 0
        self._last_us = 0

    def once(self) -> None:
        number = self._numbers[self._turn % len(self._numbers)]
        self._turn += 1
        # Two at once of one vessel would be one.
        moment_us = self._last_us = max(self._last_us + 1, time.time_ns() // 1_000)
        moment = datetime.fromtimestamp(moment_us / 1e6, UTC)
        if self._turn % _OLD_EACH == 0:
            moment -= timedelta(days=self.order.back_days)
        recorded_at = moment.isoformat(timespec="microseconds")
        body = json.dumps(
            {"recorded_at": recorded_at, "lat": 59.0 + number / 1000, "lon": 10.0, "sog": 0.1}
        ).encode()
        give_up_at = None
        while self.ask("fix", "POST", POSITIONS, body, signed_headers(number, body)) not in ACKNOWLEDGED:
            if self.ended.is_set():
                give_up_at = give_up_at or time.monotonic() + _PATIENCE_S
                if time.monotonic() > give_up_at:
                    self.seen.given_up += 1
                    return
            time.sleep(_PAUSE_S)
        # As it was written: a float may have moved it.
        self.seen.acknowledged.append((number, _microseconds(recorded_at)))


class _Partner(_Caller):
    """Reads the fleet and histories in turn."""

    _turn = 0

    def once(self) -> None:
        self._turn += 1
        path = (
            VESSELS
            if self._turn % 2
            else f"{VESSELS}/{self._turn % self.order.trackers + 1}/positions?limit=10"
        )
        self.ask("read", "GET", path, None, {"Authorization": f"Bearer {self.order.key}"})


def _microseconds(recorded_at: str) -> int:
    return round(datetime.fromisoformat(recorded_at).timestamp() * 1e6)


def main() -> None:
    """Do what is ordered until another line comes."""
    order = Order(**json.loads(sys.stdin.readline()))
    ended = threading.Event()
    step = order.trackers // order.connections
    callers: list[_Caller] = [
        _Tracker(order, order.fixes_per_second / order.connections, ended, numbers=range(first, first + step))
        for first in range(1, step * order.connections + 1, step)
    ]
    readers = max(1, order.connections // 4)
    callers += [_Partner(order, order.reads_per_second / readers, ended) for _ in range(readers)]
    for caller in callers:
        caller.start()
    print("ready", flush=True)
    sys.stdin.readline()
    ended.set()
    seen = Seen()
    for caller in callers:
        caller.join()
        seen.attempts += caller.seen.attempts
        seen.acknowledged += caller.seen.acknowledged
        seen.given_up += caller.seen.given_up
        seen.untold += caller.seen.untold
    print(json.dumps(asdict(seen)), flush=True)


if __name__ == "__main__":
    main()
