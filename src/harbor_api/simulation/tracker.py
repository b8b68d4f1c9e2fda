"""What a good tracker does: sign every attempt, retry what may succeed, stop at what cannot.

Signatures are Standard Webhooks v1 (https://www.standardwebhooks.com), made with
``harbor_api.domain.signatures``, which the service checks them with.
"""

import email.utils
import json
import random
import re
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpx
import orjson

from harbor_api.domain import signatures

POSITIONS_PATH = "/api/v1/positions"
BATCH_PATH = f"{POSITIONS_PATH}/batch"
READY_PATH = "/health/ready"
LARGEST_BATCH = 1_000
DEADLINE_S = 60.0
# One attempt waits no longer than this, so that a silent service leaves time for further attempts.
ATTEMPT_TIMEOUT_S = 10.0
FIRST_BACKOFF_S = 0.25
LONGEST_BACKOFF_S = 15.0

_VERDICT_BY_STATUS = {201: "stored", 200: "duplicate", 202: "quarantined"}
# The body came too slowly, and too much came: neither is the fault of what was sent.
_ASKED_AGAIN = {408, 429}
_CLOCK_IS_WRONG = "timestamp_out_of_tolerance"
# A code of a problem: what else stands there was not written by this service, and is not to be shown.
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


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


class NotReadyError(TrackerError):
    """The service says that it is not ready, or does not answer at all; the message says which."""


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


@dataclass(frozen=True)
class BatchAnswer:
    """What the service said of a batch.

    ``verdicts`` are those of its fixes, in order: ``verdict`` and, where it is ``invalid``, ``code`` and
    perhaps ``errors``. None where the batch was refused as a whole; ``code`` then says why, if it did.
    """

    status: int
    verdicts: list[dict[str, Any]] | None
    code: str | None


@dataclass
class Clock:
    """How far the service's clock is ahead of ours, once it has told us that ours is wrong."""

    ahead_s: float = 0.0


def demand_ready(base_url: str) -> None:
    """Ask the service whether it is ready for requests.

    NotReadyError where it is not or where nothing answers, UnexpectedAnswerError where something else does.
    """
    url = base_url.rstrip("/") + READY_PATH
    try:
        answer = httpx.get(url, timeout=ATTEMPT_TIMEOUT_S, trust_env=False)
    except httpx.InvalidURL as error:
        raise NotReadyError(f"{base_url} is no address: {error}") from error
    except httpx.RequestError as error:
        raise NotReadyError(f"no service answers at {base_url}: {error or type(error).__name__}") from error
    body = _json_object(answer)
    if answer.status_code == 503 and _code_of(body) is not None:
        raise NotReadyError(f"the service at {base_url} is not ready: {_code_of(body)}")
    if answer.status_code != 200 or body is None or "status" not in body:
        raise UnexpectedAnswerError(f"{url} answered {answer.status_code}: it is not this service")


def rfc3339(moment: datetime) -> str:
    """Return an aware time in UTC with ``Z``, with a fraction only where there is one.

    ValueError for a time without an offset: nobody could know which moment it means.
    """
    if moment.tzinfo is None:
        raise ValueError("a time without an offset is no moment")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


class TrackerClient:
    """Posts the fixes of one tracker, one request at a time.

    ``base_url`` is the service's root, such as ``https://positions.example``. ``http`` may be
    shared by many trackers, which then share its kept-alive connections, and whoever made it closes
    it; without one the client has its own and ``close`` (or a ``with`` block) ends it. Trackers of one
    program may share its ``clock``. ``deadline_s`` bounds one ``post`` with all its retries. A set
    ``stop`` ends a wait between attempts at once.

    ValueError if ``base_url`` is not an http(s) address or ``secret`` not a ``whsec_`` secret.
    """

    def __init__(
        self,
        base_url: str,
        tracker_id: str,
        secret: str,
        *,
        http: httpx.Client | None = None,
        clock: Clock | None = None,
        deadline_s: float = DEADLINE_S,
        stop: threading.Event | None = None,
    ) -> None:
        root = httpx.URL(base_url)
        if root.scheme not in {"http", "https"} or not root.host:
            raise ValueError(f"not an http(s) address: {base_url}")
        # A wrong secret should fail here, not at the first fix far from the port.
        signatures.secret_key(secret)
        self.tracker_id = tracker_id
        self._base_url = base_url.rstrip("/")
        self._secret = secret
        self._owns_http = http is None
        self._http = http if http is not None else httpx.Client()
        self._clock = clock if clock is not None else Clock()
        self._deadline_s = deadline_s
        self._stop = stop if stop is not None else threading.Event()

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

        408, 429, 5xx and no answer are tried again, after a growing and randomised pause that is never
        shorter than the answer's ``Retry-After``. Such a repeat is safe: the service knows a fix by
        its tracker and ``recorded_at``, and calls the second one a duplicate.

        GaveUpError after the deadline; StoppedError if ``stop`` was set; UnexpectedAnswerError if
        what answered is not the service; ValueError if the fix holds NaN or an infinity.
        """
        body = json.dumps(fix, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()
        return _read_verdict(self._send(POSITIONS_PATH, body))

    def post_batch(self, fixes: Sequence[bytes]) -> BatchAnswer:
        """Post up to 1,000 fixes, each a JSON object as UTF-8, and return what the service says of them.

        Retries and errors are those of ``post``.
        """
        answer = self._send(BATCH_PATH, b'{"fixes":[' + b",".join(fixes) + b"]}")
        return _read_batch(answer, len(fixes))

    def refusal(self) -> str | None:
        """Return the code for which the service refuses what this tracker signs, None if it knows it.

        It posts a batch without fixes: what is wrong with that is told only to whoever has signed.
        """
        answer = self._send(BATCH_PATH, b'{"fixes":[]}')
        if answer.status_code not in {401, 403}:
            return None
        return _code_of(_json_object(answer)) or f"http_{answer.status_code}"

    def _send(self, path: str, body: bytes) -> httpx.Response:
        """Send a signed body until there is an answer that a repeat would not change, and return that."""
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
                answer = self._attempt(path, message_id, body, max(remaining, 0.05))
            except httpx.RequestError as error:
                last = f"{type(error).__name__}: {error}"
            else:
                if answer.status_code not in _ASKED_AGAIN and answer.status_code < 500:
                    if clock_was_set or not self._set_clock(answer):
                        return answer
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

    def _attempt(self, path: str, message_id: str, body: bytes, remaining_s: float) -> httpx.Response:
        # A buffered fix is signed when it is sent: the service bounds the age of the attempt, never
        # the age of the fix.
        timestamp = int(time.time() + self._clock.ahead_s)
        return self._http.post(
            self._base_url + path,
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
        """Set the clock by a refusal for the time of the attempt; return whether it was one."""
        if not 400 <= answer.status_code < 500 or _code_of(_json_object(answer)) != _CLOCK_IS_WRONG:
            return False
        moment = _http_date(answer.headers.get("date", ""))
        if moment is None:
            return False
        self._clock.ahead_s = moment.timestamp() - time.time()
        return True


def _json_object(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        body = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def _code_of(problem: Mapping[str, Any] | None) -> str | None:
    code = problem.get("code") if problem else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


def _read_batch(answer: httpx.Response, length: int) -> BatchAnswer:
    status = answer.status_code
    body = _json_object(answer)
    if 400 <= status < 500:
        return BatchAnswer(status, None, _code_of(body))
    verdicts = body.get("verdicts") if body is not None and status == 200 else None
    if (
        not isinstance(verdicts, list)
        or len(verdicts) != length
        or not all(isinstance(each, dict) and isinstance(each.get("verdict"), str) for each in verdicts)
    ):
        raise _unexpected(answer)
    return BatchAnswer(status, verdicts, None)


def _unexpected(answer: httpx.Response) -> UnexpectedAnswerError:
    kind = answer.headers.get("content-type", "no media type")
    return UnexpectedAnswerError(f"{answer.url} answered {answer.status_code} ({kind}), which is no verdict")


def _read_verdict(answer: httpx.Response) -> Verdict:
    status = answer.status_code
    body = _json_object(answer)
    if status in _VERDICT_BY_STATUS and body is not None:
        latest = body.get("latest")
        known = latest if isinstance(latest, bool) else None
        return Verdict(status, _VERDICT_BY_STATUS[status], None, known, body)
    if 400 <= status < 500:
        return Verdict(status, "invalid", _code_of(body), None, body or {})
    raise _unexpected(answer)


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
