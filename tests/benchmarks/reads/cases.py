"""What is asked: each case is one kind of read with its right answer, put to every candidate alike."""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any
from urllib.parse import urlencode

from tests.benchmarks.reads import seas
from tests.benchmarks.reads.seas import Sea
from tests.support.urls import POSITIONS, VESSELS

from harbor_api.domain.times import rfc3339

SERVICE, PEER, CONSTANT, PGBENCH = "service", "peer", "pre-rendered", "pgbench"
CONNECTIONS = 32
# What is long is read by fewer: two workers are as busy with these, and nobody waits for seconds.
FEW_CONNECTIONS = 8
WRITES_A_SECOND = 100
_PEER_ONLY = (SERVICE, PEER)
_CEILING = (SERVICE, PEER, CONSTANT)
_BOTH_CEILINGS = (SERVICE, PEER, CONSTANT, PGBENCH)


@dataclass(frozen=True)
class Case:
    """One kind of read: the paths are asked in turns, of some candidates ``other_paths`` that mean the same.

    ``holds`` counts what an answer is about, which has to be ``many``. With ``again`` the caller has the
    answer already, and gets 304. ``goals`` are what the service is to be compared with, and how.
    """

    job: str
    name: str
    paths: Sequence[str]
    holds: Callable[[Any], int]
    many: int
    candidates: Sequence[str]
    key: str = seas.WHOLE
    headers: Mapping[str, str] = field(default_factory=dict)
    again: bool = False
    writes_a_second: int = 0
    connections: int = CONNECTIONS
    goals: Mapping[str, float] = field(default_factory=dict)
    other_paths: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def paths_of(self, candidate: str) -> Sequence[str]:
        """Return what a candidate is asked."""
        return self.other_paths.get(candidate, self.paths)

    @property
    def status(self) -> int:
        return 304 if self.again else 200

    def requests(
        self, candidate: str, secret: str, *, below: str = "", tags: Sequence[str] = ()
    ) -> Iterator[bytes]:
        """Return the requests as they go over the wire, without end; ``tags`` are those of the paths."""
        paths = self.paths_of(candidate)
        headers = {"Host": "harbor", "Authorization": f"Bearer {secret}", **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        revalidated = [f"If-None-Match: {tag}\r\n" for tag in tags] if self.again else [""] * len(paths)
        return cycle(
            f"GET {below}{path} HTTP/1.1\r\n{lines}{line}\r\n".encode()
            for path, line in zip(paths, revalidated, strict=True)
        )


class Judge:
    """Tells of each answer whether its status is as meant, and of some afterwards whether it is right."""

    # Prime, so that it is not always the answer to the same path.
    _EACH = 61
    _MOST = 20

    def __init__(self, case: Case) -> None:
        self._case = case
        self._answers = 0
        self._looked_at: list[bytes] = []
        self.bytes = 0

    def __call__(self, status: int, body: memoryview) -> int:
        if status != self._case.status:
            return 0
        if self._answers % self._EACH == 0 and len(self._looked_at) < self._MOST:
            self._looked_at.append(bytes(body))
        self._answers += 1
        self.bytes = len(body)
        return 1

    def wrong(self) -> str:
        """Return what is wrong with the answers that were looked at, empty where nothing is."""
        if self._case.again:
            return "a 304 with a body" if any(self._looked_at) else ""
        for body in self._looked_at:
            is_packed = self._case.headers.get("Accept-Encoding") == "gzip"
            if is_packed and not body.startswith(b"\x1f\x8b"):
                return "not packed"
            found = self._case.holds(json.loads(gzip.decompress(body) if is_packed else body))
            if found != self._case.many:
                return f"{found} instead of {self._case.many}"
        return ""


def fleet(sea: Sea) -> Iterator[Case]:
    """The fleet at rest, not changed, beside writes; the largest one also as keys see it that are limited."""
    size = f"{sea.vessels:,}"

    def case(name: str, candidates: Sequence[str] = _CEILING, many: int = sea.vessels, **rest: Any) -> Case:
        few = FEW_CONNECTIONS if sea.vessels >= 10_000 else CONNECTIONS
        return Case(
            *("fleet", f"{size} {name}", [VESSELS], _features, many, candidates), connections=few, **rest
        )

    yield case("at rest", _PEER_ONLY)
    unchanged = {12: 1.7, 10_000: 400}
    goals = {PEER: unchanged[sea.vessels]} if sea.vessels in unchanged else {}
    yield case("not changed, 304", again=True, goals=goals)
    if sea.vessels >= 10_000:
        yield case("in gzip", _PEER_ONLY, headers={"Accept-Encoding": "gzip"})
        granted = min(seas.GRANTS, sea.vessels // 10)
        yield case(f"for a key with {granted:,} grants", _PEER_ONLY, granted, key=seas.GRANTED)
        yield case(f"with {seas.DECIMALS} decimals", _PEER_ONLY, key=seas.COARSE)
        yield case(f"{seas.DELAY_S} s late", _PEER_ONLY, key=seas.LATE)
    besides = {12: 1.7, 1_000: 22, 10_000: 45}
    yield case(
        f"beside {WRITES_A_SECOND} writes/s",
        writes_a_second=WRITES_A_SECOND,
        goals={PEER: besides[sea.vessels], CONSTANT: 0.6} if sea.vessels in besides else {},
    )


def as_of(sea: Sea) -> Iterator[Case]:
    """The fleet as it was, at moments all over the middle half of what each vessel has sent."""
    moments = [sea.before_end(sea.fixes * (0.25 + 0.5 * n / 97)) for n in range(97)]
    paths = [f"{VESSELS}?{urlencode({'as_of': rfc3339(moment)})}" for moment in moments]
    yield Case(
        *("as_of", f"{sea.vessels:,} vessels", paths, _features, sea.vessels, _BOTH_CEILINGS),
        connections=FEW_CONNECTIONS,
    )


def history(sea: Sea) -> Iterator[Case]:
    """A page of a thousand fixes in the midst of a vessel's history."""
    many = min(1_000, sea.fixes // 2)
    window = {"from": sea.before_end(sea.fixes * 0.75), "to": sea.end, "limit": many}
    paths = [_below(vessel, "positions", **window) for vessel in _some(sea)]
    yield Case("history", f"a page of {many:,}", paths, _positions, many, _BOTH_CEILINGS)


def track(sea: Sea) -> Iterator[Case]:
    """Tracks of a thousand and of ten thousand fixes."""
    for many, goal in ((sea.fixes // 10, 5), (sea.fixes, 10)):
        yield track_of(sea, many, goals={PEER: goal} if many in {1_000, 10_000} else {})


def track_of(sea: Sea, many: int, **rest: Any) -> Case:
    """A track of so many fixes."""
    paths = [
        # A vessel's last fix comes up to a turn before the end.
        _below(vessel, "track", **{"from": at - timedelta(seconds=sea.every_s * (many - 0.5)), "to": at_end})
        for vessel in _some(sea)
        for at in [sea.before_end((sea.vessels - vessel) / sea.vessels)]
        for at_end in [at + timedelta(milliseconds=1)]
    ]
    few = FEW_CONNECTIONS if many >= 10_000 else CONNECTIONS
    return Case(
        *("track", f"of {many:,} points", paths, _points, many, _BOTH_CEILINGS), connections=few, **rest
    )


def feed(sea: Sea) -> Iterator[Case]:
    """Pages of the change feed, of a thousand and of ten thousand, and one where nothing is new."""
    for many in (1_000, 10_000):
        few = FEW_CONNECTIONS if many >= 10_000 else CONNECTIONS
        yield feed_page(sea, many, _BOTH_CEILINGS, connections=few)
    end = [_following(sea, sea.positions, 1_000)]
    peers = [f"{POSITIONS}?{urlencode({'after': sea.positions, 'limit': 1_000})}"]
    yield Case("feed", "nothing is new", end, _items, 0, _BOTH_CEILINGS, other_paths={PEER: peers})


def feed_page(sea: Sea, many: int, candidates: Sequence[str], **rest: Any) -> Case:
    """A page of the feed from places all over the last tenth of it."""
    tenth = sea.positions // 10
    places = [sea.positions - many - (tenth - many) * n // 97 for n in range(97)]
    peers = [f"{POSITIONS}?{urlencode({'after': place, 'limit': many})}" for place in places]
    paths = [_following(sea, place, many) for place in places]
    name = f"a page of {many:,}"
    return Case("feed", name, paths, _items, many, candidates, other_paths={PEER: peers}, **rest)


def _following(sea: Sea, place: int, limit: int) -> str:
    """Return where the service has what comes behind so many fixes."""
    query = urlencode({"cursor": sea.cursor_behind(place), "limit": limit})
    return f"{POSITIONS}?{query}"


def growing(sea: Sea) -> Iterator[Case]:
    """One of each: the same page, track and moment, whatever lies behind them in time."""
    at_end = sea.before_end(0)
    yield Case("fleet", f"{sea.vessels:,} at rest", [VESSELS], _features, sea.vessels, (SERVICE,))
    moments = [sea.before_end(100 + n) for n in range(97)]
    yield Case(
        "as_of",
        f"{sea.vessels:,} vessels",
        [f"{VESSELS}?{urlencode({'as_of': rfc3339(moment)})}" for moment in moments],
        *(_features, sea.vessels, (SERVICE,)),
        connections=FEW_CONNECTIONS,
    )
    window = {"from": sea.before_end(900), "to": at_end, "limit": 500}
    paths = [_below(vessel, "positions", **window) for vessel in _some(sea)]
    yield Case("history", "a page of 500", paths, _positions, 500, (SERVICE,))
    yield feed_page(sea, 500, (SERVICE,))
    day = track_of(sea, 900)
    yield Case("track", "of 900 points", day.paths, _points, 900, (SERVICE,))


def _some(sea: Sea) -> Sequence[int]:
    """Return vessels that are asked about in turns."""
    return range(1, min(97, sea.vessels) + 1)


def _below(vessel: int, what: str, **parameters: datetime | int) -> str:
    asked = {
        name: rfc3339(value) if isinstance(value, datetime) else value for name, value in parameters.items()
    }
    return f"{VESSELS}/{vessel}/{what}?{urlencode(asked)}"


def _features(answer: Any) -> int:
    return len(answer["features"])


def _positions(answer: Any) -> int:
    return len(answer["positions"])


def _items(answer: Any) -> int:
    return len(answer["items"])


def _points(answer: Any) -> int:
    """Return how many fixes there are in the parts of a track."""
    return sum(
        len(feature["properties"]["coordTimes"])
        for feature in answer["features"]
        if feature["properties"]["kind"] == "track"
    )
