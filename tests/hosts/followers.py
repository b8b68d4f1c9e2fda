"""Those who follow the feed at two hosts in turn: nothing is skipped, told twice or in another order."""

import json
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tests.hosts.watcher import Answer, Task, Watcher
from tests.support.streams import StreamClient
from tests.support.urls import FEEDS, POSITIONS

_LIMIT = 50
_LOOK_S = 0.5
_GONE = 410
_ATTEMPTS = 150


class Told:
    """What one follower was told, in its order."""

    def __init__(self) -> None:
        self.items: dict[str, Any] = {}
        self.again = 0

    def add(self, item: Any) -> None:
        """Take what is told; ``again`` counts what was told before."""
        self.again += item["id"] in self.items
        self.items[item["id"]] = item

    def forget(self) -> None:
        """Begin anew."""
        self.items.clear()


class Pages(Watcher):
    """Reads page after page, each at the other host, and keeps the cursor itself."""

    name = "feed"
    every_s = 0.05

    def __init__(self, task: Task, over: threading.Event) -> None:
        super().__init__(task, over)
        self.told = Told()
        self.cursor = task.cursor

    def once(self) -> None:
        """Read a page."""
        self._page()

    def finish(self) -> None:
        """Read all that there is, until both hosts have no more."""
        at_end = 0
        while at_end < 2 * len(self.task.hosts):
            at_end = 0 if self._page() else at_end + 1

    def _page(self) -> int:
        """Read a page, and return how many items were on it."""
        answer = self.get(f"{POSITIONS}?limit={_LIMIT}&cursor={quote(self.cursor)}")
        if answer.status == _GONE:
            self.report.did["begun anew"] += 1
            self.told.forget()
            self.cursor = self.task.cursor
            return 1
        return self.take(answer)

    def take(self, answer: Answer) -> int:
        """Keep what is on a page, and where it ends."""
        if answer.status != 200:
            self.wrong(f"{answer.status} of a page: {answer.body[:300]!r}")
            return 0
        page = answer.json
        for each in page["items"]:
            self.told.add(each)
        self.report.did["pages"] += 1
        if page["items"]:
            self.cursor = page["next"]
        return len(page["items"])


class Named(Pages):
    """The same as a named consumer: the service keeps where it stands, and is told at either host."""

    name = "named consumer"

    def __init__(self, task: Task, over: threading.Event) -> None:
        super().__init__(task, over)
        self._is_made = False

    def _page(self) -> int:
        if not self._is_made:
            self._is_made = self._stand_at(self.task.cursor)
        answer = self.get(f"{FEEDS}/watcher/positions?limit={_LIMIT}")
        if self.task.may_lose and answer.status in {404, _GONE}:
            self._begin_anew()
            return 1
        many = self.take(answer)
        if many and not self._stand_at(self.cursor):
            self._begin_anew()
        return many

    def _begin_anew(self) -> None:
        # What it stood at was lost, and it with that.
        self.report.did["begun anew"] += 1
        self.told.forget()
        self._is_made = False

    def _stand_at(self, cursor: str) -> bool:
        """Say where it stands; return no where what is before there was lost."""
        body = json.dumps({"cursor": cursor}).encode()
        headers = {"Authorization": f"Bearer {self.task.key}", "Content-Type": "application/json"}
        answer = self.ask("PUT", f"{FEEDS}/watcher", headers, body)
        if answer.status not in {200, 201} and not (self.task.may_lose and answer.status == _GONE):
            self.wrong(f"{answer.status} of a consumer: {answer.body[:300]!r}")
        return answer.status in {200, 201}


class Stream(Watcher):
    """Reads the stream of one host, and resumes there whenever it ends."""

    name = "stream"
    every_s = 0.0

    def __init__(self, task: Task, over: threading.Event, *, host: int, is_done: Callable[[Told], bool]):
        """Read on until ``is_done`` says of what was told that it is all."""
        super().__init__(task, over)
        self.told = Told()
        self._host = host
        self._is_done = is_done
        self._client: StreamClient | None = None
        self._last: str | None = None
        self._taken = 0

    def once(self) -> None:
        """Read what comes in half a second, or connect."""
        if self._client is None:
            self._connect()
            return
        try:
            self._client.read()
        except TimeoutError:
            return
        self._take(self._client)

    def finish(self) -> None:
        """Read until it was told all."""
        for _ in range(_ATTEMPTS):
            if self._is_done(self.told):
                break
            self.once()
        else:
            self.wrong(f"{len(self.told.items)} items came, and no more")
        if self._client is not None:
            self._client.close()

    def _connect(self) -> None:
        address, port = self.task.hosts[self._host]
        begin = {} if self._last else {"cursor": self.task.cursor}
        bearer = {"Authorization": f"Bearer {self.task.key}"}
        try:
            self._client = StreamClient(port, bearer, address=address, last_seen=self._last, **begin)
        except OSError as error:
            self.report.errors[type(error).__name__] += 1
            self.over.wait(_LOOK_S)
            return
        self._client.socket.settimeout(_LOOK_S)
        self.report.did["connected"] += 1
        self._taken = 0

    def _take(self, client: StreamClient) -> None:
        if client.head and client.status != 200:
            self.report.errors[str(client.status)] += 1
            if b"\r\nretry-after: " not in client.head.lower():
                self.wrong(f"{client.status} of a stream without Retry-After")
        for event in client.events[self._taken :]:
            if event.name == "position":
                self.told.add(event.data)
            if event.name == "reset":
                self.report.did["begun anew"] += 1
                self.told.forget()
                self._last = None
            elif event.id is not None:
                self._last = event.id
        self._taken = len(client.events)
        if client.is_over or (client.head and client.status != 200):
            client.socket.shutdown(socket.SHUT_RDWR) if not client.is_over else None
            client.close()
            self._client = None
            self.over.wait(_LOOK_S)
