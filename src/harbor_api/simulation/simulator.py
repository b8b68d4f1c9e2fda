"""A simulated fleet's trackers: they report where its voyages are, and keep what cannot be sent."""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from harbor_api.simulation import tracker
from harbor_api.simulation.routes import FleetShip
from harbor_api.simulation.tracker import Credentials, Verdict
from harbor_api.simulation.voyage import Motion, Voyage

_DEFAULT_SEED = 1
_SENDERS = 4
# Two hours of fixes a ship at the usual interval; beyond that the oldest are lost, as on a tracker.
_BUFFERED_FIXES = 3600
# A sender gives one fix this long, keeps it if there was no verdict, and starts again with it.
_ATTEMPTS_FOR_S = 5.0
_OUTAGE_PAUSE_S = 0.5
_LEAVE_S = 2.0


@dataclass(frozen=True)
class Outcome:
    """What a simulation did: verdicts by name, fixes lost by a full buffer, fixes still unsent."""

    verdicts: Mapping[str, int]
    lost: int
    unsent: int


def fix_of(motion: Motion, moment: datetime, time_factor: float = 1.0) -> dict[str, object]:
    """Return the request body for a motion: 6 decimals of a degree, tenths as AIS has them."""
    return {
        "recorded_at": tracker.rfc3339(moment),
        "lat": round(motion.lat, 6),
        "lon": round(motion.lon, 6),
        "sog": round(motion.sog * time_factor, 1),
        # Rounding can reach 360, which is north again.
        "cog": round(motion.cog, 1) % 360.0,
        "heading": round(motion.heading) % 360,
        "nav_status": motion.nav_status,
    }


def simulate(
    fleet_credentials: Sequence[tuple[FleetShip, Credentials]],
    base_url: str,
    interval_s: float,
    stop: threading.Event,
    time_factor: float = 1.0,
    *,
    seed: int = _DEFAULT_SEED,
    on_verdict: Callable[[FleetShip, Verdict], None] | None = None,
) -> Outcome:
    """Report the fleet to the service at ``base_url`` until ``stop`` is set.

    Each ship reports every ``interval_s`` seconds at her own moment within the interval, so that the
    fleet does not arrive in one burst. While the service is away the fixes wait in a bounded buffer,
    and are sent in their order when it is back; each is signed when it is sent.

    With a ``time_factor`` the ships move so many times faster and report the speed that they make;
    ``recorded_at`` stays real time. The service's limit of plausible speed, 60 knots, bounds it to
    about 4.

    ``on_verdict`` is called from the sending threads. Returns within about two seconds of ``stop``.
    ValueError if there is no ship, or an interval or factor that is not positive. An exception that
    no outage explains ends the simulation and is raised.
    """
    if not fleet_credentials or interval_s <= 0 or time_factor <= 0:
        raise ValueError("a simulation needs ships, an interval and a time factor above zero")
    senders = [_Sender(base_url, stop, on_verdict) for _ in range(min(_SENDERS, len(fleet_credentials)))]
    crew = [
        (Voyage(ship, seed), senders[n % len(senders)].add(ship, credentials))
        for n, (ship, credentials) in enumerate(fleet_credentials)
    ]
    for sender in senders:
        sender.thread.start()
    slot_s = interval_s / len(crew)
    slot = math.ceil(time.time() / slot_s)
    try:
        while not stop.is_set():
            wait_s = slot * slot_s - time.time()
            if abs(wait_s) > 2 * interval_s + 60:
                # The computer slept or its clock was set: begin anew at the present time.
                slot = math.ceil(time.time() / slot_s)
            elif wait_s > 0:
                stop.wait(wait_s)
            else:
                voyage, keep = crew[slot % len(crew)]
                moment = datetime.fromtimestamp(math.floor(slot * slot_s * 1000) / 1000, UTC)
                motion = voyage.motion_at(moment.timestamp() * time_factor)
                keep(fix_of(motion, moment, time_factor))
                slot += 1
    finally:
        stop.set()
        leave_at = time.monotonic() + _LEAVE_S
        for sender in senders:
            sender.thread.join(max(0.0, leave_at - time.monotonic()))
    for sender in senders:
        if sender.failure is not None:
            raise sender.failure
    return Outcome(
        verdicts=dict(sum((sender.verdicts for sender in senders), Counter())),
        lost=sum(sender.lost for sender in senders),
        unsent=sum(sender.unsent for sender in senders),
    )


class _Sender:
    """One thread that sends the fixes of some ships, oldest first, and keeps what has no verdict."""

    def __init__(
        self,
        base_url: str,
        stop: threading.Event,
        on_verdict: Callable[[FleetShip, Verdict], None] | None,
    ) -> None:
        self.verdicts: Counter[str] = Counter()
        self.lost = 0
        self.failure: BaseException | None = None
        # A request that nobody answers must not hold the program once it is told to stop.
        self.thread = threading.Thread(target=self._run, name="simulated-trackers", daemon=True)
        self._base_url = base_url
        self._stop = stop
        self._on_verdict = on_verdict
        self._ships: list[tuple[FleetShip, Credentials]] = []
        self._waiting: deque[tuple[int, dict[str, object]]] = deque()
        self._changed = threading.Condition()

    @property
    def unsent(self) -> int:
        return len(self._waiting)

    def add(self, ship: FleetShip, credentials: Credentials) -> Callable[[dict[str, object]], None]:
        """Take a ship on before the thread starts; return what keeps a fix of hers for sending."""
        number = len(self._ships)
        self._ships.append((ship, credentials))

        def keep(fix: dict[str, object]) -> None:
            with self._changed:
                if len(self._waiting) >= _BUFFERED_FIXES * len(self._ships):
                    self._waiting.popleft()
                    self.lost += 1
                self._waiting.append((number, fix))
                self._changed.notify()

        return keep

    def _run(self) -> None:
        try:
            # A proxy of the environment is for what lies beyond this machine.
            with httpx.Client(trust_env=False) as http:
                self._send_all(http)
        except tracker.StoppedError:
            pass
        except BaseException as error:
            # Raised again in the calling thread, which is the only one that anybody watches.
            self.failure = error
            self._stop.set()

    def _send_all(self, http: httpx.Client) -> None:
        trackers = [
            tracker.TrackerClient(
                self._base_url,
                credentials.tracker_id,
                credentials.secret,
                http=http,
                deadline_s=_ATTEMPTS_FOR_S,
                stop=self._stop,
            )
            for _, credentials in self._ships
        ]
        while not self._stop.is_set():
            with self._changed:
                if not self._waiting and not self._changed.wait(0.1):
                    continue
                oldest = self._waiting[0]
            number, fix = oldest
            try:
                verdict = trackers[number].post(fix)
            except (tracker.GaveUpError, tracker.UnexpectedAnswerError):
                # An outage, or a proxy that answers for a service that is away.
                self._stop.wait(_OUTAGE_PAUSE_S)
                continue
            with self._changed:
                self.verdicts[verdict.verdict] += 1
                # A full buffer may have let go of this very fix while it was on its way.
                if self._waiting and self._waiting[0] is oldest:
                    self._waiting.popleft()
            if self._on_verdict is not None:
                self._on_verdict(self._ships[number][0], verdict)
