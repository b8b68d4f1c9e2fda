"""Who follows, in each of the ways that there are: with pages, and waiting for them.

Each is a thread that asks, is cut at random, and goes on from where it was: it keeps the cursor together with
the items, as a partner does who loses nothing.
"""

import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeVar
from urllib.parse import urlencode

from tests.following import model
from tests.following.model import Eye, Item, Stretch
from tests.following.storm import AWAY
from tests.support.urls import FEEDS, POSITIONS, STREAM

Answer = Mapping[str, Any]
_Card = TypeVar("_Card")
_LIMITS = (1, 2, 3, 7, 50, 1_000, 10_000)


class Expired(Exception):
    """What came after the cursor was removed; with the cursor that goes on."""


@dataclass(eq=False)
class Follower(threading.Thread):
    """Somebody who follows by pages, from when it is begun until it has come to ``end``.

    ``slack_s`` is for how long a way may go by the grants that were.
    """

    slack_s: ClassVar[float] = 0
    eye: Eye
    bearer: dict[str, str]
    filters: dict[str, str]
    port: Callable[[], int]
    chance: random.Random
    told: list[Stretch] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    # From where on a part was missed that was told to be, and to where.
    missed: list[tuple[int, int]] = field(default_factory=list)
    failure: BaseException | None = None
    end: int | None = None
    cursor: str = ""

    def __post_init__(self) -> None:
        super().__init__(name=self.eye.name, daemon=True)

    def begin(self) -> None:
        """Begin to follow from now on."""
        page = self._get(POSITIONS, {"from": "now", **self.filters})
        self.cursor = page["next"]
        self.told.append(_stretch(page, model.number_of(page["next"]), 0, 0))
        self.start()

    @property
    def upto(self) -> int:
        """Up to which number it was told all."""
        return self.told[-1].upto

    def begin_at(self, cursor: str, number: int) -> None:
        """Begin to follow from a cursor on, which stands for a number."""
        self.cursor = cursor
        self.told.append(Stretch(number, number, [], 0, 0))
        self.start()

    def take(self, items: Sequence[Item]) -> None:
        """Do something with what was told, before it is kept that it was."""

    def run(self) -> None:
        try:
            while self.end is None or self.upto < self.end:
                try:
                    self.step()
                except Expired as error:
                    self._go_on(str(error))
                except AWAY:
                    self.counted["cut"] += 1
                    time.sleep(self.chance.uniform(0, 0.2))
                if self.chance.random() < 0.3:
                    time.sleep(self.chance.uniform(0, 0.2))
        except BaseException as error:
            self.failure = error

    def step(self) -> None:
        asked = time.time()
        page = self._get(POSITIONS, {"cursor": self.cursor, **self._how(), **self.filters})
        self._keep(page, asked)

    def _how(self) -> dict[str, Any]:
        return {"limit": self.chance.choice(_LIMITS)}

    def _keep(self, page: Answer, asked: float) -> None:
        answered = time.time()
        self.take(page["items"])
        self.told.append(_stretch(page, self.upto, asked, answered))
        self.cursor = page["next"]
        self.counted["pages"] += 1
        self.counted["items"] += len(page["items"])
        if not page["has_more"]:
            time.sleep(self.chance.uniform(0, 0.05))

    def _go_on(self, cursor: str) -> None:
        """Go on from the oldest that is kept, knowing that a part was missed."""
        oldest = model.number_of(cursor)
        self.counted["expired"] += 1
        self.missed.append((self.upto, oldest))
        self.cursor = cursor
        self.told.append(Stretch(self.upto, oldest, [], 0, 0, is_lost=True))

    def _get(self, path: str, query: Mapping[str, Any]) -> Answer:
        """Ask, and hang up now and then before the answer or in it."""
        return self._ask("GET", path, query, cut=self.chance.choice([*[None] * 18, 0, 150]))

    def _ask(
        self, method: str, path: str, query: Mapping[str, Any], body: Any = None, *, cut: int | None = None
    ) -> Answer:
        """Ask with a connection of its own, so that any worker may take it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=30)
        headers = {**self.bearer, "Connection": "close", "Content-Type": "application/json"}
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, f"{path}?{urlencode(query)}", sent, headers)
            if cut == 0:
                raise ConnectionAbortedError("cut before the answer")
            answer = connection.getresponse()
            if cut is not None:
                answer.read(self.chance.randrange(cut))
                raise ConnectionAbortedError("cut in the answer")
            return _read(answer)
        finally:
            connection.close()


def _read(answer: http.client.HTTPResponse) -> Answer:
    body = answer.read()
    if answer.status == 503:
        raise ConnectionError(body)
    found: Answer = json.loads(body)
    if answer.status == 410:
        assert found["code"] == "cursor_expired"
        raise Expired(found["oldest"])
    assert answer.status in {200, 201}, (answer.status, body)
    return found


def _stretch(page: Answer, after: int, asked: float, answered: float) -> Stretch:
    return Stretch(after, model.number_of(page["next"]), page["items"], asked, answered)


class Pages(Follower):
    """Somebody who asks for page after page."""


class Waiting(Follower):
    """Somebody who waits for what comes next."""

    def _how(self) -> dict[str, Any]:
        return super()._how() | {"wait": self.chance.choice([0, 1, 2])}


class Streaming(Follower):
    """Somebody who is told by a stream, and resumes by the id of the last event."""

    # Keys are looked up each five seconds.
    slack_s = 7

    def step(self) -> None:
        ends_after = self.chance.choice([0, 1, 3, 20, 200, 10**6])
        ends_at = time.monotonic() + self.chance.uniform(0.05, 4)
        query = dict(self.filters)
        headers = dict(self.bearer)
        if self.chance.random() < 0.5:
            headers["Last-Event-ID"] = self.cursor
        else:
            query["cursor"] = self.cursor
        self.counted["streams"] += 1
        with closing(_Stream(self.port(), f"{STREAM}?{urlencode(query)}", headers)) as stream:
            if stream.status == 410:
                raise Expired(json.loads(stream.body())["oldest"])
            if stream.status in {429, 503}:
                raise ConnectionError(stream.status)
            assert stream.status == 200, (stream.status, stream.body())
            for event in stream.events():
                if self._take(event) or self._is_done():
                    return
                ends_after -= event.name == "position"
                if self.end is None and (time.monotonic() > ends_at or ends_after < 0):
                    # In the midst of what is under way.
                    self.counted["cut"] += 1
                    return

    def _is_done(self) -> bool:
        return self.end is not None and self.upto >= self.end

    def _take(self, event: "Event") -> bool:
        """Keep what an event says, and return whether the stream is over."""
        self.counted[event.name] += 1
        now = time.time()
        if event.name == "position":
            self._move(event, [event.data], now)
            self.counted["items"] += 1
        elif event.name == "heartbeat":
            self._move(event, [], now)
        elif event.name == "hello":
            assert event.data["cursor"] == event.id
            assert model.number_of(event.id) == self.upto
        elif event.name == "reset":
            self._go_on(event.data["oldest"])
            return True
        elif event.name == "bye":
            assert event.data["reason"] in {"rotation", "shutdown", "key_changed"}, event.data
            return True
        elif event.name != "":
            raise AssertionError(event)
        return False

    def _move(self, event: "Event", items: list[Any], now: float) -> None:
        self.take(items)
        upto = model.number_of(event.id)
        # Told within the interval at which the grants are looked up; and when it was asked nobody knows.
        self.told.append(Stretch(self.upto, upto, items, now, now))
        self.cursor = event.id


class Event(NamedTuple):
    """An event of a stream. One without a name is a time for whoever listens to look up."""

    name: str
    id: str
    data: Any


class _Stream:
    """One connection over which events come; read so that it may be left in the midst of anything."""

    def __init__(self, port: int, path: str, headers: Mapping[str, str]) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        try:
            self._ask(path, headers)
        except BaseException:
            self.close()
            raise
        self._socket.settimeout(0.25)

    def _ask(self, path: str, headers: Mapping[str, str]) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: harbor\r\n{lines}\r\n".encode())
        self._raw = b""
        while b"\r\n\r\n" not in self._raw:
            self._receive()
        head, _, self._raw = self._raw.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self._headers = {
            name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)
        }

    def body(self) -> bytes:
        """Return the whole of an answer that is no stream."""
        self._socket.settimeout(30)
        while len(self._raw) < int(self._headers["content-length"]):
            self._receive()
        return self._raw

    def events(self) -> Iterator[Event]:
        """Yield events as they come, and in between now and then one that is none."""
        text = b""
        while True:
            try:
                chunk = self._chunk()
            except TimeoutError:
                yield Event("", "", None)
                continue
            if not chunk:
                return
            *blocks, text = (text + chunk).split(b"\n\n")
            yield from (event for event in map(_event, blocks) if event is not None)

    def _chunk(self) -> bytes:
        while True:
            size, separator, rest = self._raw.partition(b"\r\n")
            length = int(size, 16) if separator else 0
            if separator and len(rest) >= length + 2:
                assert rest[length : length + 2] == b"\r\n", self._raw[:200]
                self._raw = rest[length + 2 :]
                return rest[:length]
            self._receive()

    def _receive(self) -> None:
        received = self._socket.recv(65_536)
        if not received:
            raise ConnectionResetError("the stream has ended without its last chunk")
        self._raw += received

    def close(self) -> None:
        self._socket.close()


def _event(block: bytes) -> Event | None:
    fields = dict(line.split(": ", 1) for line in block.decode().split("\n") if not line.startswith(":"))
    if "event" not in fields:
        return None
    return Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))


class Named(Follower):
    """Somebody who keeps no cursor: a consumer that the service keeps."""

    def begin(self) -> None:
        numbers = {"vessel_id": int, "bbox": float}
        filters = {
            name: [numbers.get(name, str)(each) for each in value.split(",")]
            for name, value in self.filters.items()
        }
        name = "".join(each if each.isalnum() else "-" for each in self.eye.name)
        self._path = f"{FEEDS}/{name}-{self.chance.randrange(10**9)}"
        made = self._ask("PUT", self._path, {}, {"from": "now", **filters})
        self.cursor = made["cursor"]
        number = model.number_of(self.cursor)
        self.told.append(Stretch(number, number, [], 0, 0))
        self.start()

    def step(self) -> None:
        asked = time.time()
        page = self._get(f"{self._path}/positions", self._how())
        if self.chance.random() < 0.1:
            # Lost before it was kept: it comes again.
            self.counted["lost"] += 1
            return
        self._keep(page, asked)
        self._acknowledge(page["next"])

    def _go_on(self, cursor: str) -> None:
        """Move the consumer as well, which stays where it was; the floor may have risen meanwhile."""
        while True:
            super()._go_on(cursor)
            try:
                self._acknowledge(cursor)
                return
            except Expired as error:
                cursor = str(error)

    def _acknowledge(self, cursor: str) -> None:
        while True:
            try:
                self._ask("PUT", self._path, {}, {"cursor": cursor})
                return
            except AWAY:
                self.counted["acknowledged again"] += 1
                time.sleep(0.3)


class Slow(Pages):
    """Somebody who asks for little, and seldom."""

    def step(self) -> None:
        time.sleep(self.chance.uniform(0.5, 1.5))
        super().step()

    def _how(self) -> dict[str, Any]:
        return {"limit": 2 if self.end is None else 1_000}


class SlowStreaming(Streaming):
    """Somebody who has a stream now and then."""

    def step(self) -> None:
        time.sleep(self.chance.uniform(1, 2))
        super().step()


WAYS: dict[str, type[Follower]] = {
    "pages": Pages,
    "waiting": Waiting,
    "stream": Streaming,
    "named": Named,
}
"""The ways to follow, by name."""
SLOW: dict[str, type[Follower]] = {"slow": Slow, "slow stream": SlowStreaming}
"""Ways that do not keep up."""


def dealt(cards: Sequence[_Card], chance: random.Random, many: int) -> Iterator[_Card]:
    """Yield so many cards, shuffled, and none again before all others have come."""
    pack: list[_Card] = []
    for _ in range(many):
        pack = pack or chance.sample(cards, len(cards))
        yield pack.pop()


def finish(following: Sequence[Follower], end: int) -> None:
    """Wait until all have come to the number of the order that is the last."""
    for each in following:
        each.end = end
    for each in following:
        each.join(60)
        assert not each.is_alive(), f"{each.name} came to {each.upto} and not to {end}"
        assert each.failure is None, f"{each.name}: {each.failure!r}"
