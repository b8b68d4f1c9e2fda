"""The hub of a worker: who joins, is told what its key may see by then, however things meet."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from flask import Flask
from tests.support import sql
from tests.support.factories import World

from harbor_api.database import Database
from harbor_api.domain import feed_cursors
from harbor_api.domain.api_keys import Caller, digest
from harbor_api.domain.fleet_search import Search
from harbor_api.live import company
from harbor_api.live import hub as hubs
from harbor_api.live.audiences import Follower, Rate, Subscription
from harbor_api.live.fleet import LiveFleet
from harbor_api.live.hub import Hub
from harbor_api.live.kinds import Kind
from harbor_api.web import runtime

_SOON_S = 20
_FIX = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
SELECT :vessel, clock_timestamp() + n * interval '1 us', 1, now(), 59.9, 10.7, nextval('fleet_order')
FROM generate_series(1, :many) AS n
"""
_LATEST = """
INSERT INTO latest_positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
SELECT vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq FROM positions
"""


def _soon(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SOON_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _has_told(client: "Client", vessel: int) -> bool:
    return vessel in client.vessels


class Client:
    """A sink that takes so many bytes, and tells what it was sent."""

    def __init__(self, takes: float = float("inf")) -> None:
        self.takes = takes
        self.data = b""
        self.is_closed = False

    def send(self, data: bytes | memoryview) -> int:
        taken = bytes(data)[: int(min(self.takes, len(data)))]
        if data and not taken:
            raise BlockingIOError
        self.takes -= len(taken)
        self.data += taken
        return len(taken)

    def recv(self, _: int) -> bytes:
        raise BlockingIOError

    def close(self) -> None:
        self.is_closed = True

    @property
    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """The whole events that it was sent: of which kind, and what they say."""
        blocks = [each.split(b"\n") for each in self.data.split(b"\n\n")[:-1]]
        return [(name[7:].decode(), json.loads(data[6:])) for _, name, data in blocks]

    @property
    def vessels(self) -> list[int]:
        """Whose items it was told, in order."""
        return [data["vessel_id"] for name, data in self.told if name == "position"]


class Scene:
    """A hub over the test's database, whose threads run."""

    def __init__(self, app: Flask, database: Database) -> None:
        now = runtime.of(app)
        self.database, self.world, self.known_keys = database, World(database), now.known_keys
        self.fleet = LiveFleet(database, now.settings)
        self.hub = Hub(
            database,
            self.fleet,
            replace(now.settings, stream_s=600),
            cursor_key=now.cursor_key,
            item_key=now.item_key,
            recognise=self.recognise,
        )
        self.joined: list[Follower] = []

    def recognise(self, hashes):
        return self.known_keys.recognise(hashes)

    def number(self) -> int:
        with self.database.autocommit() as unit_of_work:
            return unit_of_work.order.standing().number

    def subscription(self, secret: str, **search) -> Subscription:
        [viewer] = self.recognise([digest(secret)])
        assert isinstance(viewer, Caller)
        filters = {name: str(each) for name, each in search.items()}
        tag = feed_cursors.tag(b"c" * 32, holder=viewer.id, filters=filters)
        return Subscription(viewer=viewer, key_hash=digest(secret), search=Search(**search), tag=tag)

    def follower(self, client: Client, *, is_stream: bool = True) -> Follower:
        seat = (self.hub.streams if is_stream else self.hub.waits).take(0)
        return Follower(lambda: client, seat, request_id="r", ends_at=self.hub.ends_at(), is_stream=is_stream)

    def join(
        self,
        subscription: Subscription,
        number: int | None = None,
        *,
        client: Client | None = None,
        is_stream: bool = True,
        rate: Rate | None = None,
    ) -> Client:
        client = client or Client()
        follower = self.follower(client, is_stream=is_stream)
        number = self.number() if number is None else number
        _soon(lambda: self.hub.join(follower, subscription, number, rate=rate))
        self.joined.append(follower)
        return client

    def report(self, vessel: int, many: int = 1) -> None:
        sql.run(self.database, _FIX, vessel=vessel, many=many)
        self.hub._hear()

    def grant(self, key: int, *vessels: int) -> None:
        """Let a key see these vessels from now on, and no others."""
        sql.run(self.database, "DELETE FROM grants WHERE api_key_id = :key", key=key)
        for vessel in vessels:
            sql.run(self.database, "INSERT INTO grants VALUES (:key, :vessel)", key=key, vessel=vessel)
        sql.run(self.database, "UPDATE api_keys SET version = version + 1 WHERE id = :key", key=key)

    def told_up_to_now(self, subscription: Subscription) -> None:
        """Wait until all is told that there is."""
        number, tail = self.number(), self.hub._company.tails[Kind.of(subscription.viewer)]
        _soon(lambda: tail.number >= number)

    def end(self) -> None:
        for each in self.joined:
            self.hub.leave(each)
        self.hub._hear()
        _soon(lambda: self.hub._run is None)


@pytest.fixture
def scene(app: Flask, database: Database, monkeypatch) -> Iterator[Scene]:
    # Keys are asked for where a test does, and what is stored is heard of without a connection for it.
    monkeypatch.setattr(hubs, "_KEYS_EVERY_S", 3_600.0)
    monkeypatch.setattr(company, "_IDLE_S", 0.0)
    monkeypatch.setattr(Hub, "_listen", lambda *_: None)
    scene = Scene(app, database)
    yield scene
    scene.end()


@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "wait"])
def test_who_joins_with_a_grant_that_others_do_not_know_is_told_by_it(scene: Scene, is_stream: bool):
    first, second, third = (scene.world.vessel(name).id for name in "abc")
    key, secret = scene.world.key(vessel_ids=frozenset({first, second}))
    before = scene.join(scene.subscription(secret))
    scene.grant(key.id, second, third)
    scene.report(third)
    number = scene.number() - 1
    scene.told_up_to_now(scene.subscription(secret))
    after = scene.join(scene.subscription(secret), number, is_stream=is_stream)
    for vessel in (first, second, third):
        scene.report(vessel)
    # All who follow with the key are told by the newest that is known of it.
    _soon(lambda: before.vessels == [second, third])
    if is_stream:
        _soon(lambda: after.vessels == [third, second, third])
    else:
        assert after.data


def test_who_joins_with_less_than_others_know_of_is_told_by_what_they_know(scene: Scene):
    first, second = (scene.world.vessel(name).id for name in "ab")
    key, secret = scene.world.key(vessel_ids=frozenset({first}))
    outdated = scene.subscription(secret)
    scene.grant(key.id, second)
    current = scene.join(scene.subscription(secret))
    late = scene.join(outdated)
    scene.report(first)
    scene.report(second)
    _soon(lambda: current.vessels == late.vessels == [second])


def test_who_sees_so_far_back_only_is_told_of_no_late_fix_from_before(scene: Scene):
    first, second = (scene.world.vessel(name).id for name in "ab")
    asked, whole = (scene.subscription(scene.world.key(history_days=days)[1]) for days in (7, None))
    number = scene.number()
    near, far = scene.join(asked, number), scene.join(whole, number)
    long_ago = _FIX.replace("clock_timestamp()", "now() - interval '40 days'")
    sql.run(scene.database, long_ago, vessel=first, many=1)
    scene.report(second)
    _soon(lambda: far.vessels == [first, second])
    _soon(lambda: near.vessels == [second])
    # And so is who has to catch up first, from what is kept or from the database.
    for wanted, vessels in ((asked, [second]), (whole, [first, second])):
        assert [each.vessel_id for each in scene.hub.catch_up(wanted, number).items] == vessels


def test_who_waits_looks_again_once_its_key_may_see_more(scene: Scene):
    first, second = (scene.world.vessel(name).id for name in "ab")
    key, secret = scene.world.key(vessel_ids=frozenset({first}))
    asked = scene.subscription(secret)
    wait, stream = scene.join(asked, is_stream=False), scene.join(asked)
    scene.grant(key.id, second)
    scene.report(second)
    scene.told_up_to_now(asked)
    assert not wait.data
    sql.run(scene.database, _LATEST)
    scene.hub._ask_for_keys()
    # What came before the key was looked for is in the page that it reads then.
    assert wait.data
    assert not stream.data
    [audience] = scene.hub._company.audiences.values()
    assert audience.newest


def test_who_joins_after_a_vessel_became_another_is_told_of_her(scene: Scene):
    vessel = scene.world.vessel("a", kind="tanker").id
    _, secret = scene.world.key()
    asked = scene.subscription(secret, kinds=frozenset({"cargo"}))
    number = scene.number()
    before = scene.join(asked, number)
    scene.report(vessel)
    scene.told_up_to_now(asked)
    sql.run(scene.database, "UPDATE vessels SET kind = 'cargo', seq = nextval('fleet_order')")
    after = scene.join(asked, number)
    assert after.vessels == [vessel]
    assert not before.vessels
    scene.report(vessel)
    _soon(lambda: before.vessels == [vessel])


def test_who_joins_while_it_is_looked_who_follows_a_new_vessel_is_told_of_her(scene: Scene, monkeypatch):
    """It has looked at the fleet before she was registered, and joins when the others were found anew."""
    _, secret = scene.world.key()
    asked = scene.subscription(secret, kinds=frozenset({"cargo"}))
    other = scene.subscription(secret, kinds=frozenset({"cargo", "tanker"}))
    number = scene.number()
    first, second = scene.join(asked, number), Client()
    has_looked, is_found, has_joined = threading.Event(), threading.Event(), threading.Event()
    scope, find, joined = scene.hub._scopes.find, Hub._find_anew, []

    def looking(subscription):
        found = scope(subscription)
        if subscription is other and not has_looked.is_set():
            has_looked.set()
            assert is_found.wait(_SOON_S)
        return found

    def finding(self, *args):
        found = find(self, *args)
        is_found.set()
        assert has_joined.wait(_SOON_S)
        return found

    monkeypatch.setattr(scene.hub._scopes, "find", looking)
    monkeypatch.setattr(Hub, "_find_anew", finding)

    def begin() -> None:
        follower = scene.follower(second)
        joined.append(scene.hub.join(follower, other, number))
        scene.joined.append(follower)
        has_joined.set()

    thread = threading.Thread(target=begin)
    thread.start()
    assert has_looked.wait(_SOON_S)
    vessel = scene.world.vessel("a", kind="cargo").id
    scene.report(vessel)
    thread.join()
    assert joined == [True]
    _soon(lambda: first.vessels == second.vessels == [vessel])


def test_who_joins_while_the_hub_has_much_to_tell_reads_it_by_itself(scene: Scene, monkeypatch):
    """It would be told faster than it can read, and be cut."""
    vessel, (_, secret) = scene.world.vessel().id, scene.world.key()
    asked, number = scene.subscription(secret), scene.number()
    scene.join(asked, number)
    is_amid, may_go_on, take_in = threading.Event(), threading.Event(), Hub._take_in

    def taking_in(self, tail, stretch, edited):
        is_taken = take_in(self, tail, stretch, edited)
        if stretch.has_more:
            is_amid.set()
            assert may_go_on.wait(_SOON_S)
        return is_taken

    monkeypatch.setattr(Hub, "_take_in", taking_in)
    scene.report(vessel, many=1_000)
    assert is_amid.wait(_SOON_S)
    follower = scene.follower(Client())
    assert not scene.hub.join(follower, asked, number)
    read = number
    while (stretch := scene.hub.catch_up(asked, read)).next > read:
        read = stretch.next
    assert read == scene.number()
    assert scene.hub.join(follower, asked, read)
    scene.joined.append(follower)
    may_go_on.set()


def test_what_waits_for_its_turn_is_not_told_of_a_vessel_that_was_taken_away(scene: Scene):
    first, second = (scene.world.vessel(name).id for name in "ab")
    key, secret = scene.world.key(vessel_ids=frozenset({first, second}))
    asked = scene.subscription(secret)
    stream = scene.join(asked, rate=Rate(1.0))
    for vessel in (first, second):
        scene.report(vessel)
        _soon(partial(_has_told, stream, vessel))
        scene.report(vessel)
    scene.told_up_to_now(asked)
    scene.grant(key.id, second)
    scene.hub._ask_for_keys()
    _soon(lambda: stream.vessels.count(second) == 2)
    assert stream.vessels.count(first) == 1


def test_a_farewell_waits_behind_what_a_slow_one_has_to_read(scene: Scene):
    vessel = scene.world.vessel("a").id
    key, secret = scene.world.key()
    slow = scene.join(scene.subscription(secret), client=Client(takes=20))
    scene.report(vessel)
    _soon(lambda: bool(scene.hub._company.blocked))
    sql.run(scene.database, "UPDATE api_keys SET revoked_at = now() WHERE id = :key", key=key.id)
    scene.hub._ask_for_keys()
    assert not slow.is_closed
    slow.takes = float("inf")
    _soon(lambda: slow.is_closed)
    assert [name for name, _ in slow.told] == ["position", "bye"]
