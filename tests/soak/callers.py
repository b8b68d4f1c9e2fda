"""Trackers, partners and a named consumer, in one process of their own.

Told its ``Order`` on the input's first line, it says ``ready``. Each further line is answered by one: ``rate
FIXES READS`` sets how many come a second; all are answered by what was met since the line before, ``end`` by
the whole, once everything has been answered and the consumer has read all.

What is due is sent whether others are late or not, and is timed from when it was due: who waits for a service
that is slow is counted as waiting.
"""

import asyncio
import itertools
import json
import math
import ssl
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from tests.soak.http import Answer, Http
from tests.soak.timing import Taken
from tests.support.signed_posts import signed_headers
from tests.support.urls import FEEDS, POSITIONS, VESSELS

from harbor_api.domain.times import rfc3339

_CONNECTIONS, _OF_READERS = 32, 6
_PACE_S = 0.02
_AGAIN_S = 1.0
_PATIENCE_S = 60.0
_EXPECTED = {200, 201, 202, 304, 429}
_ACKNOWLEDGED = {200, 201, 202}
# A ship of 8 knots goes north by so many degrees a second.
_NORTH = 3.7e-5
_CONSUMER = f"{FEEDS}/soak"


@dataclass(frozen=True)
class Order:
    """Trackers 1 to ``trackers``, each aboard the vessel of its number."""

    port: int
    certificate: str
    keys: list[str]
    trackers: int


@dataclass
class Seen:
    """What was met since it was asked last, and what was acknowledged and told from the beginning."""

    posts: Taken = field(default_factory=Taken)
    reads: Taken = field(default_factory=Taken)
    statuses: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    acknowledged: list[tuple[int, str]] = field(default_factory=list)
    by_feed: list[tuple[int, str]] = field(default_factory=list)
    by_consumer: list[tuple[int, str]] = field(default_factory=list)


class Read(NamedTuple):
    """A read: how it is called here, the path, the headers, and what is done with the answer."""

    name: str
    path: str
    headers: dict[str, str]
    then: Callable[[Answer], None] = lambda _: None


class Callers:
    """All of them, at a pace."""

    def __init__(self, order: Order) -> None:
        self.seen = Seen()
        self._order = order
        self._context = ssl.create_default_context(cafile=order.certificate) if order.certificate else None
        self._began = time.time()
        self._rates = {"post": 0.0, "read": 0.0}
        self._due: dict[str, asyncio.Queue[float]] = {name: asyncio.Queue() for name in self._rates}
        self._under_way = 0
        self._turn = itertools.count()
        self._last_us = 0
        # Of what was read before, to be asked for again.
        self._tags: dict[str, str] = {}
        self._cursor = ""
        self._sources = (f"127.0.1.{2 + number % 200}" for number in itertools.count())
        self._asked = self._questions()
        self._of_consumer = {
            "Authorization": f"Bearer {order.keys[0]}",
            "Content-Type": "application/json",
        }

    async def work(self) -> None:
        """Be there until it is over."""
        # Both stand at the end of what there is before anything is sent.
        first = self._http()
        await self._keep_up(first)
        await self._ask(first, "consumer", "PUT", _CONSUMER, self._of_consumer, b"{}")
        first.close()
        async with asyncio.TaskGroup() as group:
            consumer = group.create_task(self._consume())
            working = [group.create_task(self._pace(name)) for name in self._rates]
            for name, once, many in (
                ("post", self._post, _CONNECTIONS),
                ("read", self._read, _OF_READERS),
            ):
                working += [group.create_task(self._serve(name, once)) for _ in range(many)]
            print("ready", flush=True)
            await self._obey()
            for each in (*working, consumer):
                each.cancel()

    async def _obey(self) -> None:
        while True:
            said, *values = (await asyncio.to_thread(sys.stdin.readline)).split() or ["end"]
            if said == "rate":
                self._rates |= zip(self._rates, map(float, values), strict=True)
            elif said == "end":
                await self._finish()
            told = self._told()
            if said == "end":
                told |= {
                    "acknowledged": self.seen.acknowledged,
                    "by_feed": self.seen.by_feed,
                    "by_consumer": self.seen.by_consumer,
                }
            print(json.dumps(told), flush=True)
            if said == "end":
                return

    def _told(self) -> dict[str, Any]:
        told = {
            "posts": self.seen.posts.taken(),
            "reads": self.seen.reads.taken(),
            "backlog": self._due["post"].qsize(),
            "statuses": dict(self.seen.statuses),
            "unexpected": dict(self.seen.unexpected),
            "acknowledged_so_far": len(self.seen.acknowledged),
            "cpu_s": time.process_time(),
        }
        self.seen.statuses.clear()
        self.seen.unexpected.clear()
        return told

    async def _finish(self) -> None:
        """Let no more be due, and wait for all answers, and for who reads what was stored."""
        self._rates = dict.fromkeys(self._rates, 0.0)
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until and (
            self._under_way or any(queue.qsize() for queue in self._due.values())
        ):
            await asyncio.sleep(_PACE_S)
        if self._under_way:
            self.seen.unexpected["never answered"] += self._under_way
        whole = len(self.seen.acknowledged)
        while time.monotonic() < until and min(map(len, (self.seen.by_feed, self.seen.by_consumer))) < whole:
            await asyncio.sleep(_PACE_S)

    async def _pace(self, name: str) -> None:
        """Say when something is due; what is less than one now counts later."""
        owed, last = 0.0, time.monotonic()
        while True:
            await asyncio.sleep(_PACE_S)
            now = time.monotonic()
            owed, last = owed + (now - last) * self._rates[name], now
            whole = math.floor(owed)
            owed -= whole
            for number in range(whole):
                # One after the other, as the time since the last look went by.
                self._due[name].put_nowait(now - _PACE_S * (whole - 1 - number) / whole)

    async def _serve(self, name: str, once: Callable[[Http, float], Awaitable[None]]) -> None:
        http = self._http()
        try:
            while True:
                due = await self._due[name].get()
                self._under_way += 1
                await once(http, due)
                self._under_way -= 1
        finally:
            http.close()

    async def _post(self, http: Http, due: float) -> None:
        """Send a fix until it is acknowledged."""
        vessel = next(self._turn) * 617 % self._order.trackers + 1
        # No two at once of one vessel, which would be one.
        self._last_us = max(self._last_us + 1, time.time_ns() // 1_000)
        moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=self._last_us)
        recorded_at = rfc3339(moment)
        lat = 40 + vessel / 200 % 20 + _NORTH * (moment.timestamp() - self._began)
        fix = {"recorded_at": recorded_at, "lat": round(lat, 6), "lon": 10.7, "sog": 8, "cog": 0}
        body = json.dumps(fix).encode()
        status = 0
        while status not in _ACKNOWLEDGED:
            answer = await self._ask(http, "post", "POST", POSITIONS, signed_headers(vessel, body), body)
            status = answer.status if answer else 0
            if status not in _ACKNOWLEDGED:
                await asyncio.sleep(_AGAIN_S)
        if status == 202:
            self.seen.unexpected["a fix was quarantined"] += 1
        self.seen.posts.add(time.monotonic() - due)
        self.seen.acknowledged.append((vessel, recorded_at))

    async def _read(self, http: Http, due: float) -> None:
        read = next(self._asked)
        answer = await self._ask(http, read.name, "GET", read.path, read.headers)
        self.seen.reads.add(time.monotonic() - due)
        if answer and answer.status == 200:
            read.then(answer)

    def _questions(self) -> Iterator[Read]:
        """Yield what the demo's readers ask: the map, a vessel, where she was, and what has changed."""
        for number in itertools.count():
            key = {"Authorization": f"Bearer {self._order.keys[number % len(self._order.keys)]}"}
            zipped = key | {"Accept-Encoding": "gzip"}
            vessel = number * 31 % self._order.trackers + 1
            yield Read("fleet", VESSELS, zipped, partial(self._remember_tag, VESSELS))
            one = f"{VESSELS}/{vessel}"
            yield Read("vessel", one, key, partial(self._remember_tag, one))
            yield Read("history", f"{VESSELS}/{vessel}/positions?order=desc&limit=100", zipped)
            yield Read("track", f"{VESSELS}/{vessel}/track", zipped)
            before = rfc3339(datetime.now(UTC) - timedelta(seconds=5))
            yield Read("fleet as of", f"{VESSELS}?as_of={before}", zipped)
            yield Read("near", f"{VESSELS}?near=10.7,45&radius=200000&limit=10", zipped)
            for name, path, headers in (("fleet", VESSELS, zipped), ("vessel", one, key)):
                known = {"If-None-Match": self._tags.pop(path, '"of nothing"')}
                yield Read(f"{name}, if changed", path, headers | known)

    def _remember_tag(self, path: str, answer: Answer) -> None:
        self._tags[path] = answer.headers["etag"]

    async def _keep_up(self, http: Http) -> None:
        """Read the feed on by its cursor; at first find where it ends."""
        key = {"Authorization": f"Bearer {self._order.keys[0]}"}
        begin = f"cursor={self._cursor}" if self._cursor else "from=now"
        answer = await self._ask(http, "feed", "GET", f"{POSITIONS}?{begin}&limit=1000", key)
        if answer and answer.status == 200:
            page = json.loads(answer.body)
            self._cursor = page["next"]
            self.seen.by_feed += [(item["vessel_id"], item["recorded_at"]) for item in page["items"]]

    async def _consume(self) -> None:
        """Be the named consumer, and read the feed by a cursor in turns with it."""
        http, feed = self._http(), self._http()
        key = self._of_consumer
        try:
            while True:
                path = f"{_CONSUMER}/positions?wait=5"
                answer = await self._ask(http, "consumer", "GET", path, key)
                if answer and answer.status == 200:
                    page = json.loads(answer.body)
                    moved = json.dumps({"cursor": page["next"]}).encode()
                    kept = await self._ask(http, "consumer", "PUT", _CONSUMER, key, moved)
                    if kept and kept.status == 200:
                        told = [(item["vessel_id"], item["recorded_at"]) for item in page["items"]]
                        self.seen.by_consumer += told
                started = time.monotonic()
                await self._keep_up(feed)
                self.seen.reads.add(time.monotonic() - started)
                await asyncio.sleep(_AGAIN_S)
        finally:
            http.close()
            feed.close()

    async def _ask(
        self,
        http: Http,
        name: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes | None = None,
    ) -> Answer | None:
        """Return the answer, None where there was none; note what is not expected."""
        try:
            answer = await http.ask(method, path, headers, body)
        except (OSError, EOFError) as error:
            self.seen.unexpected[f"{name}: {type(error).__name__}"] += 1
            return None
        self.seen.statuses[f"{name}: {answer.status}"] += 1
        if answer.status not in _EXPECTED:
            told = answer.body[:300].decode(errors="replace")
            self.seen.unexpected[f"{name}: {answer.status} {told}"] += 1
        return answer

    def _http(self) -> Http:
        return Http(self._order.port, self._context, next(self._sources))


def main() -> None:
    """Do what is ordered until it is said to be enough."""
    order = Order(**json.loads(sys.stdin.readline()))
    with suppress(asyncio.CancelledError):
        asyncio.run(Callers(order).work())


if __name__ == "__main__":
    main()
