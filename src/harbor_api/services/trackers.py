"""Trackers: who signed a request, and what an operator does with a tracker."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from harbor_api.domain import diagnosis, signatures
from harbor_api.domain.entities import Actor, Tracker, Vessel
from harbor_api.domain.errors import (
    Conflict,
    NotFound,
    SignatureInvalid,
    SignatureMissing,
    TimestampOutOfTolerance,
    TrackerDisabled,
)
from harbor_api.domain.signatures import SignedMessage
from harbor_api.services import audit
from harbor_api.services.rotation import demand_rotatable
from harbor_api.services.versions import demand

if TYPE_CHECKING:
    from harbor_api.database import UnitOfWork

TOLERANCE_S = 300
# Nothing undoes an assignment but the next one, which must be later.
_FURTHEST_AHEAD = timedelta(days=30)
_MESSAGE_ID = re.compile(r"(trk_[0-9]{4,10})-[A-Za-z0-9_-]{1,64}", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SigningTracker:
    """A tracker that has signed. ``secret_ends_at`` is told where it signs with its previous secret."""

    tracker: Tracker
    secret_ends_at: datetime | None


def read_headers(*, id: str, timestamp: str, signature: str, body: bytes, now: datetime) -> SignedMessage:  # noqa: A002 - the header's own name
    """Return what the three webhook headers say, "" for one that is not there.

    SignatureMissing where one is missing or malformed, TimestampOutOfTolerance where the attempt is more
    than TOLERANCE_S seconds away from now. The time is that of the attempt; a fix from flash is signed
    again when it is sent.
    """
    identity = _MESSAGE_ID.fullmatch(id)
    if identity is None:
        raise SignatureMissing("webhook-id must be <tracker id>-<1 to 64 of A-Z a-z 0-9 _ ->")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureMissing("webhook-timestamp must be the unix time of this attempt in seconds")
    if not signature:
        raise SignatureMissing("webhook-signature must hold at least one v1 signature")
    if abs(int(timestamp) - now.timestamp()) > TOLERANCE_S:
        raise TimestampOutOfTolerance(
            f"webhook-timestamp is more than {TOLERANCE_S} s away from the server's clock"
        )
    return SignedMessage(identity[1], id, timestamp, signature, body, now)


def authenticate(
    tracker: Tracker | None,
    message: SignedMessage,
    *,
    master_key: bytes,
    explain: bool = False,
) -> SigningTracker:
    """Return the tracker, which signed the message; SignatureInvalid or TrackerDisabled otherwise.

    ``tracker`` is the one that the message names, None where there is none. That gets the answer of a wrong
    signature, after the same work, so that nobody can find out which numbers exist. With ``explain`` a
    tracker under test is told what it had to sign.
    """
    generations = _valid_generations(tracker, message.received_at) if tracker else [0]
    secrets = [signatures.derive_secret(master_key, message.tracker_id, each) for each in generations]
    signed = [
        signatures.verify(secret, message.id, message.timestamp, message.body, message.signature)
        for secret in secrets
    ]
    if tracker is None or not any(signed):
        error = SignatureInvalid("No signature fits the headers and the body as they arrived")
        if explain and tracker is not None and tracker.test:
            error.members["expected"] = diagnosis.expected(message, secrets)
        raise error
    if tracker.disabled_at is not None:
        raise TrackerDisabled
    return SigningTracker(tracker, None if signed[0] else tracker.previous_valid_until)


def ensure(unit_of_work: "UnitOfWork", vessel: Vessel, *, label: str, actor: Actor) -> Tracker:
    """Return the vessel's tracker with this label, registering it where there is none."""
    for tracker in unit_of_work.trackers.of_vessel(vessel.id):
        if tracker.label == label and tracker.vessel_id == vessel.id:
            return tracker
    return register(unit_of_work, vessel_id=vessel.id, label=label, actor=actor)


def register(
    unit_of_work: "UnitOfWork", *, vessel_id: int, label: str, test: bool = False, actor: Actor
) -> Tracker:
    """Register a tracker for a vessel in service; Conflict where there is none with this id."""
    _demand_in_service(unit_of_work, vessel_id)
    tracker = unit_of_work.trackers.add(vessel_id=vessel_id, label=label, test=test)
    audit.note(unit_of_work, actor, "tracker.created", _subject(tracker), after=_state(tracker))
    return tracker


def reassign(
    unit_of_work: "UnitOfWork",
    number: int,
    *,
    vessel_id: int,
    starts_at: datetime,
    now: datetime,
    versions: Collection[int] | None,
    actor: Actor,
) -> Tracker:
    """Let a tracker's fixes belong to another vessel from a moment on.

    What is stored stays where it is, and older fixes that are still to come go to the vessel that they
    were taken on. Conflict where a fix of that moment or later is stored already, where another
    assignment starts then or later, or where the vessel has too many fixes since then to tell;
    PreconditionFailed and NotFound as with all changes.
    """
    before = unit_of_work.trackers.lock(number)
    demand(before.version, versions)
    _demand_in_service(unit_of_work, vessel_id)
    newest = unit_of_work.trackers.newest_fix(before, since=starts_at)
    if newest is not None:
        raise Conflict(f"A fix of {newest.isoformat()} is stored already; begin after it")
    if starts_at > now + _FURTHEST_AHEAD:
        raise Conflict(f"A tracker is assigned no more than {_FURTHEST_AHEAD.days} days ahead")
    if starts_at <= before.assignments[-1].starts_at:
        raise Conflict("The tracker is assigned anew at that moment or later already")
    unit_of_work.trackers.assign(number, vessel_id, starts_at=starts_at)
    after = unit_of_work.trackers.change(number, {})
    audit.note(
        unit_of_work,
        actor,
        "tracker.reassigned",
        _subject(after),
        before={"vessel_id": before.vessel_id},
        after={"vessel_id": vessel_id, "starts_at": starts_at},
    )
    return after


def change(
    unit_of_work: "UnitOfWork",
    number: int,
    members: Mapping[str, Any],
    *,
    versions: Collection[int] | None,
    actor: Actor,
) -> Tracker:
    """Change a tracker's label or whether it is under test."""
    before = unit_of_work.trackers.lock(number)
    demand(before.version, versions)
    if all(getattr(before, name) == value for name, value in members.items()):
        return before
    return _changed(unit_of_work, before, "tracker.changed", members, actor=actor)


def disable(unit_of_work: "UnitOfWork", number: int, *, now: datetime, actor: Actor) -> Tracker:
    """Refuse what a tracker signs from now on; one that is disabled stays as it is."""
    before = unit_of_work.trackers.lock(number)
    if before.disabled_at is not None:
        return before
    return _changed(unit_of_work, before, "tracker.disabled", {"disabled_at": now}, actor=actor)


def enable(unit_of_work: "UnitOfWork", number: int, *, actor: Actor) -> Tracker:
    """Let a tracker post again."""
    before = unit_of_work.trackers.lock(number)
    if before.disabled_at is None:
        return before
    return _changed(unit_of_work, before, "tracker.enabled", {"disabled_at": None}, actor=actor)


def rotate(
    unit_of_work: "UnitOfWork", number: int, *, grace: timedelta, now: datetime, actor: Actor
) -> Tracker:
    """Give a tracker its next secret; the one it has holds for the grace time.

    Conflict while the grace time of an earlier rotation lasts: a second one would end the secret that
    the tracker still signs with. Without any grace all earlier secrets end at once, which is for a
    secret that got into wrong hands.
    """
    before = unit_of_work.trackers.lock(number)
    demand_rotatable(before.previous_valid_until, grace=grace, now=now)
    members = {"generation": before.generation + 1, "previous_valid_until": now + grace if grace else None}
    return _changed(unit_of_work, before, "tracker.rotated", members, actor=actor)


def _changed(
    unit_of_work: "UnitOfWork", before: Tracker, action: str, members: Mapping[str, Any], *, actor: Actor
) -> Tracker:
    after = unit_of_work.trackers.change(before.number, members)
    audit.note(unit_of_work, actor, action, _subject(after), before=_state(before), after=_state(after))
    return after


def _demand_in_service(unit_of_work: "UnitOfWork", vessel_id: int) -> None:
    try:
        vessel = unit_of_work.vessels.lock(vessel_id)
    except NotFound:
        raise Conflict(f"There is no vessel {vessel_id}") from None
    if vessel.retired_at is not None:
        raise Conflict(f"The vessel {vessel_id} is retired")


def _subject(tracker: Tracker) -> str:
    return f"trackers/{tracker.id}"


def _state(tracker: Tracker) -> dict[str, Any]:
    return {
        "vessel_id": tracker.vessel_id,
        **{name: getattr(tracker, name) for name in ("label", "test", "generation")},
        **{name: getattr(tracker, name) for name in ("previous_valid_until", "disabled_at")},
    }


def _valid_generations(tracker: Tracker, now: datetime) -> list[int]:
    if tracker.previous_valid_until is not None and now < tracker.previous_valid_until:
        return [tracker.generation, tracker.generation - 1]
    return [tracker.generation]
