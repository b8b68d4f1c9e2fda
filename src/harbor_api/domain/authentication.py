"""Who signed a request: what the three webhook headers say, and whether a tracker's secrets fit."""

import re
from dataclasses import dataclass
from datetime import datetime

from harbor_api.domain import diagnosis, signatures
from harbor_api.domain.errors import (
    SignatureInvalid,
    SignatureMissing,
    TimestampOutOfTolerance,
    TrackerDisabled,
)
from harbor_api.domain.signatures import Secrets, SignedMessage
from harbor_api.domain.trackers import Tracker

TOLERANCE_S = 300
# What the ids begin with, after the tracker's, of messages that are checked and never stored.
CHECKED = "check-"
_MESSAGE_ID = re.compile(r"(trk_[0-9]{4,10})-([A-Za-z0-9_-]{1,64})", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SigningTracker:
    """A tracker that has signed. ``secret_ends_at`` is told where it signs with its previous secret."""

    tracker: Tracker
    secret_ends_at: datetime | None


def read_headers(
    *,
    id: str,  # noqa: A002 - the header's own name
    timestamp: str,
    signature: str,
    body: bytes,
    now: datetime,
    is_check: bool = False,
) -> SignedMessage:
    """Return what the three webhook headers say, "" for one that is not there.

    SignatureMissing where one is missing or malformed. The path is not signed, so the id says whether a
    message may only be checked: one that was signed for the workbench can be stored by nobody, and
    SignatureMissing is raised where its kind is not taken.
    """
    identity = _MESSAGE_ID.fullmatch(id)
    if identity is None:
        raise SignatureMissing(diagnosis.of_message_id(id))
    if identity[2].startswith(CHECKED) is not is_check:
        raise SignatureMissing(
            f"To be checked, a message has a webhook-id like {identity[1]}-{CHECKED}1"
            if is_check
            else f"webhook-id must not begin with {identity[1]}-{CHECKED}: that is for /positions/check alone"
        )
    if not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureMissing(diagnosis.of_timestamp(timestamp))
    if not signature:
        raise SignatureMissing("webhook-signature must hold at least one v1 signature")
    return SignedMessage(identity[1], id, timestamp, signature, body, now)


def demand_fresh(message: SignedMessage) -> None:
    """Raise TimestampOutOfTolerance where the attempt is more than TOLERANCE_S seconds away from now.

    The time is that of the attempt; a fix from flash is signed again when it is sent.
    """
    if abs(int(message.timestamp) - message.received_at.timestamp()) > TOLERANCE_S:
        raise TimestampOutOfTolerance(
            f"webhook-timestamp is more than {TOLERANCE_S} s away from the server's clock"
        )


def authenticate(
    tracker: Tracker | None,
    message: SignedMessage,
    *,
    secrets: Secrets,
    explain: bool = False,
) -> SigningTracker:
    """Return the tracker, which signed the message; SignatureInvalid or TrackerDisabled otherwise.

    ``tracker`` is the one that the message names, None where there is none. That gets the answer of a wrong
    signature, after the same work, so that nobody can find out which numbers exist. With ``explain`` a
    tracker under test is told what it had to sign.
    """
    generations = _valid_generations(tracker, message.received_at) if tracker else [0]
    tried = [secrets.of(message.tracker_id, each) for each in generations]
    signed = [
        signatures.verify(secret, message.id, message.timestamp, message.body, message.signature)
        for secret in tried
    ]
    if tracker is None or not any(signed):
        for each in generations:
            secrets.spend(message.tracker_id, each)
        error = SignatureInvalid(diagnosis.of_signature(message.signature))
        if explain and tracker is not None and tracker.test:
            error.members["expected"] = diagnosis.expected(message, tried)
        raise error
    for each, secret in zip(generations, tried, strict=True):
        secrets.remember(message.tracker_id, each, secret)
    if tracker.disabled_at is not None:
        raise TrackerDisabled
    return SigningTracker(tracker, None if signed[0] else tracker.previous_valid_until)


def _valid_generations(tracker: Tracker, now: datetime) -> list[int]:
    if tracker.previous_valid_until is not None and now < tracker.previous_valid_until:
        return [tracker.generation, tracker.generation - 1]
    return [tracker.generation]
