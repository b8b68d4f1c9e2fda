"""The odd neighbours: each is a function that makes trouble for a while, in a process of its own.

None needs more than what anybody has who reaches the service, or one tracker's secret, or one API key.
"""

import base64
import gzip
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from tests.neighbours.callers import Ask, call
from tests.neighbours.crowds import Habit, crowd
from tests.neighbours.scene import (
    ABOARD,
    BATCH,
    FLEET,
    INTRUDER,
    ODD,
    PAST_LAT,
    PAST_LON,
    PAST_SOG,
    REPEATING,
    SINGLE,
    Outcome,
    Scene,
    read_part,
    rfc3339,
    say_ready,
    shifted,
    signed_headers,
    tell,
    tracker_id,
)

from harbor_api.services.api_keys import generate

LARGEST_BATCH = 1_000
_USUAL_BODY = 60_000
_LARGEST_BODY = 511 * 1024
JUMPS = 100
# The intruder's jumps go so often between the fixes of those aboard before they begin anew.
_ROUNDS = 150
JUMPS_SPAN_S = 20 * JUMPS * _ROUNDS
# Held fixes lie so far apart that the most of them are still within reach of all jumps: 180 hours.
_BETWEEN_HELD_S = 5


@dataclass(frozen=True)
class Trouble:
    """One odd neighbour; SQL makes its past and, where that is to stay as it is, unmakes its present."""

    name: str
    make: Callable[[Scene], Outcome]
    past: Callable[[Scene], Sequence[str]] = lambda _: ()
    each_second: str | None = None

    @property
    def about(self) -> str:
        """What it does, in a sentence."""
        function = self.make.func if isinstance(self.make, partial) else self.make
        return (function.__doc__ or "").partition("\n")[0]


def repeats(scene: Scene, *, many: int, new: int = 0) -> Outcome:
    """Send the newest stored fixes again and again, each time with as many new ones as told."""
    stored = [
        {
            "recorded_at": shifted(scene.newest, minutes=-number),
            "lat": PAST_LAT,
            "lon": PAST_LON,
            "sog": PAST_SOG,
        }
        for number in range(many)
    ]

    def fixes(_: int) -> list[dict[str, Any]]:
        now = datetime.now(UTC)
        fresh = [rfc3339(now - timedelta(microseconds=number)) for number in range(new)]
        return [*stored, *({**stored[0], "recorded_at": each} for each in fresh)]

    return call(scene, _batches(scene, REPEATING, fixes), every_s=0.01)


def jumps(scene: Scene) -> Outcome:
    """Send a batch of 100 jumps a second: a tracker that is registered for the wrong vessel."""

    def fixes(number: int) -> list[dict[str, Any]]:
        first = number % _ROUNDS * JUMPS
        return [
            {
                "recorded_at": shifted(scene.jumps_from, seconds=20 * (first + each) + 10),
                "lat": 53.5,
                "lon": 10,
            }
            for each in range(JUMPS)
        ]

    return call(scene, _batches(scene, INTRUDER, fixes), every_s=1)


def _held(scene: Scene, *, many: int) -> Sequence[str]:
    """Return what holds so many jumps already, close enough for each new one to be compared with them."""
    return (
        "DELETE FROM quarantine",
        f"""
        INSERT INTO quarantine (vessel_id, recorded_at, tracker_id, received_at, reason, fix, raw)
        SELECT {ABOARD}, moment, {INTRUDER}, moment, 'impossible_jump', '{{"lat": 53.5, "lon": 10}}', '{{}}'
        FROM generate_series(1, {many}) AS number,
            LATERAL (
                SELECT timestamptz '{scene.jumps_from}' - make_interval(secs => {_BETWEEN_HELD_S} * number)
            ) AS held (moment)
        """,
        "VACUUM (ANALYZE) quarantine",
    )


# So that as many are held as the row says, however long it takes.
_FORGET_JUMPS = "DELETE FROM quarantine WHERE received_at > now() - interval '1 hour'"


def stalled_heads(scene: Scene) -> Outcome:
    """Send a head that goes on by a byte each five seconds."""
    opening = b"GET /health/live HTTP/1.1\r\nHost: harbor\r\nX-Odd: "
    return crowd(scene, Habit(lambda _: opening, drip=b"a"))


def silent(scene: Scene) -> Outcome:
    """Connect, and say nothing."""
    # A byte would be a head that begins; to send nothing at all is to be ready at once.
    return crowd(scene, Habit(lambda _: b""))


def stalled_bodies(scene: Scene, *, signed: bool, whole_but_a_byte: bool) -> Outcome:
    """Send a head and a body that stalls: a byte each five seconds, or all of it but the last byte."""
    length = _LARGEST_BODY if whole_but_a_byte else _USUAL_BODY
    body = b" " * (length - 1) if whole_but_a_byte else b""
    line = f"POST {BATCH if whole_but_a_byte else SINGLE} HTTP/1.1\r\nHost: harbor\r\n"
    head = f"{line}Content-Type: application/json\r\nContent-Length: {length}\r\n"
    unsigned = f"{head}\r\n".encode() + body

    def opening(number: int) -> bytes:
        return head.encode() + _looks_signed(number) + b"\r\n" + body if signed else unsigned

    # What is large comes as fast as it is taken; connections come slower, as there is only so much memory.
    pace = 100 if whole_but_a_byte else 1_000
    return crowd(scene, Habit(opening, drip=b"" if whole_but_a_byte else b" ", opens_a_second=pace))


def stalled_chunks(scene: Scene) -> Outcome:
    """Send a chunk, whose body has no length, and go on by a byte each five seconds."""
    opening = (
        f"POST {SINGLE} HTTP/1.1\r\nHost: harbor\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\nfff\r\n"
    ).encode()
    return crowd(scene, Habit(lambda _: opening, drip=b" "))


def _looks_signed(number: int) -> bytes:
    sender = tracker_id(1 + number % FLEET)
    signature = base64.b64encode(secrets.token_bytes(32)).decode()
    return (
        f"webhook-id: {sender}-odd{number}\r\nwebhook-timestamp: {int(time.time())}\r\n"
        f"webhook-signature: v1,{signature}\r\n"
    ).encode()


def prompt_readers(scene: Scene) -> Outcome:
    """Ask for the whole fleet once a second, as any key may, and read it at once, as most do."""
    headers = {"Authorization": f"Bearer {scene.key}"}
    return call(scene, lambda _: ("GET", "/api/v1/vessels", None, headers), every_s=1)


def slow_readers(scene: Scene) -> Outcome:
    """Ask for the whole fleet once a second, as any key may, and read a byte a second of each answer."""
    head = f"GET /api/v1/vessels HTTP/1.1\r\nHost: harbor\r\nAuthorization: Bearer {scene.key}\r\n\r\n"
    habit = Habit(lambda _: head.encode(), reads="slowly", every_s=1, receive_buffer=4_096, opens_a_second=1)
    return crowd(scene, habit)


def never_reading(scene: Scene) -> Outcome:
    """Send small requests for a large document for as long as they are taken, and read nothing."""
    opening = b"GET /openapi.json HTTP/1.1\r\nHost: harbor\r\n\r\n" * 100
    habit = Habit(lambda _: opening, reads="nothing", goes_on=True, receive_buffer=4_096, opens_a_second=50)
    return crowd(scene, habit)


def idle(scene: Scene) -> Outcome:
    """Make one request, and keep the connection."""
    return crowd(scene, Habit(lambda _: b"GET /health/live HTTP/1.1\r\nHost: harbor\r\n\r\n"))


def bad_keys(scene: Scene) -> Outcome:
    """Try keys that look right and are not, as fast as four threads can."""
    keys = [generate() for _ in range(500)]
    return call(
        scene,
        lambda number: (
            "GET",
            "/api/v1/vessels",
            None,
            {"Authorization": f"Bearer {keys[number % len(keys)]}"},
        ),
        callers=4,
    )


def huge_errors(scene: Scene, *, items: int, members: int) -> Outcome:
    """Send a small gzipped batch all of whose members are unknown: each is a fault to tell of."""
    item = {f"{number:x}": 0 for number in range(members)}
    body = gzip.compress(json.dumps({"fixes": [item] * items}, separators=(",", ":")).encode())

    def ask(_: int) -> tuple[str, str, bytes | None, dict[str, str]]:
        return "POST", BATCH, body, signed_headers(scene, ODD, body, **{"Content-Encoding": "gzip"})

    return call(scene, ask)


def huge_patches(scene: Scene) -> Outcome:
    """Change a vessel by thousands of members that it does not have."""
    body = json.dumps({f"{number:x}": 0 for number in range(6_000)}, separators=(",", ":")).encode()
    headers = {
        "Authorization": f"Bearer {scene.key}",
        "Content-Type": "application/json",
        "If-Match": "*",
    }
    return call(scene, lambda _: ("PATCH", f"/api/v1/vessels/{ODD}", body, headers))


def wild_numbers(scene: Scene) -> Outcome:
    """Send four batches a second of new fixes whose numbers have nothing to do with each other."""

    def fixes(turn: int) -> list[dict[str, Any]]:
        now = datetime.now(UTC)
        return [
            {
                "recorded_at": rfc3339(now - timedelta(microseconds=each)),
                "lat": 1,
                "lon": 1,
                # Below 2^53, as they must be, and never two next to each other.
                "number": (each * 7_919 + turn * 104_729) % 2**40 * 1_000,
            }
            for each in range(LARGEST_BATCH)
        ]

    return call(scene, _batches(scene, ODD, fixes), every_s=0.25)


def full_batches(
    scene: Scene, *, spelt: Callable[[list[dict[str, Any]]], str], zipped: bool = False
) -> Outcome:
    """Send full batches of new, sound fixes: spelt as all do, or so that it costs more to read them."""
    encoding = {"Content-Encoding": "gzip"} if zipped else {}

    def ask(_: int) -> tuple[str, str, bytes | None, dict[str, str]]:
        now = datetime.now(UTC)
        fixes = [
            {
                "recorded_at": rfc3339(now - timedelta(microseconds=each)),
                "lat": 1.123456,
                "lon": 1.234567,
                "sog": 8.4,
                "cog": 181.2,
                "heading": 180,
                "nav_status": 0,
                "accuracy_m": 4.5,
                "battery_v": 3.9,
            }
            for each in range(LARGEST_BATCH)
        ]
        body = f'{{"fixes":{spelt(fixes)}}}'.encode()
        body = gzip.compress(body, 1) if zipped else body
        return "POST", BATCH, body, signed_headers(scene, ODD, body, **encoding)

    return call(scene, ask, callers=2)


def _of_two_forms(fixes: list[dict[str, Any]]) -> str:
    for each in fixes[::2]:
        del each["sog"]
    return json.dumps(fixes)


def _escaped(fixes: list[dict[str, Any]]) -> str:
    """Spell some of the members' names letter by letter: as much as fits into the largest body."""
    text = json.dumps(fixes, separators=(",", ":"))
    for name in ("recorded_at", "nav_status", "battery_v", "accuracy_m"):
        text = text.replace(name, "".join(f"\\u{ord(each):04x}" for each in name))
    return text


def _of_many_digits(fixes: list[dict[str, Any]]) -> str:
    """Spell numbers with more digits than are kept: each has to be rounded."""
    text = json.dumps(fixes, separators=(",", ":"))
    for number in ("1.123456", "1.234567", "8.4", "181.2", "4.5", "3.9"):
        text = text.replace(f":{number}", f":{number}{'0001' * 36}")
    return text


def _batches(scene: Scene, tracker: int, fixes: Callable[[int], list[dict[str, Any]]]) -> Ask:
    def ask(number: int) -> tuple[str, str, bytes | None, dict[str, str]]:
        body = json.dumps({"fixes": fixes(number)}).encode()
        return "POST", BATCH, body, signed_headers(scene, tracker, body)

    return ask


def _bodies(*, signed: bool, whole_but_a_byte: bool) -> Callable[[Scene], Outcome]:
    return partial(stalled_bodies, signed=signed, whole_but_a_byte=whole_but_a_byte)


_TROUBLES = (
    Trouble("repeats-1", partial(repeats, many=1)),
    Trouble("repeats-100", partial(repeats, many=100)),
    Trouble("repeats-1000", partial(repeats, many=LARGEST_BATCH)),
    Trouble("repeats-999-and-1-new", partial(repeats, many=LARGEST_BATCH - 1, new=1)),
    *(
        Trouble(f"jumps-{many}-held", jumps, partial(_held, many=many), _FORGET_JUMPS)
        for many in (0, 3_000, 60_000)
    ),
    Trouble("heads-stalled", stalled_heads),
    Trouble("heads-never-begun", silent),
    Trouble("bodies-unsigned", _bodies(signed=False, whole_but_a_byte=False)),
    Trouble("bodies-unsigned-large", _bodies(signed=False, whole_but_a_byte=True)),
    Trouble("bodies-signed", _bodies(signed=True, whole_but_a_byte=False)),
    Trouble("bodies-signed-large", _bodies(signed=True, whole_but_a_byte=True)),
    Trouble("bodies-chunked", stalled_chunks),
    Trouble("readers-prompt", prompt_readers),
    Trouble("readers-slow", slow_readers),
    Trouble("readers-never", never_reading),
    Trouble("idle", idle),
    Trouble("bad-keys", bad_keys),
    Trouble("errors-1000-items", partial(huge_errors, items=LARGEST_BATCH, members=100)),
    Trouble("errors-100000-members", partial(huge_errors, items=1, members=100_000)),
    Trouble("errors-patch", huge_patches),
    Trouble("wild-numbers", wild_numbers),
    Trouble("batches-full", partial(full_batches, spelt=json.dumps)),
    Trouble("batches-of-two-forms", partial(full_batches, spelt=_of_two_forms)),
    Trouble("batches-escaped", partial(full_batches, spelt=_escaped)),
    Trouble("batches-zipped", partial(full_batches, spelt=_of_many_digits, zipped=True)),
)
TROUBLES = {trouble.name: trouble for trouble in _TROUBLES}


def main() -> None:
    """Make one trouble after the other, each when told to, and tell what it got."""
    part, scene = read_part()
    for name in part["troubles"]:
        if say_ready():
            tell(TROUBLES[name].make(scene).as_json())


if __name__ == "__main__":
    main()
