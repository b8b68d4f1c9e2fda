"""Secrets that are replaced, and keys that are revoked, while they are in use."""

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import httpx
from tests.support.factories import SigningTracker, a_fix
from tests.support.live_service import LiveService
from tests.support.signed_posts import send
from tests.support.urls import KEYS, ME, TRACKERS, VESSELS
from tests.support.worker_connections import connections_by_worker, in_turn

THREADS = 3
# Of each thread; three that post and three that read make 60 requests a second in all.
PER_SECOND = 10
GRACE_S = 3
ROTATIONS = 2
# From the operator's answer until the last worker refuses: what the issue asks for.
REVOKED_WITHIN_S = 2


@dataclass(frozen=True)
class Seen:
    """One answer, and with which secret it was asked for: its number counts the rotations."""

    generation: int
    began: float
    ended: float
    answer: httpx.Response


@dataclass
class User:
    """Somebody who uses a secret from several threads, each of which changes over when it likes.

    ``ask`` sends one request with a secret. Moments are those of the wall clock, which the service on
    this machine goes by as well.
    """

    ask: Callable[[httpx.Client, str], httpx.Response]
    secrets: list[str]
    # When each thread takes each secret into use, and when each was replaced and ended.
    starts: list[list[float]] = field(default_factory=lambda: [[0.0] for _ in range(THREADS)])
    replaced: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def work(self, client: httpx.Client, thread: int, over: threading.Event) -> None:
        while not over.is_set():
            began = time.time()
            generation = sum(1 for start in self.starts[thread] if start <= began) - 1
            answer = self.ask(client, self.secrets[generation])
            self.seen.append(Seen(generation, began, time.time(), answer))
            time.sleep(max(0.0, began + 1 / PER_SECOND - time.time()))

    def rotated(self, answer: httpx.Response) -> None:
        """Let the threads change over one after another, early and late in the grace time."""
        assert answer.status_code == 200, answer.text
        self.replaced.append(time.time())
        self.secrets.append(answer.json()["secret"])
        self.ends.append(datetime.fromisoformat(answer.json()["previous_valid_until"]).timestamp())
        for thread, starts in enumerate(self.starts):
            starts.append(self.replaced[-1] + GRACE_S * (0.1 + 0.6 * thread / (THREADS - 1)))

    def refused(self) -> list[str]:
        """Return what was refused although its secret held from before the request to after the answer."""
        return [
            f"{each.answer.status_code} with secret {each.generation} at {each.began}: {each.answer.text}"
            for each in self.seen
            if each.answer.status_code >= 300
            and (each.generation >= len(self.ends) or each.ended < self.ends[each.generation])
        ]


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_rotation_under_load_refuses_no_legitimate_request(new_database, tmp_path: Path):
    with (
        LiveService(new_database(), log=tmp_path / "log", workers=2) as service,
        connections_by_worker(service, 2, least=2 * THREADS) as by_worker,
    ):
        clients = in_turn(by_worker)
        registered = service.world.tracker()
        issued, key_secret = service.world.key()
        operator = service.world.bearer("trackers:write", "keys:write", "vessels:read")
        seconds = itertools.count()

        def post(client: httpx.Client, secret: str) -> httpx.Response:
            signing = replace(registered, secret=secret)
            return send(client, signing.signed(a_fix(next(seconds))))

        def read(client: httpx.Client, secret: str) -> httpx.Response:
            return client.get(VESSELS, headers=_bearer(secret))

        rotations = {
            f"{TRACKERS}/{registered.tracker.number}/rotate": User(post, [registered.secret]),
            f"{KEYS}/{issued.id}/rotate": User(read, [key_secret]),
        }
        vessel_tracker, partner = rotations.values()
        over = threading.Event()
        with ThreadPoolExecutor(2 * THREADS) as pool:
            working = [
                pool.submit(user.work, client, thread, over)
                for user, of_user in ((vessel_tracker, clients[:THREADS]), (partner, clients[THREADS:]))
                for thread, client in zip(range(THREADS), of_user, strict=False)
            ]
            try:
                for _ in range(ROTATIONS):
                    time.sleep(0.5)
                    for path, user in rotations.items():
                        user.rotated(service.http.post(path, json={"grace_s": GRACE_S}, headers=operator))
                        # A second one would end the secret that is still in use.
                        again = service.http.post(path, json={"grace_s": GRACE_S}, headers=operator)
                        assert (again.status_code, again.json()["code"]) == (409, "conflict")
                    time.sleep(
                        max(0.0, max(user.ends[-1] for user in rotations.values()) - time.time()) + 0.1
                    )
                    for user in rotations.values():
                        for secret in user.secrets[:-1]:
                            late = user.ask(service.http, secret)
                            assert late.status_code == 401
                        assert user.ask(service.http, user.secrets[-1]).status_code < 300
            finally:
                over.set()
            for each in working:
                each.result()

        for user in rotations.values():
            assert user.refused() == []
            used = [each.generation for each in user.seen]
            print(f"{len(used)} requests, with each secret {[used.count(n) for n in sorted(set(used))]}")
            assert set(used) == set(range(ROTATIONS + 1))
        _assert_told_when_the_secret_ends(vessel_tracker)


def _assert_told_when_the_secret_ends(tracker: User) -> None:
    """Assert that a tracker hears of a rotation as long as it signs with the old secret, and only then."""
    told = [0] * ROTATIONS
    for each in tracker.seen:
        ends_at = each.answer.json().get("secret_ends_at")
        if ends_at is not None:
            assert datetime.fromisoformat(ends_at).timestamp() == tracker.ends[each.generation]
            told[each.generation] += 1
        elif each.generation < ROTATIONS:
            # What was under way while the operator rotated may have been judged before it.
            assert each.began < tracker.replaced[each.generation] or each.answer.status_code == 401
    assert all(told), told


def test_rotation_without_grace_ends_all_earlier_secrets_at_once(live_service: LiveService):
    """For a secret in wrong hands, while a rotation with grace is under way too."""
    service = live_service
    registered = service.world.tracker()
    issued, key_secret = service.world.key()
    operator = service.world.bearer("trackers:write", "keys:write", "vessels:read")
    tracker_secrets, key_secrets = [registered.secret], [key_secret]
    for grace in (3600, 0):
        for path, secrets in (
            (f"{TRACKERS}/{registered.tracker.number}/rotate", tracker_secrets),
            (f"{KEYS}/{issued.id}/rotate", key_secrets),
        ):
            answer = service.http.post(path, json={"grace_s": grace}, headers=operator)
            assert answer.status_code == 200, answer.text
            secrets.append(answer.json()["secret"])
        posted = [
            send(service.http, SigningTracker(registered.tracker, secret).signed(a_fix(n))).status_code
            for n, secret in enumerate(tracker_secrets)
        ]
        read = [service.http.get(ME, headers=_bearer(secret)).status_code for secret in key_secrets]
        if grace:
            assert (posted, read) == ([201, 201], [200, 200])
        else:
            assert ([status // 100 for status in posted], read) == ([4, 4, 2], [401, 401, 200])


def test_a_revoked_key_is_refused_by_every_worker_at_once(new_database, tmp_path: Path):
    with (
        LiveService(new_database(), log=tmp_path / "log", workers=4, database_pool=2) as service,
        connections_by_worker(service, 4) as by_worker,
    ):
        operator = service.world.bearer("keys:write", "vessels:read")
        issued, secret = service.world.key()
        clients = [clients[0] for clients in by_worker.values()]
        assert len(clients) == 4
        refused_at: dict[int, float] = {}
        warm = threading.Barrier(len(clients) + 1)

        def poll(worker: int) -> None:
            # Whatever a worker remembers of a key, it remembers now.
            statuses = [clients[worker].get(ME, headers=_bearer(secret)).status_code for _ in range(5)]
            assert statuses == [200] * 5
            warm.wait(30)
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                answer = clients[worker].get(ME, headers=_bearer(secret))
                if answer.status_code == 401:
                    refused_at[worker] = time.monotonic()
                    assert answer.json()["code"] == "key_revoked"
                    return
                assert answer.status_code == 200
                time.sleep(0.01)

        with ThreadPoolExecutor(len(clients)) as pool:
            polling = [pool.submit(poll, worker) for worker in range(len(clients))]
            warm.wait(30)
            answer = service.http.post(f"{KEYS}/{issued.id}/revoke", headers=operator)
            revoked_at = time.monotonic()
            assert answer.status_code == 204, answer.text
            for each in polling:
                each.result()

        last = max(refused_at.values()) - revoked_at
        print(f"the last of {len(refused_at)} workers refused {last:.3f} s after the operator's answer")
        assert len(refused_at) == 4
        assert last < REVOKED_WITHIN_S
        # Nor does a new connection, to whichever worker, let it in again.
        again = [service.http.get(ME, headers=_bearer(secret)).status_code for _ in range(20)]
        assert set(again) == {401}
