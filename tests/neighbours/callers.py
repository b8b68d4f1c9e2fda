"""Callers: a few that send whole requests, one after the other, and wait for each answer."""

import http.client
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.neighbours.scene import Outcome, Scene, connection

# What was asked before the time was over may take so long, and is counted.
PATIENCE_S = 60
_VERDICT = re.compile(rb'"verdict":"([a-z]+)"')
# Method, path, body and headers of the request of a number.
Ask = Callable[[int], tuple[str, str, bytes | None, dict[str, str]]]


@dataclass
class _Seen:
    statuses: Counter[str] = field(default_factory=Counter)
    took_ms: list[float] = field(default_factory=list)
    largest_answer: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)

    def note(self, status: int, body: bytes) -> None:
        self.statuses[str(status)] += 1
        self.largest_answer = max(self.largest_answer, len(body))
        self.verdicts.update(each.decode() for each in _VERDICT.findall(body))


def call(scene: Scene, ask: Ask, *, callers: int = 1, every_s: float = 0) -> Outcome:
    """Send requests until the time is over, each caller at most one at a time and so often."""
    until = time.monotonic() + scene.seconds
    seen = [_Seen() for _ in range(callers)]
    threads = [
        threading.Thread(target=_call, args=(scene, ask, number, callers, every_s, until, each), daemon=True)
        for number, each in enumerate(seen)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, until - time.monotonic()) + PATIENCE_S)
    took = [took for each in seen for took in list(each.took_ms)]
    statuses = _added(each.statuses for each in seen)
    if unanswered := sum(thread.is_alive() for thread in threads):
        statuses["no answer yet"] = unanswered
    return Outcome(
        statuses=statuses,
        verdicts=_added(each.verdicts for each in seen),
        took_p50_ms=statistics.median(took) if took else 0,
        took_max_ms=max(took, default=0),
        largest_answer=max(each.largest_answer for each in seen),
    )


def _added(counts: Iterable[Counter[str]]) -> dict[str, int]:
    return dict(sum((Counter(each) for each in counts), Counter()))


def _call(scene: Scene, ask: Ask, number: int, step: int, every_s: float, until: float, seen: _Seen) -> None:
    mine = number
    http_connection = connection(scene, number, patience_s=PATIENCE_S)
    while (began := time.monotonic()) < until:
        method, path, body, headers = ask(mine)
        mine += step
        asked = time.monotonic()
        try:
            http_connection.request(method, path, body, headers)
            answer = http_connection.getresponse()
            seen.note(answer.status, answer.read())
        except (OSError, http.client.HTTPException) as error:
            http_connection.close()
            seen.statuses[type(error).__name__] += 1
        seen.took_ms.append((time.monotonic() - asked) * 1000)
        time.sleep(max(0, min(every_s - (time.monotonic() - began), until - time.monotonic())))
    http_connection.close()
