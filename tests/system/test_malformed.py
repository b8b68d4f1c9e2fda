"""Thousands of bodies that are wrong in every way a line, a tracker or an attacker can make them wrong.

All are signed rightly, so that they reach all that reads a body. None makes the service fail: each is
refused, or answered with a verdict on each of its fixes. Beside a live service that is fed with them, a
good tracker's latency is measured and printed.
"""

import copy
import gzip
import http.client
import itertools
import json
import random
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from tests.support.checked_client import CheckedClient
from tests.support.factories import SigningTracker, World, a_fix
from tests.support.live_service import LiveService
from tests.support.signed_posts import Connection, percentile, register_fleet, signed_headers
from tests.support.urls import BATCH
from tests.support.urls import POSITIONS as SINGLE

_LIVE_S = 6
Body = tuple[bytes, dict[str, str]]
_STRANGE: tuple[Any, ...] = (
    None,
    True,
    "12",
    "",
    [],
    {},
    [[]],
    {"lat": 1},
    -1,
    1e308,
    -0.0,
    5e-324,
    2**53,
    2**63,
    10**300,
    "\u0000",
    "\ud800",
    "𝔸",
    "2026-02-30T25:61:61Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
)


def _good(chance: random.Random) -> Any:
    fixes = [
        a_fix(chance.randrange(1_000), number=chance.randrange(1_000))
        for _ in range(chance.choice((1, 1, 1, 5, 20)))
    ]
    return fixes[0] if len(fixes) == 1 else {"fixes": fixes}


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def _bytes_flipped(chance: random.Random) -> Body:
    body = bytearray(_encoded(_good(chance)))
    for _ in range(chance.randint(1, 4)):
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    return bytes(body), {}


def _truncated(chance: random.Random) -> Body:
    body = _encoded(_good(chance))
    return body[: chance.randrange(len(body))], {}


def _spliced(chance: random.Random) -> Body:
    one, other = _encoded(_good(chance)), _encoded(_good(chance))
    return one[: chance.randrange(len(one))] + other[chance.randrange(len(other)) :], {}


def _types_swapped(chance: random.Random) -> Body:
    value = copy.deepcopy(_good(chance))
    fix = chance.choice(value["fixes"]) if "fixes" in value else value
    name = chance.choice([*fix, "surprise", "__proto__", "~/%", "battery_v"])
    if chance.random() < 0.1:
        value[chance.choice(["fixes", "lat"])] = chance.choice(_STRANGE)
    elif chance.random() < 0.2:
        fix.pop(name, None)
    else:
        fix[name] = chance.choice(_STRANGE)
    return _encoded(value), {}


def _top_replaced(chance: random.Random) -> Body:
    strange = chance.choice(_STRANGE)
    value = chance.choice([strange, {"fixes": strange}, {"fixes": [strange] * chance.choice((1, 3, 1_001))}])
    return _encoded(value), {}


def _names_repeated(chance: random.Random) -> Body:
    inner = _encoded(a_fix(1))[1:-1]
    fix = b"{%s, %s}" % (inner, chance.choice([inner, b'"lat": 1', b'"\\u006cat": 1']))
    return chance.choice([fix, b'{"fixes": [%s]}' % fix, b'{"fixes": [], "fixes": [%s]}' % fix]), {}


def _nested(chance: random.Random) -> Body:
    depth = chance.choice((10, 500, 990, 5_000, 25_000))
    opened, closed = chance.choice([(b"[", b"]"), (b'{"fixes":', b"}"), (b'{"lat":', b"}"), (b"[", b"")])
    body = opened * depth + b"1" + closed * depth
    return b'{"fixes": [%s]}' % body[:60_000] if chance.random() < 0.5 else body[:60_000], {}


def _huge_number(chance: random.Random) -> Body:
    number = chance.choice(
        ["1" * 5_000, "1e400", "-1e400", "1e-9999999999", "9" * 309, "NaN", "-Infinity", "0x10", "1_0", "01"]
    )
    name = chance.choice(["lat", "lon", "sog", "nav_status", "number", "battery_v"])
    text = f'{{"recorded_at": "2026-01-02T03:04:05Z", "lat": 1, "lon": 1, "{name}x": 0, "{name}": {number}}}'
    text = text.replace(f'"{name}x": 0, ', "") if name not in {"lat", "lon"} else text
    return (f'{{"fixes": [{text}]}}' if chance.random() < 0.5 else text).encode(), {}


def _wrong_encoding(chance: random.Random) -> Body:
    text = json.dumps(_good(chance) | {"name": "Øresund \ud83d"}, ensure_ascii=False)
    encoding = chance.choice(["utf-16", "utf-32-le", "utf-8-sig", "utf-7", "latin-1", "cp037"])
    return text.encode(encoding, errors="surrogatepass" if "utf" in encoding else "replace"), {}


def _broken_compression(chance: random.Random) -> Body:
    name = chance.choice(["gzip", "deflate", "x-gzip"])
    pack: Callable[[bytes], bytes] = zlib.compress if name == "deflate" else gzip.compress
    body = bytearray(pack(_encoded(_good(chance))))
    how = chance.randrange(5)
    if how == 0:
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    elif how == 1:
        del body[chance.randrange(len(body)) :]
    elif how == 2:
        body += chance.choice([b"x", bytes(body), b"\0" * 100])
    elif how == 3:
        name = chance.choice(["br", "zstd", "gzip, gzip", "deflate", "identity", "", "gzip;q=1", "x" * 200])
    else:
        body = bytearray(pack(bytes(body)))
    return bytes(body), {"content-encoding": name}


def _bomb(chance: random.Random) -> Body:
    size = chance.choice((1 << 20, (1 << 20) + 1, 16 << 20))
    content = chance.choice([b"[" * size, b" " * size, b'{"fixes": [' + b"0," * (size // 2) + b"0]}"])
    if chance.random() < 0.5:
        return gzip.compress(content, 1), {"content-encoding": "gzip"}
    return zlib.compress(content, 1), {"content-encoding": "deflate"}


def _other_media_type(chance: random.Random) -> Body:
    kinds = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "json"]
    kinds += ["application/json; charset=utf-16", "application/geo+json", "application/json, text/plain"]
    return _encoded(_good(chance)), {"content-type": chance.choice(kinds)}


_MAKERS: tuple[Callable[[random.Random], Body], ...] = (
    _bytes_flipped,
    _truncated,
    _spliced,
    _types_swapped,
    _types_swapped,
    _top_replaced,
    _names_repeated,
    _nested,
    _huge_number,
    _wrong_encoding,
    _broken_compression,
    _other_media_type,
)


def _bodies(seed: int):
    """Yield a kind of damage, a path and a body, without end; one in a hundred is a bomb."""
    chance = random.Random(seed)
    bombs = [_bomb(chance) for _ in range(12)]
    for number in itertools.count():
        make = _MAKERS[number % len(_MAKERS)]
        kind, body = ("_bomb", chance.choice(bombs)) if number % 100 == 99 else (make.__name__, make(chance))
        yield kind, chance.choice((SINGLE, BATCH, BATCH)), *body


def _good_bodies(seed: int):
    """Yield what the malformed bodies are made of, without end."""
    chance = random.Random(seed)
    while True:
        value = _good(chance)
        yield "good", BATCH if "fixes" in value else SINGLE, _encoded(value), {}


def _assert_answered(where: str, status: int, answer: Any) -> None:
    if status >= 400:
        assert status in {400, 411, 413, 415, 422}, (where, status, answer)
        assert answer["code"] not in {"internal_error", "unavailable"}, where
        assert len(json.dumps(answer)) < 500_000, where
    else:
        told = answer.get("verdicts", [answer])
        assert {each["verdict"] for each in told} <= {"stored", "duplicate", "quarantined", "invalid"}, where


@pytest.mark.parametrize("count", [3_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_malformed_bodies_are_each_answered_and_none_fails(
    app: Flask, client: CheckedClient, world: World, count: int
):
    unchecked = app.test_client()
    contract = client.contract
    statuses: Counter[tuple[str, int]] = Counter()
    began = time.monotonic()
    slowest: tuple[float, str] = (0.0, "")
    signer: SigningTracker = world.tracker()
    for number, (kind, path, body, headers) in enumerate(itertools.islice(_bodies(3), count)):
        if number % 500 == 0:
            # A tracker may not make more than so many requests a minute.
            signer = world.tracker()
        request = signer.signed(body)
        request["headers"] |= headers
        sent = time.monotonic()
        answer = unchecked.post(path, **request)
        slowest = max(slowest, (time.monotonic() - sent, kind))
        where = f"body {number}, {kind}: {body[:200]!r}"
        _assert_answered(where, answer.status_code, answer.json)
        # To hold an answer against the document takes longer than the answer.
        if number % 10 == 0:
            contract.check("POST", path, answer.status_code, dict(answer.headers), answer.data)
        statuses[kind, answer.status_code] += 1
    took = time.monotonic() - began
    print(f"{count} bodies in {took:.1f} s, slowest {slowest[0] * 1000:.0f} ms ({slowest[1]})")
    for kind in sorted({kind for kind, _ in statuses}):
        print(
            f"  {kind[1:]:20}",
            {status: n for (other, status), n in sorted(statuses.items()) if other == kind},
        )
    assert sum(statuses.values()) == count
    assert {400, 413, 415, 422, 200} <= {status for _, status in statuses}
    assert not [kind for kind, status in statuses if kind == "_bomb" and status < 400]


def _latencies(port: int, ends: Callable[[], bool]) -> list[float]:
    """Return the seconds that each fix of a good tracker takes."""
    found = []
    with Connection(port) as connection:
        for second in itertools.count():
            if ends():
                return found
            began = time.monotonic()
            status, answer = connection.post(SINGLE, 1, a_fix(second))
            assert status in {200, 201}, answer
            found.append(time.monotonic() - began)
            time.sleep(0.005)
    return found


def test_a_good_trackers_latency_beside_malformed_bodies(live_service: LiveService):
    """Measured and printed only: how long another takes is a matter of the machine.

    It is measured beside good bodies of the same sizes, too: any load on the same cores costs something.
    """
    register_fleet(live_service.world.database, 2)

    def feed(bodies: Iterator[Any], over: threading.Event, answered: Counter[int]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", live_service.port, timeout=30)
        for _, path, body, headers in bodies:
            if over.is_set():
                break
            try:
                connection.request("POST", path, body, signed_headers(2, body) | headers)
                answer = connection.getresponse()
                content = answer.read()
                assert answer.status < 500, content
                answered[answer.status] += 1
            except (OSError, http.client.HTTPException):
                # A body that is too large is not read to its end.
                connection.close()
                answered[0] += 1
        connection.close()

    def measured(bodies: Iterator[Any] | None = None) -> tuple[str, Counter[int]]:
        over = threading.Event()
        answered: Counter[int] = Counter()
        feeder = threading.Thread(target=feed, args=(bodies or iter(()), over, answered))
        feeder.start()
        try:
            ends = time.monotonic() + _LIVE_S
            found = _latencies(live_service.port, lambda: time.monotonic() > ends)
        finally:
            over.set()
            feeder.join(60)
        shares = (percentile(found, 0.5) * 1000, percentile(found, 0.99) * 1000)
        return "median {:.1f} ms, p99 {:.1f} ms".format(*shares), answered

    alone, _ = measured()
    beside_good, good = measured(_good_bodies(4))
    beside, answered = measured(_bodies(4))
    print(
        f"alone: {alone}; beside {sum(good.values())} good bodies: {beside_good}; "
        f"beside {sum(answered.values())} malformed ones {dict(answered)}: {beside}"
    )
    assert sum(answered.values()) > 100
    assert set(good) <= {200, 201, 202}
    assert set(answered) <= {0, 200, 201, 202, 400, 413, 415, 422}
    with Connection(live_service.port) as connection:
        assert connection.post(SINGLE, 1, a_fix(1_000_000))[0] == 201
