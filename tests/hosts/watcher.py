"""What watchers have in common: they ask the one host and then the other, and note what they meet.

A watcher that is refused, or finds nobody, goes on with the other host, as who has two addresses does.
"""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.faults.traffic import COME_AGAIN

_TIMEOUT_S = 30.0
_PAUSE_S = 0.1
# For how long something is asked again that is refused.
_PATIENCE_S = 60.0
_REFUSED = {502, 503, 504}


@dataclass(frozen=True)
class Task:
    """What to watch: two hosts, each an address and a port, as the holder of a key.

    ``cursor`` is where the feed began. ``trackers`` are the numbers of those that watchers send for;
    ``limited`` are keys of 60 requests a minute. Where ``is_counted_together`` is no, Redis is broken, and
    where ``may_lose``, commits may be lost: what was seen may be gone.
    """

    hosts: list[tuple[str, int]]
    key: str
    holder: int
    cursor: str
    trackers: list[int]
    limited: list[str]
    is_counted_together: bool = True
    may_lose: bool = False


@dataclass
class Report:
    """What a watcher did, how often; which refusals it met; and what was not as was promised."""

    name: str
    did: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Answer(NamedTuple):
    """An answer, and which host gave it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    host: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Watcher(threading.Thread):
    """Does something ``once`` and again until all is over, then what is left to ``finish``."""

    name = "watcher"
    every_s = 0.1

    def __init__(self, task: Task, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.task = task
        self.over = over
        self.report = Report(self.name)
        self._turn = 0
        self._open: dict[int, http.client.HTTPConnection] = {}

    def run(self) -> None:
        """Go on until it is over; whatever goes wrong is told, and ends this watcher."""
        try:
            while not self.over.wait(self.every_s):
                self.once()
            self.finish()
        except Exception as error:
            self.report.wrong.append(f"ended by {error!r}")
        finally:
            for each in self._open.values():
                each.close()

    def once(self) -> None:
        """Do what it does, once."""
        raise NotImplementedError

    def finish(self) -> None:
        """Do what is left once nothing new happens."""

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Return the answer of the host whose turn it is; of the next one where that refuses or is away."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            self._turn += 1
            answer = self._asked(self._turn % len(self.task.hosts), method, path, headers or {}, body)
            if answer is not None and answer.status not in _REFUSED:
                return answer
            if time.monotonic() > until:
                raise TimeoutError(f"{method} {path} was refused for {_PATIENCE_S:.0f} s")
            time.sleep(_PAUSE_S)

    def get(self, path: str, **headers: str) -> Answer:
        """Ask for something with the key."""
        return self.ask("GET", path, {"Authorization": f"Bearer {self.task.key}"} | headers)

    def wrong(self, what: str) -> None:
        """Note what was not as was promised; of what is wrong each time the first is enough."""
        if len(self.report.wrong) < 5:
            self.report.wrong.append(what)

    def _asked(
        self, host: int, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | None:
        if host not in self._open:
            address, port = self.task.hosts[host]
            self._open[host] = http.client.HTTPConnection(address, port, timeout=_TIMEOUT_S)
        try:
            self._open[host].request(method, path, body, dict(headers))
            answer = self._open[host].getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._open.pop(host).close()
            self.report.errors[type(error).__name__] += 1
            return None
        if answer.status in COME_AGAIN and answer.headers["Retry-After"] is None:
            self.wrong(f"{answer.status} of {path} without Retry-After")
        if answer.status in _REFUSED:
            self.report.errors[str(answer.status)] += 1
        return Answer(answer.status, answer.headers, content, host)
