"""What may come between: processes are killed, and what was to be told is removed."""

import random
import time
from collections.abc import Iterator, Sequence

import psutil
from tests.following import storm
from tests.following.followers import Follower, dealt
from tests.following.proof import Proof, patiently
from tests.support.live_service import LiveService, OwnPostgres


class Killing:
    """Kills something now and then: a worker, the database, the service, or all of it."""

    def __init__(self, proof: Proof, service: LiveService, postgres: OwnPostgres) -> None:
        self._proof = proof
        self._service = service
        self._postgres = postgres
        self._victims: Iterator[str] = iter(())

    def __call__(self, chance: random.Random) -> None:
        time.sleep(chance.uniform(0.3, 1))
        victim = next(self._victims, None)
        if victim is None:
            self._victims = dealt(["worker", "worker", "database", "service", "all"], chance, 5)
            victim = next(self._victims)
        self._proof.counted[f"killed {victim}"] += 1
        if victim == "worker":
            self._kill_a_worker(chance)
            return
        if victim != "service":
            self._postgres.crash()
        if victim != "database":
            self._service.kill()
        if victim != "service":
            time.sleep(chance.uniform(0, 0.3))
            self._postgres.start()
        if victim != "database":
            self._service.start()

    def _kill_a_worker(self, chance: random.Random) -> None:
        workers = self._service.workers()
        if workers:
            try:
                chance.choice(workers).kill()
            except psutil.NoSuchProcess:
                self._proof.counted["was gone"] += 1


class Removing:
    """Raises the floor again and again, and knows where it was."""

    def __init__(self, proof: Proof) -> None:
        self._proof = proof
        self.floors: set[int] = set()

    def __call__(self, chance: random.Random) -> None:
        time.sleep(chance.uniform(0.2, 0.6))
        kept = chance.choice([0, 5, 20, 50])
        self.floors.add(patiently(lambda: storm.raise_floor(self._proof.database, kept=kept)))

    def check(self, following: Sequence[Follower]) -> None:
        """Hold that followers missed nothing but what was removed, and were told up to where."""
        for each in following:
            for after, oldest in each.missed:
                assert oldest in self.floors, each.name
                assert after < oldest, each.name
