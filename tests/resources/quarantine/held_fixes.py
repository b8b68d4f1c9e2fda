"""Fixes that are held: posted, listed and decided on, and what the map and the history show of them."""

from collections.abc import Mapping
from typing import Any

from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import SigningTracker, a_fix
from tests.support.urls import POSITIONS, QUARANTINE, VESSELS

from harbor_api.database import Database
from harbor_api.domain.times import rfc3339

NOWHERE = {"lat": 0, "lon": 0}
DECISIONS = {"release": "released", "reject": "rejected"}


def post(client: CheckedClient, tracker: SigningTracker, fix: Mapping[str, Any]) -> dict[str, Any]:
    answer: Any = client.post(POSITIONS, **tracker.signed(fix)).json
    assert isinstance(answer, dict)
    return answer


def listed(client: CheckedClient, headers: Mapping[str, str], **query: Any) -> list[dict[str, Any]]:
    answer = client.get(QUARANTINE, query_string=query, headers=headers)
    assert answer.status_code == 200, answer.json
    found: list[dict[str, Any]] = answer.json["quarantine"]
    return found


def decide_on(client: CheckedClient, headers: Mapping[str, str], held_id: int, what: str) -> Any:
    return client.post(f"{QUARANTINE}/{held_id}/{what}", headers=headers)


def hold(client: CheckedClient, tracker: SigningTracker, seconds: float = 0, **members: Any) -> None:
    """Post a fix that is held for where it is."""
    answer = post(client, tracker, a_fix(seconds, **{**NOWHERE, **members}))
    assert answer["verdict"] == "quarantined"


def on_map(client: CheckedClient, headers: Mapping[str, str]) -> dict[int, tuple[Any, Any]]:
    """Return where each vessel is shown, and from when."""
    features = client.get(VESSELS, headers=headers).json["features"]
    return {
        each["id"]: (
            each["geometry"] and each["geometry"]["coordinates"],
            each["properties"]["recorded_at"],
        )
        for each in features
    }


def history_of(database: Database) -> list[tuple[str, float, Any]]:
    """Return time, latitude and speed of the stored fixes, in order of time."""
    rows = sql.run(database, "SELECT recorded_at, lat, sog FROM positions ORDER BY recorded_at, tracker_id")
    return [(rfc3339(row.recorded_at), row.lat, row.sog) for row in rows]
