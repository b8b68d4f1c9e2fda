"""From an answer of the fleet on, the list and what is followed are the table: nothing is lost or doubled.

Fleets are read at random beside eight writers, and followed from their cursors to a common end. Whoever
follows knows nothing but what the guide says of it:

- An `upsert` with a later time than what is shown takes its place; one with an earlier time is of the track.
- Of one with the very same time, or of a `delete` of what is shown, he cannot know what is the latest, and
  asks for the vessel: `GET /api/v1/vessels/{id}`. So he does of a vessel that he does not know.

In the end he shows what the fleet shows.
"""

import http.client
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.following import followers, model, storm
from tests.following.followers import Follower, Pages, Streaming
from tests.following.model import Eye, Item, only
from tests.following.proof import DELAY_S, Proof
from tests.following.storm import AWAY, Grants, Storm
from tests.support import sql
from tests.support.urls import VESSELS

TERMS: Sequence[Mapping[str, Any]] = (
    {},
    {"vessel_ids": frozenset(storm.GRANTED)},
    {"delay_s": DELAY_S},
    {"coordinate_decimals": 4},
    {"coordinate_decimals": 4, "delay_s": DELAY_S},
)
_MEMBERS = ("recorded_at", "received_at", "sog", "cog", "heading", "nav_status", "accuracy_m")
Shown = dict[int, Mapping[str, Any] | None]


@dataclass(eq=False)
class Beginner(Follower):
    """Somebody who has read the fleet, and keeps what it shows as it is by what is told."""

    key_id: int = 0
    shown: Shown = field(default_factory=dict)

    def begin(self) -> None:
        fleet, headers = self.fleet()
        self.shown = shown_in(fleet["features"])
        cursor = fleet["cursor"] if self.chance.random() < 0.5 else headers["Harbor-Cursor"]
        self.begin_at(cursor, model.number_of_fleet(cursor, holder=self.key_id))

    def fleet(self) -> tuple[Any, Mapping[str, str]]:
        """Return the fleet as it is now, and the headers that it comes with."""
        return self._get_json(VESSELS)

    def take(self, items: Sequence[Item]) -> None:
        for item in items:
            vessel_id = item["vessel_id"]
            known = self.shown.get(vessel_id)
            at = item["recorded_at"]
            if vessel_id not in self.shown or (known is not None and known["recorded_at"] == at):
                if item["op"] == "upsert" or vessel_id in self.shown:
                    self._look_at(vessel_id)
            elif item["op"] == "upsert" and (known is None or known["recorded_at"] < at):
                self.shown[vessel_id] = {name: item[name] for name in (*_MEMBERS, "lat", "lon")}

    def _look_at(self, vessel_id: int) -> None:
        self.counted["asked for a vessel"] += 1
        feature, _ = self._get_json(f"{VESSELS}/{vessel_id}")
        self.shown |= shown_in([feature])

    def _get_json(self, path: str) -> tuple[Any, Mapping[str, str]]:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=30)
            try:
                connection.request("GET", path, headers={**self.bearer, "Connection": "close"})
                answer = connection.getresponse()
                body = answer.read()
            except AWAY:
                time.sleep(0.1)
                continue
            finally:
                connection.close()
            assert answer.status == 200, (path, body)
            return json.loads(body), dict(answer.headers)


class BeginningPages(Beginner, Pages):
    """One who goes on by pages."""


class BeginningStream(Beginner, Streaming):
    """One who goes on by a stream."""


WAYS: Sequence[type[Beginner]] = (BeginningPages, BeginningStream)


def shown_in(features: Sequence[Any]) -> Shown:
    """Return where vessels are, None for one that was never seen."""
    return {each["id"]: _place(each) for each in features}


def _place(feature: Any) -> Mapping[str, Any] | None:
    if feature["geometry"] is None:
        return None
    lon, lat = feature["geometry"]["coordinates"]
    return {name: feature["properties"][name] for name in _MEMBERS} | {"lat": lat, "lon": lon}


def prove_starts(proof: Proof, port: int, *, seed: int, seconds: float, starts: int) -> None:
    """Have fleets read at random within some seconds, and each followed to the end."""
    chance = random.Random(seed)
    model.begin_anew(proof.database)
    sql.run(proof.database, "UPDATE vessels SET seq = nextval('fleet_order') WHERE id = 1")
    keys = [proof.world.key(**terms) for terms in TERMS]
    begun: list[Beginner] = []
    for number in range(starts):
        place = chance.randrange(len(TERMS))
        key, secret = keys[place]
        way = WAYS[number % len(WAYS)]
        granted = TERMS[place].get("vessel_ids")
        eye = Eye(
            name=f"{number} {way.__name__} {TERMS[place]}",
            decimals=TERMS[place].get("coordinate_decimals"),
            delay_s=TERMS[place].get("delay_s", 0),
            grant=None if granted is None else only(*granted),
        )
        bearer = {"Authorization": f"Bearer {secret}"}
        begun.append(way(eye, bearer, {}, lambda: port, random.Random(chance.random()), key_id=key.id))
    changing, _ = proof.world.key(vessel_ids=frozenset())
    writing = Storm(lambda: port, proof.database, Grants(changing.id, frozenset()), chance, proof.admin)
    writing.begin()
    for each in begun:
        time.sleep(chance.uniform(0, 2 * seconds / starts))
        each.begin()
    writing.end()
    end = storm.last_fix(proof.database)
    followers.finish(begun, end)
    happened, faults = model.read(proof.database), []
    for each in begun:
        wanted = shown_in(_settled(each, end)["features"])
        # Who was retired, restored or registered, and never told of since, is not known to be.
        faults += [
            f"{each.name}: {vessel_id} is shown at {each.shown[vessel_id]} and not at {place}"
            for vessel_id, place in wanted.items()
            if vessel_id in each.shown and not _is_same(each.shown[vessel_id], place)
        ]
        # What was told is what lies between, each once.
        faults += happened.faults(each.eye, each.told, is_whole=False)
        proof.counted.update(each.counted)
        proof.counted["starts"] += 1
    proof.counted.update(writing.counted)
    assert faults == [], "\n".join(faults[:20])


def _settled(beginner: Beginner, end: int) -> Any:
    """Return the fleet when it has come to the end."""
    for _ in range(100):
        fleet, headers = beginner.fleet()
        if model.number_of_fleet(headers["Harbor-Cursor"], holder=beginner.key_id) >= end:
            return fleet
        time.sleep(0.1)
    raise AssertionError(f"the fleet of {beginner.name} does not come to {end}")


def _is_same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    if one is None or other is None:
        return one is other
    # A key with a delay may not be told when the latest fix was received, as long as that is not due.
    return all(one[name] == other[name] for name in one if name != "received_at") and (
        None in (one["received_at"], other["received_at"]) or one["received_at"] == other["received_at"]
    )
