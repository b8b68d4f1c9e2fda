"""The MicroPython signer: against the vectors, under CPython and under the real interpreter."""

import base64
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harbor_api.domain import signatures

FIRMWARE = Path(__file__).resolve().parents[2] / "openapi" / "firmware"
SECRET = signatures.derive_secret(bytes(range(32)), "trk_0001", 1)
OTHER_SECRET = signatures.derive_secret(bytes(range(32)), "trk_0001", 2)
BODY = b'{"recorded_at":"2026-01-02T03:04:05Z","lat":59.9,"lon":10.7}'
STALE = json.dumps({"status": 401, "code": "timestamp_out_of_tolerance"}).encode()
WRONG = json.dumps({"status": 401, "code": "signature_invalid"}).encode()
DATE = "Fri, 02 Jan 2026 03:04:05 GMT"
NOW = 1767323045

# Appended to the signer's own text, because some MicroPython builds have no files to import from.
# It prints one line for each disagreement, and a last one.
DRIVER = """
import sys

vectors = json.loads(VECTORS)
for name, secrets, message_id, timestamp, text, times, expected in vectors:
    tracker, suffix = message_id.split("-", 1)
    body = binascii.a2b_base64(text.encode()) * times
    made = sign_headers(tracker, suffix, int(timestamp), body, secrets)
    if made["webhook-signature"] != expected or made["webhook-id"] != message_id:
        print("vector", name, made)
dates = json.loads(DATES)
for text, seconds in dates:
    try:
        read = parse_date(text)
    except ValueError:
        read = None
    if read != seconds:
        print("date", repr(text), read)
for text in json.loads(SECRETS):
    try:
        secret_key(text)
        print("secret", repr(text))
    except Exception:  # some builds' binascii raises no ValueError
        pass

# A board that believes it is 1970 sets its clock from the first answer; then the network fails.
sent = []
slept = []
clock = Clock()
clock.offset -= clock.now()

def post(headers, body):
    sent.append(int(headers["webhook-timestamp"]))
    if len(sent) == 1:
        return 401, {"date": "Fri, 02 Jan 2026 03:04:05 GMT"}, STALE
    if len(sent) == 2:
        raise OSError("no network")
    if len(sent) == 3:
        return 503, {"retry-after": "400"}, b"<html>"
    return 201, {}, b"{}"

secrets = vectors[0][1]
done = deliver(b"{}", "1", "trk_0001", secrets, post=post, clock=clock, sleep=slept.append)
if done != ERASE or len(sent) != 4 or sent[0] > 9 or not 0 <= sent[1] - 1767323045 < 60:
    print("deliver", done, sent)
if len(slept) != 2 or not 5 <= slept[0] <= 10 or not 400 <= slept[1] <= 410:
    print("waits", slept)
print("done", len(vectors), len(dates), sys.implementation[0], sys.implementation[1])
"""

REFUSED_SECRETS = [
    "",
    "whsec_",
    SECRET[6:],
    SECRET[:-1],
    SECRET + "=",
    SECRET + "\n",
    SECRET.replace("K", "*", 1),
    "whsec_" + "A" * 40 + "====",
]


def test_headers_equal_the_vectors(
    harbor_sign: ModuleType, signed_vectors: list[tuple[dict[str, Any], bytes]]
) -> None:
    for vector, body in signed_vectors:
        tracker, _, suffix = vector["webhook_id"].partition("-")
        secrets = [vector["secret"], vector.get("other_secret")]
        made = harbor_sign.sign_headers(
            tracker,
            suffix,
            int(vector["webhook_timestamp"]),
            body,
            [secret for secret in secrets if secret is not None],
        )
        assert made == {
            "content-type": "application/json",
            "webhook-id": vector["webhook_id"],
            "webhook-timestamp": vector["webhook_timestamp"],
            "webhook-signature": vector["webhook_signature"],
        }, vector["name"]


@settings(derandomize=True, database=None, deadline=None)
@given(body=st.binary(max_size=300), timestamp=st.integers(0, 2**33))
def test_random_bodies_are_signed_as_by_the_service(
    harbor_sign: ModuleType, body: bytes, timestamp: int
) -> None:
    made = harbor_sign.sign(SECRET, "trk_0001-1", timestamp, body)
    assert made == signatures.sign(SECRET, "trk_0001-1", timestamp, body)


def test_dates_are_read_as_in_c(harbor_sign: ModuleType, dates: list[tuple[str, int | None]]) -> None:
    for text, seconds in dates:
        if seconds is None:
            with pytest.raises(ValueError, match="not an HTTP date"):
                harbor_sign.parse_date(text)
        else:
            assert harbor_sign.parse_date(text) == seconds, text


@pytest.mark.parametrize("secret", REFUSED_SECRETS)
def test_malformed_secret_is_refused(harbor_sign: ModuleType, secret: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - some of them are binascii's own
        harbor_sign.secret_key(secret)


def test_real_micropython_agrees(
    micropython: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    signed_vectors: list[tuple[dict[str, Any], bytes]],
    dates: list[tuple[str, int | None]],
) -> None:
    rows = []
    for vector, body in signed_vectors:
        repeated = vector.get("body_repeat", {"text": "", "times": 1})
        text = repeated["text"].encode() or body
        rows.append(
            [
                vector["name"],
                [each for each in (vector["secret"], vector.get("other_secret")) if each],
                vector["webhook_id"],
                vector["webhook_timestamp"],
                base64.b64encode(text).decode(),
                repeated["times"],
                vector["webhook_signature"],
            ]
        )
    constants = {
        "VECTORS": json.dumps(rows),
        "DATES": json.dumps(dates),
        "SECRETS": json.dumps(REFUSED_SECRETS),
        "STALE": STALE,
    }
    script = tmp_path / "driver.py"
    script.write_text(
        (FIRMWARE / "harbor_sign.py").read_text(encoding="utf-8")
        + "".join(f"{name} = {value!r}\n" for name, value in constants.items())
        + DRIVER,
        encoding="utf-8",
    )
    ran = subprocess.run([*micropython, str(script)], capture_output=True, text=True, check=False, timeout=60)
    lines = ran.stdout.splitlines()
    assert len(lines) == 1, ran.stdout + ran.stderr
    assert lines[0].startswith(f"done {len(rows)} {len(dates)} micropython "), lines
    with capsys.disabled():
        print("", lines[0].removeprefix("done "), sep="\n")


@pytest.mark.parametrize(
    ("status", "code", "action"),
    [
        (201, None, "ERASE"),
        (200, None, "ERASE"),
        (202, None, "ERASE"),
        (422, None, "ERASE"),
        (401, "timestamp_out_of_tolerance", "SET_CLOCK"),
        (401, "signature_invalid", "HOLD"),
        (401, "signature_missing", "HOLD"),
        (401, None, "HOLD"),
        (403, None, "HOLD"),
        (404, None, "HOLD"),
        (405, None, "HOLD"),
        (301, None, "HOLD"),
        (204, None, "HOLD"),
        (400, None, "SET_ASIDE"),
        (413, None, "SET_ASIDE"),
        (415, None, "SET_ASIDE"),
        (0, None, "RETRY"),
        (408, None, "RETRY"),
        (429, None, "RETRY"),
        (500, None, "RETRY"),
        (502, None, "RETRY"),
        (503, None, "RETRY"),
    ],
)
def test_action_for_each_answer(harbor_sign: ModuleType, status: int, code: str | None, action: str) -> None:
    assert harbor_sign.what_to_do(status, code) == getattr(harbor_sign, action)


@pytest.mark.parametrize(
    ("status", "action"),
    [(200, "ERASE"), (201, "HOLD"), (202, "HOLD"), (422, "HOLD"), (400, "SPLIT"), (413, "SPLIT")],
)
def test_a_batch_is_erased_for_its_verdicts_alone(harbor_sign: ModuleType, status: int, action: str) -> None:
    assert harbor_sign.what_to_do(status, batch=True) == getattr(harbor_sign, action)
    service = Service((status, {}, b"{}"))
    assert deliver(harbor_sign, service, batch=True) == getattr(harbor_sign, action)


class Service:
    """Gives the listed answers one after another and checks each request's signature."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes] | None) -> None:
        self.answers = list(answers)
        self.timestamps: list[int] = []
        self.slept: list[float] = []

    def post(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        assert signatures.verify(
            SECRET,
            headers["webhook-id"],
            headers["webhook-timestamp"],
            body,
            headers["webhook-signature"],
        )
        self.timestamps.append(int(headers["webhook-timestamp"]))
        answer = self.answers.pop(0)
        if answer is None:
            raise OSError("no answer")
        return answer


class TickingClock:
    """A clock that starts where it is told and goes on by one second each time it is read."""

    def __init__(self, harbor_sign: ModuleType, seconds: int) -> None:
        self.seconds = seconds
        self.parse_date = harbor_sign.parse_date

    def now(self) -> int:
        self.seconds += 1
        return self.seconds

    def set_from(self, date: str) -> None:
        self.seconds = self.parse_date(date)


def deliver(harbor_sign: ModuleType, service: Service, *, now: int = NOW, **rest: Any) -> Any:
    return harbor_sign.deliver(
        BODY,
        "1-42",
        "trk_0001",
        [OTHER_SECRET, SECRET],
        post=service.post,
        clock=TickingClock(harbor_sign, now),
        sleep=service.slept.append,
        **rest,
    )


def test_deliver_signs_each_attempt_anew(harbor_sign: ModuleType) -> None:
    service = Service(None, (503, {"retry-after": "30"}, b"<html>"), (201, {}, b"{}"))
    assert deliver(harbor_sign, service) == harbor_sign.ERASE
    assert service.timestamps == [NOW + 1, NOW + 2, NOW + 3]
    first, second = service.slept
    assert 2.5 <= first <= 5
    assert second >= 30


def test_deliver_sets_a_dead_clock_and_sends_at_once(harbor_sign: ModuleType) -> None:
    service = Service((401, {"date": DATE}, STALE), (201, {}, b"{}"))
    assert deliver(harbor_sign, service, now=86) == harbor_sign.ERASE
    assert service.timestamps == [87, NOW + 1]
    assert service.slept == []


def test_deliver_does_not_spin_when_the_clock_cannot_be_set(harbor_sign: ModuleType) -> None:
    service = Service(*[(401, {"date": DATE}, STALE)] * 8)
    assert deliver(harbor_sign, service) == harbor_sign.RETRY
    assert len(service.slept) == 6
    without_date = Service((401, {}, STALE))
    assert deliver(harbor_sign, without_date) == harbor_sign.HOLD


def test_deliver_holds_what_a_wrong_key_signed(harbor_sign: ModuleType) -> None:
    for text in (WRONG, b"", b"<html>", b"[]", b'{"code": null}'):
        service = Service((401, {"date": DATE}, text))
        assert deliver(harbor_sign, service) == harbor_sign.HOLD
        assert len(service.timestamps) == 1


def test_deliver_gives_up_for_now_after_eight_attempts(harbor_sign: ModuleType) -> None:
    service = Service(*[None] * 8)
    assert deliver(harbor_sign, service) == harbor_sign.RETRY
    assert len(service.slept) == 7


def test_waits_double_and_differ_between_trackers(harbor_sign: ModuleType) -> None:
    for attempt in range(200):
        longest = min(300, 5 * 2**attempt)
        waits = {harbor_sign.wait_before(attempt, 0, b"%d" % tracker) for tracker in range(50)}
        assert longest / 2 <= min(waits) < max(waits) <= longest
        assert len(waits) > 20
        assert harbor_sign.wait_before(attempt, 1000, b"") >= 1000


@pytest.mark.parametrize("epoch", [1970, 2000])
def test_clock_knows_both_epochs(
    harbor_sign: ModuleType, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    class BoardTime:
        @staticmethod
        def gmtime(seconds: int) -> tuple[int, ...]:
            assert seconds == 0
            return (epoch, 1, 1)

        @staticmethod
        def time() -> int:
            return 100

    monkeypatch.setattr(harbor_sign, "time", BoardTime)
    clock = harbor_sign.Clock()
    assert clock.now() == (100 if epoch == 1970 else 946684900)
    clock.set_from(DATE)
    assert clock.now() == NOW
