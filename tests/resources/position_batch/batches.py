"""Batches that a tracker posts, and what became of them."""

from collections.abc import Mapping
from typing import Any

from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import EPOCH, SigningTracker, World
from tests.support.urls import BATCH

STORED, LATEST = {"verdict": "stored", "latest": False}, {"verdict": "stored", "latest": True}


def post(client: CheckedClient, tracker: SigningTracker, fixes: list[Any]) -> Any:
    return client.post(BATCH, **tracker.signed({"fixes": fixes}))


def verdicts_of(client: CheckedClient, tracker: SigningTracker, fixes: list[Any]) -> list[dict[str, Any]]:
    answer = post(client, tracker, fixes)
    assert answer.status_code == 200, answer.json
    verdicts: list[dict[str, Any]] = answer.json["verdicts"]
    assert len(verdicts) == len(fixes)
    return verdicts


def problem_of(answer: Any, status: int, code: str) -> Mapping[str, Any]:
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.json
    problem: Mapping[str, Any] = answer.json
    return problem


def stored_in(world: World) -> list[tuple[int, float]]:
    """Return the vessel of each stored fix, and its seconds after EPOCH."""
    rows = sql.run(
        world.database, "SELECT vessel_id, recorded_at FROM positions ORDER BY vessel_id, recorded_at"
    )
    return [(row.vessel_id, (row.recorded_at - EPOCH).total_seconds()) for row in rows]
