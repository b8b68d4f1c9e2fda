"""The proof that no follower has a gap: writers, followers, what may come between, and the check."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.following import followers, model, storm
from tests.following.followers import Follower
from tests.following.model import Eye
from tests.following.storm import Grants, Storm
from tests.support import sql
from tests.support.live_service import LiveService

from harbor_api.database import Database
from harbor_api.domain.fleet_search import Box

DELAY_S = 2
TERMS: Mapping[str, Mapping[str, Any]] = {
    "live": {},
    "granted": {"vessel_ids": frozenset(storm.GRANTED)},
    "granted and revoked": {"vessel_ids": frozenset(storm.GRANTED)},
    "delayed": {"delay_s": DELAY_S},
    "coarse": {"coordinate_decimals": 4},
    "coarse and delayed": {"coordinate_decimals": 4, "delay_s": DELAY_S},
    "granted, delayed": {"vessel_ids": frozenset(storm.GRANTED), "delay_s": DELAY_S},
}
FILTERS: Mapping[str, Mapping[str, str]] = {
    "": {},
    " in a box": {"bbox": storm.BOX},
    " of two": {"vessel_id": "2,5"},
    " of ferries": {"kind": "ferry"},
}
_BOX = Box(*map(float, storm.BOX.split(",")))


class Proof:
    """One service after another, or the same, beside writers and followers."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.counted: Counter[str] = Counter()
        self.world = storm.launch(database)
        self.admin = storm.admin(self.world)
        model.keep_journal(database)

    def run(
        self,
        port: Callable[[], int],
        *,
        seed: int,
        seconds: float,
        many: int,
        slow: int = 0,
        trouble: Callable[[random.Random], None] | None = None,
    ) -> Sequence[Follower]:
        """Let writers write for some seconds, beside ``trouble``, and hold what was told to the model."""
        chance = random.Random(seed)
        model.begin_anew(self.database)
        # Above all that was before, so that the order does not seem to go back.
        sql.run(self.database, "UPDATE vessels SET seq = nextval('fleet_order') WHERE id = 1")
        ways = [
            *followers.dealt([*followers.WAYS.items()], chance, many),
            *followers.dealt([*followers.SLOW.items()], chance, slow),
        ]
        grants, following = self._followers(port, chance, ways)
        for each in following:
            patiently(each.begin)
        writing = Storm(port, self.database, grants, chance, self.admin)
        writing.begin()
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if trouble is None:
                time.sleep(max(0, ends - time.monotonic()))
            else:
                trouble(chance)
        writing.end()
        followers.finish(following, patiently(lambda: storm.last_fix(self.database)))
        self._check(following, writing)
        return following

    def _followers(
        self,
        port: Callable[[], int],
        chance: random.Random,
        ways: Sequence[tuple[str, type[Follower]]],
    ) -> tuple[Grants, list[Follower]]:
        keys = {name: self.world.key(**terms) for name, terms in TERMS.items()}
        changing = keys["granted and revoked"][0]
        grants = Grants(changing.id, frozenset(storm.GRANTED))
        found = []
        names = followers.dealt([*TERMS], chance, len(ways))
        filters = followers.dealt(["", *FILTERS], chance, len(ways))
        for number, ((way, kind), name, filtered) in enumerate(zip(ways, names, filters, strict=True)):
            terms = TERMS[name]
            self.counted.update([f"by {way}", f"as {name}", f"of{filtered or ' all'}"])
            eye = Eye(
                name=f"{number} {way} {name}{filtered}",
                decimals=terms.get("coordinate_decimals"),
                delay_s=terms.get("delay_s", 0),
                box=_BOX if "bbox" in FILTERS[filtered] else None,
                grant=self._grant(name, filtered, grants, kind.slack_s),
            )
            bearer = {"Authorization": f"Bearer {keys[name][1]}"}
            found.append(kind(eye, bearer, dict(FILTERS[filtered]), port, random.Random(chance.random())))
        return grants, found

    def _grant(self, terms: str, filtered: str, grants: Grants, slack_s: float) -> Any:
        granted = TERMS[terms].get("vessel_ids")

        def sees(vessel_id: int, asked: float, answered: float) -> str:
            if "vessel_id" in FILTERS[filtered] and vessel_id not in {2, 5}:
                return "no"
            if "kind" in FILTERS[filtered] and vessel_id not in self._ferries:
                return "no"
            if terms == "granted and revoked":
                return grants.sees(vessel_id, asked - slack_s, answered)
            return "yes" if granted is None or vessel_id in granted else "no"

        return sees

    def _check(self, following: Sequence[Follower], writing: Storm) -> None:
        self._ferries = set(storm.ferries(self.database))
        happened = model.read(self.database)
        faults = []
        for each in following:
            faults += happened.faults(each.eye, each.told, is_whole=not each.missed)
            self.counted.update(each.counted)
        self.counted.update(writing.counted)
        self.counted["runs"] += 1
        self.counted["followers"] += len(following)
        self.counted["fixes"] += len(happened.fixes)
        self.counted["withdrawals"] += len(happened.withdrawals)
        self.counted["late"] += sum(bool(each.row["late"]) for each in happened.fixes)
        self.counted["released"] += sum(each.row["released_at"] is not None for each in happened.fixes)
        self._check_acknowledged(happened, writing)
        assert faults == [], "\n".join(faults[:20])

    def _check_acknowledged(self, happened: model.Model, writing: Storm) -> None:
        """What a tracker was told to be stored is told to followers."""
        known = {(each.tracker_id, each.recorded_at) for each in happened.fixes}
        told = {(tracker, model.moment(at)) for tracker, at in writing.acknowledged}
        assert told <= known


def patiently(work: Callable[[], Any]) -> Any:
    """Do something that fails for as long as something is away, or because it was cut."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return work()
        except storm.AWAY:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def proving(url: str, *, log: Path) -> Iterator[tuple[Proof, LiveService]]:
    """Start a service of two workers, and prepare its database for the proof."""
    database = Database(url, pool_size=10)
    try:
        with LiveService(url, log=log, workers=2, database_timeout_ms=2_000) as service:
            yield Proof(database), service
    finally:
        database.dispose()
        # Whatever is wrong, the service has not failed; what it says of it is in what a failed test prints.
        told = [line for line in log.read_text().splitlines() if '"level":"error"' in line]
        print(*told, sep="\n")
    assert told == []
