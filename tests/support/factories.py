"""Small worlds for tests: each makes what it needs and says only what matters to it."""

import base64
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.urls import CHECK, POSITIONS

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.api_keys import ApiKey, Caller, KeyTerms
from harbor_api.domain.audit import Actor
from harbor_api.domain.signatures import derive_secret, sign
from harbor_api.domain.times import rfc3339
from harbor_api.domain.trackers import Tracker
from harbor_api.domain.vessels import Vessel, VesselDetails
from harbor_api.repositories.fleet import Fleet
from harbor_api.services import api_keys, trackers, vessels

MASTER_KEY = bytes(range(32))
MASTER_KEY_TEXT = base64.b64encode(MASTER_KEY).decode()
EPOCH = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ACTOR = Actor(name="test")
STALE_AFTER = timedelta(minutes=15)
FUTURE_TOLERANCE = timedelta(minutes=5)
# Sees everything, as a key for all vessels does.
EVERYTHING = Caller(
    id=0,
    name="test",
    scopes=frozenset(),
    all_vessels=True,
    delay_s=0,
    coordinate_decimals=None,
    history_days=None,
    requests_per_minute=None,
)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class SigningTracker:
    """A tracker that is registered, with its secret."""

    tracker: Tracker
    secret: str

    def signed(
        self,
        body: Mapping[str, Any] | bytes,
        *,
        timestamp: int | None = None,
        id: str | None = None,
        url: str = POSITIONS,
    ) -> dict[str, Any]:
        """Return the keyword arguments with which a client posts a signed body to a URL."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        moment = int(time.time()) if timestamp is None else timestamp
        kind = "check-" if url == CHECK else ""
        message_id = id or f"{self.tracker.id}-{kind}{next(_numbers)}"
        return {
            "data": data,
            "headers": {
                "content-type": "application/json",
                "webhook-id": message_id,
                "webhook-timestamp": str(moment),
                "webhook-signature": sign(self.secret, message_id, moment, data),
            },
        }


@dataclass(frozen=True)
class World:
    """Makes rows in a database through the services that operators use."""

    database: Database

    def vessel(self, name: str = "Skagerrak Trader", **details: Any) -> Vessel:
        with self.database.unit_of_work() as unit_of_work:
            return vessels.register(unit_of_work, VesselDetails(name=name, **details), actor=ACTOR)

    def tracker(self, vessel: Vessel | None = None, *, test: bool = False) -> SigningTracker:
        vessel = vessel or self.vessel()
        with self.database.unit_of_work() as unit_of_work:
            tracker = trackers.register(
                unit_of_work, vessel_id=vessel.id, label="bridge", test=test, actor=ACTOR
            )
        return SigningTracker(tracker, derive_secret(MASTER_KEY, tracker.id, tracker.generation))

    def disabled_tracker(self) -> SigningTracker:
        signing = self.tracker()
        with self.database.unit_of_work() as unit_of_work:
            trackers.disable(unit_of_work, signing.tracker.number, now=datetime.now(UTC), actor=ACTOR)
        return signing

    def key(
        self, *scopes: str, requests_per_minute: int | None = 1_000_000, **rest: Any
    ) -> tuple[ApiKey, str]:
        terms = KeyTerms(
            name="a partner",
            scopes=frozenset(scopes or ("vessels:read",)),
            requests_per_minute=requests_per_minute,
            **rest,
        )
        with self.database.unit_of_work() as unit_of_work:
            return api_keys.issue(unit_of_work, terms, actor=ACTOR)

    def revoke(self, key: ApiKey) -> None:
        with self.database.unit_of_work() as unit_of_work:
            api_keys.revoke(unit_of_work, key.id, actor=ACTOR)

    def bearer(self, *scopes: str, **rest: Any) -> dict[str, str]:
        """Return the headers of a caller with a new key."""
        return {"Authorization": f"Bearer {self.key(*scopes, **rest)[1]}"}


class _RolledBack(Exception):
    """What ends a unit of work that leaves nothing behind."""


@contextmanager
def rolled_back(database: Database) -> Iterator[UnitOfWork]:
    """Open a unit of work in which everything is run, and which leaves nothing behind."""
    with suppress(_RolledBack), database.unit_of_work() as unit_of_work:
        yield unit_of_work
        raise _RolledBack


def fleet_of(unit_of_work: UnitOfWork, viewer: Caller) -> Fleet:
    """Return the fleet as a key sees it."""
    sight = unit_of_work.sight(viewer, future_tolerance=FUTURE_TOLERANCE)
    return unit_of_work.fleet(sight, stale_after=STALE_AFTER)


# All that a fix may tell.
FIX = {
    "recorded_at": "2026-01-02T03:04:05Z",
    "lat": 59.9,
    "lon": 10.7,
    "sog": 8.4,
    "cog": 181.2,
    "heading": 180,
    "nav_status": 0,
    "accuracy_m": 4,
    "battery_v": 3.9,
    "number": 1041,
}


def a_fix(seconds: float = 0, **members: Any) -> dict[str, Any]:
    """Return the JSON of a fix some seconds after EPOCH."""
    moment = EPOCH + timedelta(seconds=seconds)
    return {
        "recorded_at": rfc3339(moment),
        "lat": 59.9,
        "lon": 10.7,
        "sog": 8.4,
        "cog": 181.2,
        "heading": 180,
        **members,
    }
