"""Two entries of the audit trail."""

from harbor_api.schemas.examples.night import Answers, Json, at, page
from harbor_api.schemas.examples.vessels import CARGO

_BY_KEY: Json = {
    "id": 12,
    "at": at("08:14:30"),
    "actor": "key 1 (Operations)",
    "api_key_id": 1,
    "action": "quarantine.rejected",
    "subject": "quarantine/1",
    "before": {"state": "held", "decided_at": None},
    "after": {"state": "rejected", "decided_at": at("08:14:30")},
    "request_id": "5f2b6f0e4c9d4e21b7a1c06c2a6d8f11",
}
_BY_HAND: Json = {
    "id": 11,
    "at": at("2026-01-01T09:00:00"),
    "actor": "cli: olav",
    "api_key_id": None,
    "action": "vessel.created",
    "subject": "vessels/1",
    "before": None,
    "after": {name: value for name, value in CARGO.items() if value is not None},
    "request_id": None,
}

ANSWERS: Answers = {
    "listAudit": {
        200: {
            "newest_first": (
                "A change with a key and one at the command line",
                page("audit", _BY_KEY, _BY_HAND, more="/api/v1/audit?limit=2&cursor=after-11"),
            )
        }
    },
}
