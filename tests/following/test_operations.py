"""Whatever happens in whatever order, and whenever somebody reads how much: nobody has a hole."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.conftest import NewDatabase
from tests.following import model
from tests.following.model import Eye, Stretch, only
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import MASTER_KEY, World
from tests.support.urls import POSITIONS

from harbor_api.app import create_app
from harbor_api.database import Database
from harbor_api.domain.fleet_search import Box
from harbor_api.domain.times import rfc3339
from harbor_api.settings import Settings
from harbor_api.web import runtime

VESSELS = (1, 2)
# What is stored within the first and last of these is a minute apart, in two steps of a key with 3 decimals.
PLACES = 7
HERE = Box(10, 59, 11, 60)
_AGO = timedelta(hours=3)
_STORE = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, seq)
VALUES (:vessel, :at, :tracker, :received, :lat, 10.7, 8.4, 181.2, nextval('fleet_order'))
ON CONFLICT DO NOTHING
"""
_WITHDRAW = """
WITH gone AS (
    DELETE FROM positions
    WHERE vessel_id = :vessel AND recorded_at = :at AND tracker_id = :tracker RETURNING *
)
INSERT INTO withdrawals
SELECT nextval('fleet_order'), vessel_id, recorded_at, tracker_id, :received FROM gone
"""
# As time goes by for a key with a delay: the moment up to which it sees comes nearer to what is stored.
_SEE_UP_TO = """
UPDATE api_keys SET delay_s = ceil(extract(epoch FROM now() - CAST(:moment AS timestamptz)))
WHERE delay_s > 0
"""
TERMS: dict[str, dict[str, Any]] = {
    "live": {},
    "granted": {"vessel_ids": frozenset([2])},
    "delayed": {"delay_s": 1},
    "coarse": {"coordinate_decimals": 3},
    "coarse and delayed": {"coordinate_decimals": 3, "delay_s": 1},
}
FILTERS: dict[str, dict[str, Any]] = {"": {}, " of one": {"vessel_id": 1}, " here": {"bbox": "10,59,11,60"}}


@dataclass
class Follower:
    """Somebody with a key and filters, and what was told so far."""

    eye: Eye
    bearer: dict[str, str]
    filters: dict[str, Any]
    cursor: str = ""
    told: list[Stretch] = field(default_factory=list)

    def begin(self, client: CheckedClient) -> None:
        self.told = []
        query = {"from": "now", **self.filters}
        self.cursor = client.get(POSITIONS, query_string=query, headers=self.bearer).json["next"]

    def read(self, client: CheckedClient, limit: int) -> bool:
        """Read one page, and return whether there is more."""
        query = {"cursor": self.cursor, "limit": limit, **self.filters}
        asked = time.time()
        response = client.get(POSITIONS, query_string=query, headers=self.bearer)
        assert response.status_code == 200, response.text
        page, after = response.json, model.number_of(self.cursor)
        upto = model.number_of(page["next"])
        self.told.append(Stretch(after, upto, page["items"], asked, time.time()))
        assert len(page["items"]) <= limit
        self.cursor = page["next"]
        more: bool = page["has_more"]
        return more


@pytest.fixture(scope="module")
def following(new_database: NewDatabase) -> Iterator[Flask]:
    """Return an application whose database writes a journal."""
    app = create_app(Settings(database_url=new_database(), tracker_master_key=MASTER_KEY))
    model.keep_journal(runtime.of(app).database)
    yield app
    runtime.of(app).database.dispose()


@pytest.fixture(scope="module")
def followers(following: Flask) -> list[Follower]:
    """Return a follower for each precision, sight and filter."""
    world = World(runtime.of(following).database)
    for _ in VESSELS:
        world.vessel()
    found = []
    for name, terms in TERMS.items():
        bearer = world.bearer(**terms)
        for suffix, filters in FILTERS.items():
            seen = set(terms.get("vessel_ids", VESSELS)) & ({1} if "vessel_id" in filters else {1, 2})
            eye = Eye(
                name=name + suffix,
                decimals=terms.get("coordinate_decimals"),
                box=HERE if "bbox" in filters else None,
                grant=only(*seen),
            )
            found.append(Follower(eye, bearer, filters))
    return found


_EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["store", "store", "store", "withdraw"]),
            st.sampled_from(VESSELS),
            st.integers(0, PLACES - 1),
            st.integers(1, 2),
            st.booleans(),
        ),
        st.tuples(st.just("edit"), st.sampled_from(VESSELS)),
        st.tuples(st.just("read"), st.integers(0, 10**6), st.integers(1, 4)),
        st.tuples(st.just("time"), st.integers(0, 40)),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=12, deadline=None)
@given(events=_EVENTS, limit=st.integers(1, 5), seed=st.integers(0, 40))
@example(
    # The first fix of a step is told, withdrawn, and another takes its place, out of the box.
    events=[
        ("store", 1, 1, 1, True),
        *(("read", each, 4) for each in range(15)),
        ("withdraw", 1, 1, 1, True),
        ("store", 1, 2, 1, False),
    ],
    limit=1,
    seed=0,
)
@example(
    # Another takes its place first, and is withdrawn.
    events=[
        ("store", 1, 2, 1, True),
        *(("read", each, 4) for each in range(15)),
        ("store", 1, 1, 1, False),
        ("withdraw", 1, 2, 1, True),
    ],
    limit=1,
    seed=0,
)
def test_nobody_has_a_hole_whatever_happens_and_whenever_somebody_reads(
    following: Flask, followers: list[Follower], events: list[tuple[Any, ...]], limit: int, seed: int
) -> None:
    _prove(following, followers, events, limit, seed)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@settings(max_examples=1_500, deadline=None)
@given(events=_EVENTS, limit=st.integers(1, 5), seed=st.integers(0, 40))
def test_nobody_has_a_hole_in_fifteen_hundred_sequences(
    following: Flask, followers: list[Follower], events: list[tuple[Any, ...]], limit: int, seed: int
) -> None:
    _prove(following, followers, events, limit, seed)


def _prove(
    following: Flask, followers: list[Follower], events: list[tuple[Any, ...]], limit: int, seed: int
) -> None:
    database, client = runtime.of(following).database, CheckedClient(following)
    runtime.of(following).counters.reset()
    model.begin_anew(database)
    for each in followers:
        each.begin(client)
    began = datetime.now(UTC) - _AGO
    for count, (kind, *rest) in enumerate(events):
        if kind == "edit":
            sql.run(
                database, "UPDATE vessels SET seq = nextval('fleet_order') WHERE id = :vessel", vessel=rest[0]
            )
        elif kind == "time":
            sql.run(database, _SEE_UP_TO, moment=began + timedelta(seconds=rest[0]))
        elif kind == "read":
            followers[rest[0] % len(followers)].read(client, rest[1])
        else:
            _change(database, began, count, kind, *rest)
    happened = model.read(database)
    _check_begun(client, followers, happened, began + timedelta(seconds=seed))
    sql.run(database, _SEE_UP_TO, moment=began + timedelta(hours=1))
    faults = []
    for each in followers:
        while each.read(client, limit):
            pass
        faults += happened.faults(each.eye, each.told)
    assert faults == [], "\n".join(faults)


def _change(
    database: Database,
    began: datetime,
    count: int,
    kind: str,
    vessel: int,
    place: int,
    tracker: int,
    inside: bool,
) -> None:
    """Store a fix that is received at the count of its event in seconds, or withdraw it."""
    # From steps of a minute that begin as those of the coarse keys, so that each place is in the same always.
    base = datetime.fromtimestamp(began.timestamp() // 44 * 44, UTC)
    values = {
        "vessel": vessel,
        "at": base + timedelta(seconds=8 * place),
        "tracker": tracker,
        "received": began + timedelta(seconds=count),
    }
    if kind == "store":
        sql.run(database, _STORE, **values, lat=(59.5 if inside else 10.5) + place / 100 + tracker / 1000)
    else:
        sql.run(database, _WITHDRAW, **values)


def _check_begun(
    client: CheckedClient, followers: list[Follower], happened: model.Model, since: datetime
) -> None:
    """From a time on all is told that came at it or later."""
    live = followers[0]
    query = {"from": rfc3339(since), "limit": 10_000}
    page = client.get(POSITIONS, query_string=query, headers=live.bearer).json
    upto = model.number_of(page["next"])
    came = [
        each.number
        for each in happened.fixes
        if each.gone is None and model.moment(each.row["received_at"]) >= since
    ]
    came += [each.number for each in happened.withdrawals if each.at >= since]
    begun = min(came, default=upto + 1) - 1
    stretch = Stretch(begun, upto, page["items"], 0, 0)
    known = [model.upsert(each, live.eye) for each in happened.fixes if each.number > begun]
    known += [model.delete(each, live.eye) for each in happened.withdrawals if each.number > begun]
    assert [each for each in page["items"] if each not in known] == []
    assert [*happened._faults_of_fine(Eye(), stretch)] == []
