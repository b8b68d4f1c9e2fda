"""Who changes something, and what is kept of that."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harbor_api.domain.values import Form

# What a change may be of.
SUBJECT = Form(
    r"(vessels|api-keys|quarantine)/[1-9][0-9]{0,18}|trackers/trk_[0-9]{4,10}|quarantine/selection|master-key",
    "No change is of that: take the `subject` of an entry, such as vessels/1 or trackers/trk_0001.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who changes something: a key, or a person at the command line."""

    name: str
    api_key_id: int | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One administrative change. ``before`` and ``after`` hold what differs, and nothing secret."""

    id: int
    at: datetime
    actor: Actor
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
