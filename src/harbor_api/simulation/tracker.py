"""What a good tracker does: sign every attempt, retry what may succeed, stop at what cannot.

Signatures are Standard Webhooks v1 (https://www.standardwebhooks.com), made with
``harbor_api.domain.signatures``, which the service checks them with.
"""

import email.utils
import json
import random
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpx

from harbor_api.domain import signatures

POSITIONS_PATH = "/api/v1/positions"
DEADLINE_S = 60.0
# One attempt waits no longer than this, so that a silent service leaves time for further attempts.
ATTEMPT_TIMEOUT_S = 10.0
FIRST_BACKOFF_S = 0.25
LONGEST_BACKOFF_S = 15.0

_VERDICT_BY_STATUS = {201: "stored", 200: "duplicate", 202: "quarantined"}
_CLOCK_IS_WRONG = "timestamp_out_of_tolerance"


class TrackerError(Exception):
    """A fix has no verdict: the tracker must keep it."""


class GaveUpError(TrackerError):
    """The deadline passed before the service gave a verdict; ``attempts`` were made."""

    def __init__(self, attempts: int, last: str) -> None:
        super().__init__(f"no verdict after {attempts} attempts; the last one: {last}")
        self.attempts = attempts
        self.last = last


class StoppedError(TrackerError):
    """The ``stop`` event was set while the fix was waiting for its next attempt."""


class UnexpectedAnswerError(TrackerError):
    """Something answered that is not this service: a redirect, or a success without JSON."""


@dataclass(frozen=True)
class Credentials:
    """What a tracker signs with: its id, such as ``trk_0001``, and its ``whsec_`` secret."""

    tracker_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Verdict:
    """What the service said of one fix.

    ``verdict`` is ``stored`` (201), ``duplicate`` (200), ``quarantined`` (202) or ``invalid`` (a
    4xx that a retry cannot change). ``code`` is the ``code`` member of the problem document
    (RFC 9457) of an invalid fix, ``latest`` tells whether the fix became the vessel's newest, and
    ``body`` is the whole answer, empty where a 4xx carried no JSON object.
    """

    status: int
    verdict: str
    code: str | None
    latest: bool | None
    body: dict[str, Any] = field(hash=False)


def rfc3339(moment: datetime) -> str:
    """Return an aware time in UTC with ``Z``, with a fraction only where there is one.

    ValueError for a time without an offset: nobody could know which moment it means.
    """
    if moment.tzinfo is None:
        raise ValueError("a time without an offset is no moment")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


class TrackerClient:
    """Posts the fixes of one tracker, one at a time.

    ``base_url`` is the service's root, such as ``https://positions.example``. ``http`` may be
    shared by many trackers, which then share its kept-alive connections, and whoever made it closes
    it; without one the client has its own and ``close`` (or a ``with`` block) ends it.
    ``deadline_s`` bounds one ``post`` with all its retries. A set ``stop`` ends a wait between
    attempts at once.

    ValueError if ``base_url`` is not an http(s) address or ``secret`` not a ``whsec_`` secret.
    """

    def __init__(
        self,
        base_url: str,
        tracker_id: str,
        secret: str,
        *,
        http: httpx.Client | None = None,
        deadline_s: float = DEADLINE_S,
        stop: threading.Event | None = None,
    ) -> None:
        root = httpx.URL(base_url)
        if root.scheme not in {"http", "https"} or not root.host:
            raise ValueError(f"not an http(s) address: {base_url}")
        # A wrong secret should fail here, not at the first fix far from the port.
        signatures.secret_key(secret)
        self.tracker_id = tracker_id
        self._url = base_url.rstrip("/") + POSITIONS_PATH
        self._secret = secret
        self._owns_http = http is None
        self._http = http if http is not None else httpx.Client()
        self._deadline_s = deadline_s
        self._stop = stop if stop is not None else threading.Event()
        # What the service's clock showed beyond ours, once it has told us that ours is wrong.
        self._clock_offset_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, unless they were lent."""
        if self._owns_http:
            self._http.close()

    def post(self, fix: Mapping[str, object]) -> Verdict:
        """Post one fix and return the service's verdict on it.

        ``fix`` holds ``recorded_at`` (RFC 3339 text in UTC with ``Z``), ``lat`` and ``lon`` (WGS 84
        degrees) and, where known, ``sog`` (knots), ``cog`` and ``heading`` (degrees) and
        ``nav_status`` (the AIS integer 0 to 15).

        429, 5xx and no answer are tried again, after a growing and randomised pause that is never
        shorter than the answer's ``Retry-After``. Such a repeat is safe: the service knows a fix by
        its tracker and ``recorded_at``, and calls the second one a duplicate.

        GaveUpError after the deadline; StoppedError if ``stop`` was set; UnexpectedAnswerError if
        what answered is not the service; ValueError if the fix holds NaN or an infinity.
        """
        body = json.dumps(fix, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()
        # One identity for all attempts: it names the message, and only the timestamp the attempt.
        message_id = f"{self.tracker_id}-{uuid.uuid4().hex}"
        give_up_at = time.monotonic() + self._deadline_s
        clock_was_set = False
        attempts = 0
        while True:
            attempts += 1
            remaining = give_up_at - time.monotonic()
            asked_to_wait = 0.0
            try:
                answer = self._attempt(message_id, body, max(remaining, 0.05))
            except httpx.RequestError as error:
                last = f"{type(error).__name__}: {error}"
            else:
                if answer.status_code != 429 and answer.status_code < 500:
                    verdict = _read_verdict(answer)
                    if verdict.code != _CLOCK_IS_WRONG or clock_was_set:
                        return verdict
                    if not self._set_clock(answer):
                        return verdict
                    # A tracker whose clock died learns the time from the refusal, and one more
                    # attempt follows at once; a second refusal has another cause.
                    clock_was_set = True
                    continue
                last = f"status {answer.status_code}"
                asked_to_wait = _retry_after_s(answer)
            pause = max(_backoff_s(attempts), asked_to_wait)
            if time.monotonic() + pause >= give_up_at:
                raise GaveUpError(attempts, last)
            if self._stop.wait(pause):
                raise StoppedError("stopped while waiting for the next attempt")

    def _attempt(self, message_id: str, body: bytes, remaining_s: float) -> httpx.Response:
        # A buffered fix is signed when it is sent: the service bounds the age of the attempt, never
        # the age of the fix.
        timestamp = int(time.time() + self._clock_offset_s)
        return self._http.post(
            self._url,
            content=body,
            headers={
                "content-type": "application/json",
                "webhook-id": message_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": signatures.sign(self._secret, message_id, timestamp, body),
            },
            timeout=min(ATTEMPT_TIMEOUT_S, remaining_s),
        )

    def _set_clock(self, answer: httpx.Response) -> bool:
        moment = _http_date(answer.headers.get("date", ""))
        if moment is None:
            return False
        self._clock_offset_s = moment.timestamp() - time.time()
        return True


def _read_verdict(answer: httpx.Response) -> Verdict:
    status = answer.status_code
    try:
        body = answer.json()
    except ValueError:
        body = None
    if status in _VERDICT_BY_STATUS and isinstance(body, dict):
        latest = body.get("latest")
        known = latest if isinstance(latest, bool) else None
        return Verdict(status, _VERDICT_BY_STATUS[status], None, known, body)
    if 400 <= status < 500:
        problem = body if isinstance(body, dict) else {}
        code = problem.get("code")
        return Verdict(status, "invalid", code if isinstance(code, str) else None, None, problem)
    kind = answer.headers.get("content-type", "no media type")
    raise UnexpectedAnswerError(f"{answer.url} answered {status} ({kind}), which is no verdict")


def _backoff_s(attempts: int) -> float:
    # Half of the pause is chance: a fleet that lost its service together must not return together.
    longest = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(attempts - 1, 30))
    return longest * (0.5 + 0.5 * random.random())  # noqa: S311 - spreads load, guards nothing


def _retry_after_s(answer: httpx.Response) -> float:
    """Return the seconds of ``Retry-After`` (RFC 9110, 10.2.3: a number or a date), else 0."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        # No deadline is so long that the exact value of a longer wait mattered.
        return min(float(text), 1e9)
    moment = _http_date(text)
    if moment is None:
        return 0.0
    # The two times come from one clock, the service's, so that ours cannot spoil the difference.
    reference = _http_date(answer.headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (moment - reference).total_seconds())


def _http_date(text: str) -> datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    # An HTTP date is always GMT, also where the parser finds "-0000" and leaves the offset out.
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
