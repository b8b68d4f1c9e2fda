"""Watchers of the fleet, of what they have written themselves, and of limits, at two hosts in turn."""

import json
import re
import threading
import time
from datetime import UTC, datetime
from typing import Any

from tests.hosts.watcher import Task, Watcher
from tests.support.factories import MASTER_KEY
from tests.support.signed_posts import signed_headers
from tests.support.urls import ME, POSITIONS, VESSELS

from harbor_api.domain import cursors
from harbor_api.web.cursors import ORDER

# Those that a key of 60 requests a minute asks at once, and how many of them are answered.
_BURST, _ALLOWED = 90, 60


class Fleet(Watcher):
    """Asks for the fleet, with the tag that the other host gave: what it shows never goes back."""

    name = "fleet"

    def __init__(self, task: Task, over: threading.Event) -> None:
        super().__init__(task, over)
        self._tag = ""
        self._number = 0
        self._shown: dict[Any, str] = {}

    def once(self) -> None:
        """Look, and compare with what was there before."""
        answer = self.get(VESSELS, **({"If-None-Match": self._tag} if self._tag else {}))
        self.report.did[str(answer.status)] += 1
        if answer.status == 304:
            return
        self._tag = answer.headers["ETag"]
        fleet = answer.json
        number = self._number_in(fleet["cursor"])
        if number < self._number and not self.task.may_lose:
            self.wrong(f"the cursor went back from {self._number} to {number}")
        self._number = number
        for each in fleet["features"]:
            at, before = each["properties"]["recorded_at"] or "", self._shown.get(each["id"], "")
            if at < before and not self.task.may_lose:
                self.wrong(f"vessel {each['id']} went back from {before} to {at}")
            self._shown[each["id"]] = at

    def _number_in(self, cursor: str) -> int:
        key = cursors.cursor_key(MASTER_KEY)
        [number] = cursors.unseal(key, cursor, holder=self.task.holder, of=cursors.fingerprint(ORDER, {}))
        return int(number)


class Writer(Watcher):
    """Sends a fix to one host and reads it at the other: wherever it looks it is there."""

    name = "own writes"

    def __init__(self, task: Task, over: threading.Event) -> None:
        super().__init__(task, over)
        self.acknowledged: list[tuple[int, int]] = []
        self._cursor = task.cursor
        self._tag = ""

    def once(self) -> None:
        """Send one, send it again, and look in all places."""
        number = self.task.trackers[self._turn % len(self.task.trackers)]
        moment_us = time.time_ns() // 1_000
        at = datetime.fromtimestamp(moment_us / 1e6, UTC).isoformat(timespec="microseconds")
        body = json.dumps({"recorded_at": at, "lat": 58.0, "lon": 10.0, "sog": 0.1}).encode()
        first, again = (self.ask("POST", POSITIONS, signed_headers(number, body), body) for _ in range(2))
        # One that was refused may have been stored all the same.
        is_lost = self.task.may_lose and again.status == 201
        if first.status not in {200, 201} or (again.status != 200 and not is_lost):
            self.wrong(f"a fix was answered with {first.status}, and sent again with {again.status}")
            return
        self.acknowledged.append((number, round(datetime.fromisoformat(at).timestamp() * 1e6)))
        self.report.did["fixes"] += 1
        at = at.replace("+00:00", "Z")
        for what, look in (
            ("history", self._in_history),
            ("vessel", self._as_vessel),
            ("fleet", self._in_fleet),
        ):
            self._demand(what, look(number), at)
        self._demand("feed", self._in_feed(at), at)

    def _demand(self, what: str, found: str | None, at: str) -> None:
        if found != at and not self.task.may_lose:
            self.wrong(f"{what}: {found} in place of {at}, which was stored before")

    def _in_history(self, number: int) -> str | None:
        told = self.get(f"{VESSELS}/{number}/positions?order=desc&limit=1").json["positions"]
        return str(told[0]["recorded_at"]) if told else None

    def _as_vessel(self, number: int) -> str | None:
        at: str | None = self.get(f"{VESSELS}/{number}").json["properties"]["recorded_at"]
        return at

    def _in_fleet(self, number: int) -> str | None:
        """Return when the vessel was seen, None where the fleet is said to be as it was before."""
        answer = self.get(VESSELS, **({"If-None-Match": self._tag} if self._tag else {}))
        if answer.status == 304:
            return None
        self._tag = answer.headers["ETag"]
        [shown] = [each for each in answer.json["features"] if int(each["id"]) == number]
        return str(shown["properties"]["recorded_at"])

    def _in_feed(self, at: str) -> str | None:
        """Return the time of a fix if it is told behind the cursor of this watcher."""
        while True:
            answer = self.get(f"{POSITIONS}?limit=1000&cursor={self._cursor}")
            if answer.status != 200:
                self._cursor = self.task.cursor
                return f"{answer.status}"
            page = answer.json
            self._cursor = page["next"]
            if any(each["recorded_at"] == at for each in page["items"]):
                return at
            if not page["has_more"]:
                return None


class Limited(Watcher):
    """Asks more often than its key may, half at each host: as many are answered as if there were one."""

    name = "limits"
    every_s = 1.0

    def __init__(self, task: Task, over: threading.Event) -> None:
        super().__init__(task, over)
        self._keys = iter(task.limited)
        self.answered: list[int] = []

    def once(self) -> None:
        """Ask as the holder of a fresh key."""
        self._burst(is_exact=self.task.is_counted_together)

    def finish(self) -> None:
        """Once more, when all is well: then they count together in any case."""
        self._burst(is_exact=True)

    def _burst(self, *, is_exact: bool) -> None:
        key = next(self._keys, None)
        if key is None:
            return
        before = self.report.errors.total()
        answers = [self.ask("GET", ME, {"Authorization": f"Bearer {key}"}) for _ in range(_BURST)]
        answered = [each for each in answers if each.status == 200]
        self.answered.append(len(answered))
        self.report.did["bursts"] += 1
        for each in answers:
            if each.status not in {200, 429}:
                self.wrong(f"{each.status} of a key that is limited")
            elif not re.search(rf";q={_ALLOWED};w=60$", each.headers["RateLimit-Policy"] or ""):
                self.wrong(f"the policy is told to be {each.headers['RateLimit-Policy']}")
        # A request that was refused for another reason may have been counted.
        was_refused = self.report.errors.total() > before
        if is_exact and (len(answered) > _ALLOWED or (len(answered) < _ALLOWED and not was_refused)):
            self.wrong(f"{len(answered)} of {_BURST} requests were answered, of {_ALLOWED} that are allowed")
