"""Streams over real connections: who goes away, does not read, or is told farewell, and misses nothing."""

import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from click.testing import CliRunner
from tests.support.dumps import dump, restore
from tests.support.factories import World, a_fix
from tests.support.live_service import LiveService, OwnPostgres
from tests.support.signed_posts import send
from tests.support.streams import StreamClient
from tests.support.urls import FEEDS, KEYS, POSITIONS

from harbor_api.cli import prune
from harbor_api.domain.errors import Unavailable
from harbor_api.postgres.tables import TAKE_ORDER

_OF_A_KEY = 12
_SOON_S = 20
_STORE = f"""
WITH turn AS MATERIALIZED (SELECT {TAKE_ORDER}),
stored AS (
    INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
    SELECT %(vessel)s, at, 1, now(), 59.9, 10.7, nextval('fleet_order')
    FROM turn, generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
        LATERAL (SELECT timestamptz '2026-01-01 00:00:00Z' + n * interval '1 second' AS at) AS moment
    RETURNING seq
) SELECT max(seq) FROM stored
"""


class Scene:
    """A service over a PostgreSQL of its own."""

    def __init__(self, postgres: OwnPostgres, service: LiveService) -> None:
        self.postgres, self.service = postgres, service
        self._stored = itertools.count()

    @property
    def world(self) -> World:
        return self.service.world

    def follow(self, bearer: Any, **asked: Any) -> StreamClient:
        return StreamClient(self.service.port, bearer, **asked)

    def store(self, vessel_id: int, many: int) -> None:
        """Store fixes of a vessel, each at its own time."""
        first = next(self._stored) * 1_000_000
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            values = {"vessel": vessel_id, "first": first, "last": first + many - 1}
            connection.execute(_STORE, values)

    def ends(self, reason: str) -> int:
        """Return how many streams the log tells to have ended so."""
        return self.service.log().count(f'"reason": "{reason}"')


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    log = tmp_path_factory.mktemp("streams") / "service.log"
    with (
        OwnPostgres() as postgres,
        LiveService(
            postgres.url, log=log, workers=1, streams_per_key=_OF_A_KEY, key_requests_per_minute=1_000_000
        ) as service,
    ):
        yield Scene(postgres, service)


def _soon(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SOON_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _has(many: int, stream: StreamClient) -> bool:
    return len(stream.items) == many


def _names(stream: StreamClient) -> list[str]:
    return [each["id"] for each in stream.items]


@pytest.mark.parametrize("http", ["1.1", "1.0"])
def test_a_fix_is_told_once_it_is_stored(scene: Scene, http: str):
    bearer, tracker = scene.world.bearer(), scene.world.tracker()
    with scene.follow(bearer, http=http) as stream:
        hello = stream.until_event("hello")
        assert hello.id == hello.data["cursor"]
        head = stream.head.lower()
        assert head.startswith(b"http/%b 200 " % http.encode())
        assert (b"transfer-encoding" in head) is (http == "1.1")
        assert b"connection: close" in head
        send(scene.service.http, tracker.signed(a_fix(0)))
        [item] = stream.until(lambda each: bool(each.items)).items
        page = scene.service.http.get(POSITIONS, params={"cursor": hello.id}, headers=bearer).json()
        assert page["items"] == [item]
        assert page["next"] == stream.last_id


def test_a_head_holds_no_place_and_its_connection_is_kept(scene: Scene):
    bearer = scene.world.bearer()
    with ExitStack() as open_ones:
        for _ in range(_OF_A_KEY + 1):
            each = open_ones.enter_context(scene.follow(bearer, method="HEAD"))
            assert each.until(lambda stream: bool(stream.head)).status == 200
            each.socket.sendall(b"GET /health/live HTTP/1.1\r\nHost: harbor\r\n\r\n")
            assert each.socket.recv(4_096).startswith(b"HTTP/1.1 200 ")


def test_what_comes_behind_the_request_is_answered_by_nobody(scene: Scene):
    bearer, tracker = scene.world.bearer(), scene.world.tracker()
    behind = b"GET /health/live HTTP/1.1\r\nHost: harbor\r\n\r\n"
    with scene.follow(bearer, behind=behind) as stream:
        stream.until_event("hello")
        stream.socket.sendall(behind * 100)
        send(scene.service.http, tracker.signed(a_fix(0)))
        stream.until(lambda each: bool(each.items))
        assert [each.name for each in stream.events] == ["hello", "position"]


def test_there_are_only_so_many_of_a_key_and_those_that_are_gone_do_not_count(scene: Scene):
    bearer = scene.world.bearer()
    with ExitStack() as open_ones:
        for _ in range(_OF_A_KEY):
            open_ones.enter_context(scene.follow(bearer)).until_event("hello")
        refused = scene.service.http.get("/api/v1/positions/stream", headers=bearer)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert int(refused.headers["Retry-After"]) > 0
        with scene.follow(scene.world.bearer()) as other:
            other.until_event("hello")

    def is_let_in() -> bool:
        with scene.follow(bearer) as stream:
            return stream.until(lambda each: bool(each.head)).status == 200

    _soon(is_let_in)


def test_a_slow_reader_is_cut_and_misses_nothing(scene: Scene):
    bearer, vessel = scene.world.bearer(), scene.world.vessel()
    with scene.follow(bearer, receive_buffer=4_096) as slow, scene.follow(bearer) as quick:
        slow.until_event("hello")
        quick.until_event("hello")
        cut = scene.ends("slow_reader")
        many = 0
        while scene.ends("slow_reader") == cut:
            scene.store(vessel.id, 2_000)
            many += 2_000
            quick.until(partial(_has, many))
            assert many < 40_000
        slow.until_over()
        assert slow.events[-1].name == "position"
    told = _names(slow)
    with scene.follow(bearer, last_seen=slow.last_id) as again:
        again.until(lambda each: len(told) + len(each.items) == many)
        assert told + _names(again) == _names(quick)
    assert '"event": "stream_cut"' in scene.service.log()


def test_a_key_that_holds_no_more_is_told_so(scene: Scene):
    key, secret = scene.world.key("vessels:read")
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    bearer = {"Authorization": f"Bearer {secret}"}
    ending = scene.world.bearer(expires_at=soon)
    with scene.follow(bearer) as revoked, scene.follow(ending) as expired:
        revoked.until_event("hello")
        expired.until_event("hello")
        scene.world.revoke(key)
        asked = time.monotonic()
        assert revoked.until_event("bye").data["reason"] == "key_revoked"
        assert time.monotonic() - asked < 5
        assert expired.until_event("bye").data["reason"] == "key_expired"
        assert revoked.until_over().events[-1].name == "bye"


def test_what_a_key_may_see_changes_under_those_who_follow_with_it(scene: Scene):
    world, http = scene.world, scene.service.http
    one, other = world.vessel(), world.vessel()
    admin = world.bearer("keys:write", "vessels:read")

    def issued(**terms: Any) -> tuple[str, dict[str, str]]:
        key, secret = world.key(**terms)
        return f"{KEYS}/{key.id}", {"Authorization": f"Bearer {secret}"}

    (rotated, old), (granted, bearer), (delayed, late) = issued(), issued(vessel_ids={one.id}), issued()
    with ExitStack() as open_ones, ThreadPoolExecutor(3) as pool:
        follows = [open_ones.enter_context(scene.follow(each)) for each in (old, bearer, late)]
        for each in follows:
            each.until_event("hello")
        waits = [
            pool.submit(
                http.get,
                POSITIONS,
                params={"cursor": each.last_id, "wait": 20},
                headers=key,
            )
            for each, key in zip(follows, (old, bearer, late), strict=True)
        ]
        new = http.post(f"{rotated}/rotate", json={"grace_s": 0}, headers=admin).json()["secret"]
        for path, terms in ((granted, {"vessel_ids": [other.id]}), (delayed, {"delay_s": 60})):
            assert http.patch(path, json=terms, headers={**admin, "If-Match": "*"}).is_success
        reasons = [follows[each].until_event("bye").data["reason"] for each in (0, 2)]
        assert reasons == ["key_revoked", "key_changed"]
        # By then the grants were looked up as well, which is done with all keys at once.
        scene.store(one.id, 1)
        scene.store(other.id, 1)
        [item] = follows[1].until(partial(_has, 1)).items
        assert item["vessel_id"] == other.id
        answers = [each.result() for each in waits]
    assert [each.status_code for each in answers] == [401, 200, 200]
    assert [len(each.json()["items"]) for each in answers[1:]] == [1, 0]
    with scene.follow({"Authorization": f"Bearer {new}"}, last_seen=follows[0].last_id) as again:
        assert len(again.until(partial(_has, 2)).items) == 2


def test_whoever_catches_up_slowly_sees_no_more_than_the_key_does_by_now(scene: Scene):
    vessel = scene.world.vessel()
    # One of a kind, so that nobody has read for it what is behind.
    key, secret = scene.world.key(delay_s=1)
    bearer, admin = {"Authorization": f"Bearer {secret}"}, scene.world.bearer("keys:write", "vessels:read")
    began = datetime.now(UTC)
    scene.store(vessel.id, 20_000)
    time.sleep(2)
    with scene.follow(bearer, begin=began.isoformat(), receive_buffer=65_536) as slow:
        slow.until_event("hello")
        changed = scene.service.http.patch(
            f"{KEYS}/{key.id}", json={"delay_s": 3_600}, headers={**admin, "If-Match": "*"}
        )
        assert changed.status_code == 204
        with scene.follow(bearer) as late:
            late.until_event("hello")
            assert slow.until_event("bye").data["reason"] == "key_changed"
            assert [each.name for each in late.events] == ["hello"]


@contextmanager
def _killed(postgres: OwnPostgres) -> Iterator[None]:
    postgres.crash()
    yield
    postgres.start()


@contextmanager
def _stopped(postgres: OwnPostgres) -> Iterator[None]:
    """Let all of PostgreSQL stand still, so that who asks it is answered nothing."""
    stopped = postgres.processes()
    for each in stopped:
        each.suspend()
    yield
    for each in stopped:
        with suppress(psutil.NoSuchProcess):
            each.resume()


@pytest.mark.parametrize(
    ("gone", "seconds"),
    [(_killed, 1), *(pytest.param(each, 30, marks=pytest.mark.slow) for each in (_killed, _stopped))],
)
def test_postgres_may_go_and_come_back(
    scene: Scene, gone: Callable[[OwnPostgres], AbstractContextManager[None]], seconds: float
):
    bearer, tracker = scene.world.bearer(), scene.world.tracker()
    with scene.follow(bearer) as stream:
        hello = stream.until_event("hello")
        send(scene.service.http, tracker.signed(a_fix(0)))
        stream.until(lambda each: len(each.items) == 1)
        with gone(scene.postgres):
            time.sleep(seconds)
            assert httpx.get(f"{scene.service.base_url}/health/ready", timeout=30).status_code == 503
        _soon(lambda: httpx.get(f"{scene.service.base_url}/health/ready").status_code == 200)
        for number in range(1, 4):
            send(scene.service.http, tracker.signed(a_fix(10 * number)))
        stream.until(lambda each: len(each.items) == 4)
        assert len(set(_names(stream))) == 4
        beats = [each.data for each in stream.events if each.name == "heartbeat"]
        known = [
            datetime.fromisoformat(each["now"]) - datetime.fromisoformat(each["as_of"]) for each in beats
        ]
        # They go on, and tell that nothing more is known, rather than that nothing happens.
        assert seconds < hello.data["heartbeat_s"] or max(known) > timedelta(seconds=5)
    assert "Traceback" not in scene.service.log()


def test_a_dump_that_is_restored_is_told_to_all_who_have_come_further(scene: Scene):
    bearer, vessel = scene.world.bearer(), scene.world.vessel()
    http = scene.service.http
    scene.store(vessel.id, 3)
    http.put(f"{FEEDS}/kept", json={}, headers=bearer)
    dumped = dump(scene.postgres)
    with scene.follow(bearer) as live, scene.follow(bearer, kind="ferry") as quiet:
        for each in (live, quiet):
            each.until_event("hello")
        scene.store(vessel.id, 5)
        live.until(partial(_has, 5))
        asked = {"cursor": live.last_id}
        http.put(f"{FEEDS}/kept", json=asked, headers=bearer)
        with ThreadPoolExecutor(1) as pool:
            wait = pool.submit(http.get, POSITIONS, params=asked | {"wait": 20}, headers=bearer)
            restore(scene.postgres, dumped)
            for each in (live, quiet):
                assert each.until_event("reset").data["reason"] == "cursor_unknown"
                each.until_over()
            # What it reads in the midst of the restore is answered by 503, after which it comes again.
            assert wait.result().status_code in {410, 503}, wait.result().text
    refused = http.get(POSITIONS, params=asked, headers=bearer)
    assert (refused.status_code, refused.json()["code"]) == (410, "cursor_expired")
    with scene.follow(bearer, last_seen=asked["cursor"]) as again:
        assert again.until_event("reset").data["reason"] == "cursor_unknown"
    # Whoever takes the first number finds out that the order is another one.
    with pytest.raises(Unavailable):
        scene.world.vessel()
    # What the service keeps was restored with the rest, and goes on from where it was then.
    scene.store(vessel.id, 2)
    assert len(http.get(f"{FEEDS}/kept/positions", headers=bearer).json()["items"]) == 2


def test_who_keeps_up_is_not_disturbed_where_what_is_old_is_removed(scene: Scene):
    bearer, vessel, http = scene.world.bearer(), scene.world.vessel(), scene.service.http
    begun = http.get(POSITIONS, params={"from": "now"}, headers=bearer).json()["next"]
    for name in ("slow", "quick"):
        http.put(f"{FEEDS}/{name}", json={}, headers=bearer)
    with scene.follow(bearer) as quick, ThreadPoolExecutor(1) as pool:
        quick.until_event("hello")
        scene.store(vessel.id, 20)
        quick.until(partial(_has, 20))
        asked = {"cursor": quick.last_id}
        http.put(f"{FEEDS}/quick", json=asked, headers=bearer)
        wait = pool.submit(http.get, POSITIONS, params=asked | {"wait": 20}, headers=bearer)
        with psycopg.connect(scene.postgres.url, autocommit=True) as connection:
            connection.execute("UPDATE positions SET received_at = received_at - interval '40 days'")
            connection.execute("UPDATE withdrawals SET withdrawn_at = withdrawn_at - interval '40 days'")
        others = {name: None for name in os.environ if name.startswith("HARBOR_")}
        runner = CliRunner(env={**others, "HARBOR_DATABASE_URL": scene.postgres.url})
        assert runner.invoke(prune.command, ["--feed-days", "30"], catch_exceptions=False).exit_code == 0
        scene.store(vessel.id, 1)
        quick.until(partial(_has, 21))
        assert len(wait.result().json()["items"]) == 1
        assert len(http.get(f"{FEEDS}/quick/positions", headers=bearer).json()["items"]) == 1
    for path, params in ((POSITIONS, {"cursor": begun, "wait": 5}), (f"{FEEDS}/slow/positions", {})):
        refused = http.get(path, params=params, headers=bearer)
        assert (refused.status_code, refused.json()["code"]) == (410, "cursor_expired")


def test_a_worker_may_be_told_to_end_before_it_has_begun(scene: Scene):
    first = scene.service.worker()
    first.kill()
    first.wait(_SOON_S)
    _soon(lambda: bool(scene.service.workers()))
    beginning = scene.service.worker()

    def is_over() -> bool:
        # What comes before it listens to signals is lost.
        with suppress(psutil.NoSuchProcess):
            beginning.terminate()
        return not beginning.is_running() or beginning.status() == psutil.STATUS_ZOMBIE

    _soon(is_over)
    assert httpx.get(f"{scene.service.base_url}/health/ready", timeout=_SOON_S).status_code == 200
    assert "Exception in worker process" not in scene.service.log()


def test_who_waits_is_answered_by_the_commit_and_by_nobody_who_is_gone(scene: Scene):
    bearer, vessel, tracker = scene.world.bearer(), scene.world.vessel(), scene.world.tracker()
    here = scene.world.tracker(vessel)
    began = scene.service.http.get(POSITIONS, params={"from": "now", "vessel_id": vessel.id}, headers=bearer)
    asked = {"cursor": began.json()["next"], "wait": 60, "vessel_id": vessel.id}
    head = f"GET {POSITIONS}?{httpx.QueryParams(asked)} HTTP/1.1\r\nHost: harbor\r\n"
    with ThreadPoolExecutor(1) as pool, ExitStack() as gone:
        # Some of them are refused, so that eight wait whoever comes first.
        for _ in range(12):
            waiting = gone.enter_context(socket.create_connection(("127.0.0.1", scene.service.port)))
            waiting.sendall(f"{head}Authorization: {bearer['Authorization']}\r\n\r\n".encode())
        briefly = asked | {"wait": 1}
        _soon(lambda: scene.service.http.get(POSITIONS, params=briefly, headers=bearer).status_code == 429)
        gone.close()
        other = scene.world.bearer()
        cursor = scene.service.http.get(POSITIONS, params={"from": "now"}, headers=other).json()["next"]
        send(scene.service.http, tracker.signed(a_fix(0)))

        def ask() -> httpx.Response:
            while True:
                answer = scene.service.http.get(POSITIONS, params=asked, headers=bearer)
                if answer.status_code != 429:
                    return answer
                time.sleep(0.1)

        answer = pool.submit(ask)
        time.sleep(3)
        assert not answer.done()
        send(scene.service.http, here.signed(a_fix(0)))
        assert [each["vessel_id"] for each in answer.result(10).json()["items"]] == [vessel.id]
    assert (
        len(scene.service.http.get(POSITIONS, params={"cursor": cursor}, headers=other).json()["items"]) == 2
    )


def test_all_are_told_farewell_and_resume_elsewhere(scene: Scene):
    tracker = scene.world.tracker()
    bearers = [scene.world.bearer() for _ in range(5)]
    with ExitStack() as open_ones, ThreadPoolExecutor(1) as pool:
        streams = [
            open_ones.enter_context(scene.follow(bearer)) for bearer in bearers for _ in range(_OF_A_KEY)
        ]
        for each in streams:
            each.until_event("hello")
        send(scene.service.http, tracker.signed(a_fix(0)))
        for each in streams:
            each.until(lambda stream: len(stream.items) == 1)
        waits = pool.submit(
            lambda: httpx.get(
                scene.service.base_url + POSITIONS,
                params={"cursor": streams[0].last_id, "wait": 60},
                headers=bearers[0],
                timeout=90,
            )
        )
        time.sleep(0.5)
        assert scene.service.stop() == 0
        answer = waits.result(5)
        assert answer.json().get("items") == [], answer.text
        for each in streams:
            bye = each.until_over().events[-1]
            assert (bye.name, bye.data["reason"], bye.data["cursor"]) == ("bye", "shutdown", bye.id)
    scene.service.start()
    send(scene.service.http, tracker.signed(a_fix(10)))
    for bearer, each in zip(bearers, streams[::_OF_A_KEY], strict=True):
        with scene.follow(bearer, last_seen=each.last_id) as again:
            again.until(lambda stream: bool(stream.items))
            assert len({*_names(each), *_names(again)}) == 2


def test_all_are_told_farewell_where_the_process_that_started_them_is_killed(scene: Scene):
    with scene.follow(scene.world.bearer()) as stream:
        stream.until_event("hello")
        worker = scene.service.worker()
        psutil.Process(scene.service.pid).kill()
        bye = stream.until_over().events[-1]
        assert (bye.name, bye.data["reason"]) == ("bye", "shutdown")
    _soon(lambda: not worker.is_running())
    scene.service.kill()
    scene.service.start()


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_nothing_is_missed_by_a_kill(scene: Scene, kills: int):
    bearer, tracker = scene.world.bearer(), scene.world.tracker()
    numbers = itertools.count()

    def post() -> None:
        assert send(scene.service.http, tracker.signed(a_fix(10 * next(numbers)))).status_code == 201

    told: list[str] = []
    last: str | None = None
    for _ in range(kills):
        with scene.follow(bearer, last_seen=last) as stream:
            stream.until_event("hello")
            post()
            stream.until(lambda each: bool(each.items))
            post()
            scene.service.kill()
            told += _names(stream.until_over())
            last = stream.last_id
        scene.service.start()
    with scene.follow(bearer, last_seen=last) as stream:
        post()
        posted = next(numbers)
        stream.until(lambda each: len(told) + len(each.items) >= posted)
        told += _names(stream)
    assert len(set(told)) == len(told) == posted


@pytest.mark.slow
def test_those_who_never_read_take_no_memory(tmp_path: Path):
    with OwnPostgres() as postgres, LiveService(postgres.url, log=tmp_path / "log", workers=1) as service:
        scene = Scene(postgres, service)
        vessel, bearer = scene.world.vessel(), scene.world.bearer()
        with ExitStack() as open_ones:
            for _ in range(100):
                open_ones.enter_context(scene.follow(bearer, receive_buffer=4_096))
            _soon(lambda: service.log().count("positions/stream") >= 100)
            before = service.worker().memory_info().rss
            peak = before
            while scene.ends("slow_reader") < 100:
                scene.store(vessel.id, 200)
                time.sleep(0.2)
                peak = max(peak, service.worker().memory_info().rss)
        print(f"{(peak - before) / 2**20:.1f} MB for 100 who never read")
        assert peak - before < 24 * 2**20
