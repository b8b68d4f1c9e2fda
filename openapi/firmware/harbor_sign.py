# ruff: noqa: INP001 - a file to copy onto a board, not a package
"""Sign fixes for Harbor API (Standard Webhooks v1) and send them: MicroPython's subset of Python.

Needs hashlib.sha256, binascii, json and time; MicroPython has no hmac in its core, so it is here.
`deliver` shows what to do with each answer; how to reach the network and where to keep fixes is
yours. Runs unchanged on CPython.

    headers = sign_headers("trk_0001", "1-42", unix_now, body, [secret])
"""

import binascii
import hashlib
import json
import time

ERASE = "erase"  # the fix has its verdict: drop it
SET_CLOCK = "set the clock"  # take the time from Date, sign again, send again
RETRY = "retry"  # keep the fix, wait, sign again, send again
SPLIT = "split"  # keep the fixes, send each half as a batch of its own; a batch of one: as SET_ASIDE
SET_ASIDE = "set aside"  # this request can never work: keep the fix, go on with the next one
HOLD = "hold"  # nothing that is sent now can work: keep every fix, report, try again slowly

SECONDS_BEFORE_2000 = 946684800
MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
DAYS_BEFORE_MONTH = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365)


def secret_key(secret):
    """Return the 32 bytes that a `whsec_` secret stands for; ValueError if it is not one."""
    if not secret.startswith("whsec_") or len(secret) != 50 or secret[49] != "=":
        raise ValueError("a secret is whsec_ and 44 characters of base64")
    # Some MicroPython builds take bytes only, and some skip wrong characters without a word.
    key = binascii.a2b_base64(secret[6:].encode())
    if len(key) != 32:
        raise ValueError("a secret holds 32 bytes")
    return key


def hmac_sha256(key, pieces):
    """Return the HMAC-SHA256 (RFC 2104) of the pieces one after another, for a key of 32 bytes."""
    inner = hashlib.sha256(bytes([byte ^ 0x36 for byte in key]) + b"\x36" * 32)
    for piece in pieces:
        inner.update(piece)
    outer = hashlib.sha256(bytes([byte ^ 0x5C for byte in key]) + b"\x5c" * 32)
    outer.update(inner.digest())
    return outer.digest()


def sign(secret, message_id, timestamp, body):
    """Return one signature, `v1,` and base64, of a body given as bytes."""
    prefix = message_id + "." + str(timestamp) + "."
    mac = hmac_sha256(secret_key(secret), (prefix.encode(), body))
    # b2a_base64 puts a line feed at the end.
    return "v1," + binascii.b2a_base64(mac).decode().strip()


def sign_headers(tracker_id, suffix, timestamp, body, secrets):
    """Return the headers to send with a body; give both secrets while keys rotate, else one."""
    message_id = tracker_id + "-" + suffix
    signatures = [sign(secret, message_id, timestamp, body) for secret in secrets]
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def _number(text):
    for character in text:
        if character not in "0123456789":
            raise ValueError("not an HTTP date")
    return int(text)


def parse_date(text):
    """Return the unix seconds of an HTTP Date, `Sun, 06 Nov 1994 08:49:37 GMT`; else ValueError."""
    text = text.strip()
    if (
        len(text) != 29
        or text[3:5] != ", "
        or text[7] + text[11] + text[16] + text[25:] != "    GMT"
        or text[19] + text[22] != "::"
        or text[8:11] not in MONTHS
    ):
        raise ValueError("not an HTTP date")
    month, in_the_middle = divmod(MONTHS.find(text[8:11]), 3)
    day = _number(text[5:7])
    year = _number(text[12:16])
    hour = _number(text[17:19])
    minute = _number(text[20:22])
    second = _number(text[23:25])
    leap = 1 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 0
    days_in_month = DAYS_BEFORE_MONTH[month + 1] - DAYS_BEFORE_MONTH[month]
    if month == 1:
        days_in_month += leap
    if in_the_middle or year < 1970 or not 1 <= day <= days_in_month:
        raise ValueError("not an HTTP date")
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("not an HTTP date")
    past = year - 1
    leap_days = past // 4 - past // 100 + past // 400 - 477  # 477 of them up to 1969
    if month > 1:
        leap_days += leap
    days = (year - 1970) * 365 + leap_days + DAYS_BEFORE_MONTH[month] + day - 1
    return ((days * 24 + hour) * 60 + minute) * 60 + second


class Clock:
    """Unix time from a board's own clock, which may count from 2000 and may have lost the time."""

    def __init__(self):
        self.offset = SECONDS_BEFORE_2000 if time.gmtime(0)[0] == 2000 else 0

    def now(self):
        """Return the unix seconds of this moment."""
        return int(time.time()) + self.offset

    def set_from(self, date):
        """Take over the time of a Date header; call it soon after the answer came."""
        self.offset += parse_date(date) - self.now()


def what_to_do(status, code=None, batch=False):
    """Return what an answer means for the fix, or the batch, that was sent; status 0 is no answer."""
    if status == 200 or (status in (201, 202, 422) and not batch):
        return ERASE
    if status == 401 and code == "timestamp_out_of_tolerance":
        return SET_CLOCK
    if status == 0 or status in (408, 429) or status >= 500:
        return RETRY
    if status in (400, 413):
        return SPLIT if batch else SET_ASIDE
    if status == 415:
        return SET_ASIDE
    return HOLD  # 401, 403, 404 and what no Harbor API answers


def wait_before(attempt, retry_after, seed):
    """Return the seconds to wait for the next attempt: 5 s doubled up to 300 s, half of it random.

    The random part comes from a hash of `seed` (bytes: message id and time), because many boards
    start with the same random numbers, and a fleet that waits alike comes back at once.
    """
    longest = min(300, 5 << min(attempt, 6))
    jitter = hashlib.sha256(seed + bytes([attempt & 255])).digest()[0] / 256
    return max(longest / 2, retry_after) + longest / 2 * jitter


def deliver(body, suffix, tracker_id, secrets, *, post, clock, sleep=time.sleep, attempts=8, batch=False):
    """Send one fix until it is decided: ERASE, SET_ASIDE or HOLD, and RETRY after the last attempt.

    `post(headers, body)` does the HTTPS request to /api/v1/positions and returns (status, headers
    with lower-case names, body), or raises OSError where there is no answer. Of a batch, which goes
    to /api/v1/positions/batch, it may come to SPLIT.
    """
    for attempt in range(attempts):
        # Each attempt is signed anew: the timestamp is that of the attempt, not that of the fix.
        now = clock.now()
        headers = sign_headers(tracker_id, suffix, now, body, secrets)
        try:
            status, answer, text = post(headers, body)
        except OSError:
            status, answer, text = 0, {}, b""
        code = None
        if status == 401:
            try:  # noqa: SIM105 - MicroPython has no contextlib
                code = json.loads(text)["code"]
            except (ValueError, KeyError, TypeError):
                pass  # a proxy's answer, not the service's
        action = what_to_do(status, code, batch)
        if action == SET_CLOCK:
            try:
                clock.set_from(answer.get("date", ""))
            except ValueError:
                return HOLD
            if attempt == 0:
                continue  # the clock is right now: no need to wait
        elif action != RETRY:
            return action
        if attempt < attempts - 1:
            after = answer.get("retry-after", "")
            seconds = int(after) if after.isdigit() else 0
            sleep(wait_before(attempt, seconds, (headers["webhook-id"] + str(now)).encode()))
    return RETRY
