"""What the processes of a neighbours' test share: where the service is, who may sign, how a part is played.

The clients and the troubles are processes of their own, so that no interpreter's lock makes a latency. Each
reads one line with its part; then, for each act, it says that it is ready, waits for one line more, and
tells in one line what it has seen. Where the process that started it is gone, no further act begins.
"""

import http.client
import json
import resource
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from harbor_api.domain.signatures import sign

HOST = "127.0.0.1"
SINGLE = "/api/v1/positions"
BATCH = "/api/v1/positions/batch"

# Vessels 1 to FLEET have the trackers of the same numbers, but that the intruder is aboard another vessel.
FLEET = 4_000
HONEST_NEW, HONEST_KEPT, HONEST_SLOW, ODD, ABOARD, INTRUDER, CHECKING = range(1, 8)
# These have a past; what the first of them sends is stored already.
PAST = range(11, 31)
REPEATING = PAST[0]
PAST_LAT, PAST_LON, PAST_SOG = 50 + REPEATING / 100, 5, 3


@dataclass(frozen=True)
class Scene:
    """Where a part is played, by how many, and for how long."""

    port: int
    secrets: Mapping[str, str]
    key: str
    # When the newest stored fix of the vessel was made whose tracker repeats itself: one a minute before.
    newest: str
    # When the fixes begin between which the intruder's are jumps: one each 20 seconds.
    jumps_from: str
    seconds: float = 15
    sockets: int = 2_000
    # How many loopback addresses the troubles come from; the honest clients come from the first one there is.
    addresses: int = 8
    first_address: int = 1
    # Whoever was cut comes back at once, but no faster than so: new connections are not what is tried.
    comes_back_a_second: float = 250
    # An honest client that has waited for so long has failed, whatever may come.
    patience_s: float = 10


@dataclass
class Outcome:
    """What a trouble got. A cut is a connection that the service ended; ages are since it was made."""

    statuses: dict[str, int] = field(default_factory=dict)
    took_p50_ms: float = 0
    took_max_ms: float = 0
    largest_answer: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    opened: int = 0
    unreached: int = 0
    cut: int = 0
    cut_after_s: list[float] = field(default_factory=list)
    held: int = 0
    oldest_s: float = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def tracker_id(number: int) -> str:
    return f"trk_{number:04}"


def signed_headers(scene: Scene, tracker: int, body: bytes, **more: str) -> dict[str, str]:
    """Return the headers with which a tracker signs a body now."""
    sender, moment = tracker_id(tracker), int(time.time())
    message_id = f"{sender}-{secrets.token_hex(12)}"
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(moment),
        "webhook-signature": sign(scene.secrets[sender], message_id, moment, body),
        **more,
    }


def address(scene: Scene, number: int) -> tuple[str, int]:
    """Return the loopback address that the connection of a number comes from, and any port."""
    return f"127.0.0.{scene.first_address + number % scene.addresses}", 0


def connection(scene: Scene, number: int, *, patience_s: float) -> http.client.HTTPConnection:
    """Return a connection that is made when it is first needed."""
    return http.client.HTTPConnection(
        HOST, scene.port, timeout=patience_s, source_address=address(scene, number)
    )


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def shifted(moment: str, **by: float) -> str:
    """Return a time of the scene earlier or later."""
    return rfc3339(datetime.fromisoformat(moment) + timedelta(**by))


def read_part() -> tuple[dict[str, Any], Scene]:
    """Return what this process is to do, and where; it may open as many sockets as it likes from now on."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    part = json.loads(sys.stdin.readline())
    return part, Scene(**part.pop("scene"))


def say_ready() -> bool:
    """Say so, and wait until told to go on; False where nobody is there any more to tell it."""
    print("ready", flush=True)
    return bool(sys.stdin.readline())


def tell(seen: object) -> None:
    """Hand over what was seen."""
    print(json.dumps(seen), flush=True)
