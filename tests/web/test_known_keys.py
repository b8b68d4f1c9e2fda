"""Keys that come at the same time are looked up together: each is told its own, none holds another up."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from tests.support import sql
from tests.support.factories import ACTOR, World

from harbor_api.database import UnitOfWork
from harbor_api.domain.api_keys import Caller, generate
from harbor_api.domain.errors import KeyInvalid, KeyRevoked, Unavailable
from harbor_api.repositories.api_keys import ApiKeys
from harbor_api.services import api_keys
from harbor_api.settings import Settings
from harbor_api.web import known_keys, runtime
from harbor_api.web.known_keys import KnownKeys

_PATIENCE_S = 20
_RECOGNISE = api_keys.recognise


@pytest.fixture
def settings(app: Flask) -> Settings:
    return runtime.of(app).settings


@pytest.fixture
def known(world: World, settings: Settings) -> KnownKeys:
    return KnownKeys(world.database, settings)


@contextmanager
def _held_up(known: KnownKeys, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Hold up the first look-up until the block is left, and list how many keys each looks up."""
    sizes: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def slowly(unit_of_work: UnitOfWork, hashes: Sequence[bytes], *, now: datetime):
        sizes.append(len(hashes))
        if len(sizes) == 1:
            begun.set()
            assert go_on.wait(_PATIENCE_S)
        return _RECOGNISE(unit_of_work, hashes, now=now)

    monkeypatch.setattr(api_keys, "recognise", slowly)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(_outcome, known, generate())
        assert begun.wait(_PATIENCE_S)
        try:
            yield sizes
        finally:
            go_on.set()
        first.result(_PATIENCE_S)


def _outcome(known: KnownKeys, secret: str) -> str | Caller:
    """Return whose key it is, or the name of what was raised."""
    try:
        return known.look_up(secret)
    except (KeyInvalid, KeyRevoked, Unavailable) as error:
        return type(error).__name__


def _together(
    known: KnownKeys, secrets: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str | Caller], list[int]]:
    """Look keys up in one group, and return what came of each and how many each look-up had."""
    with ThreadPoolExecutor(len(secrets)) as pool:
        with _held_up(known, monkeypatch) as sizes:
            asked: list[Future[str | Caller]] = []
            for number, secret in enumerate(secrets, 1):
                asked.append(pool.submit(_outcome, known, secret))
                _await(known, number)
        return [each.result(_PATIENCE_S) for each in asked], sizes


def _await(known: KnownKeys, waiting: int) -> None:
    """Wait until so many keys are waiting to be looked up."""
    waited = threading.Event()
    for _ in range(int(_PATIENCE_S / 0.002)):
        if len(known._look_ups._waiting) == waiting:
            return
        waited.wait(0.002)
    raise AssertionError("it never came so far")


def test_keys_that_come_together_are_told_apart_by_one_statement(
    known: KnownKeys, world: World, monkeypatch: pytest.MonkeyPatch
):
    issued = [world.key(requests_per_minute=number) for number in range(1, 21)]
    revoked, of_revoked = world.key()
    world.revoke(revoked)
    _, of_ended = world.key(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    secrets = [secret for _, secret in issued]
    wrong = [of_revoked, of_ended, generate(), generate(), of_revoked]
    # The same key twice, too.
    told, sizes = _together(known, [*secrets, *wrong, secrets[0]], monkeypatch)
    assert sizes == [1, 26]
    callers = [each for each in told if isinstance(each, Caller)]
    assert [each.id for each in callers] == [key.id for key, _ in (*issued, issued[0])]
    assert [each.requests_per_minute for each in callers[:20]] == list(range(1, 21))
    assert told[20:25] == ["KeyRevoked", "KeyExpired", "KeyInvalid", "KeyInvalid", "KeyRevoked"]
    assert known.recall(secrets[0]) == callers[-1]
    assert known.recall(of_revoked) is None


def test_both_secrets_of_a_key_hold_in_one_group_while_the_grace_lasts(
    known: KnownKeys, world: World, monkeypatch: pytest.MonkeyPatch
):
    key, old = world.key()
    with world.database.unit_of_work() as unit_of_work:
        _, new = api_keys.rotate(
            unit_of_work, key.id, grace=timedelta(hours=1), now=datetime.now(UTC), actor=ACTOR
        )
    told, _ = _together(known, [old, new], monkeypatch)
    assert [each.id for each in told if isinstance(each, Caller)] == [key.id, key.id]
    sql.run(world.database, "UPDATE api_keys SET previous_valid_until = now() - interval '1 second'")
    told, _ = _together(known, [old, new, old], monkeypatch)
    assert (told[0], told[2]) == ("KeyRevoked", "KeyRevoked")
    assert isinstance(told[1], Caller)


def test_a_key_that_was_met_is_looked_up_again_by_each_request(known: KnownKeys, world: World):
    key, secret = world.key(requests_per_minute=10)
    assert known.look_up(secret).requests_per_minute == 10
    sql.run(world.database, "UPDATE api_keys SET requests_per_minute = 20, scopes = '{audit:read}'")
    changed = known.look_up(secret)
    assert (changed.requests_per_minute, changed.scopes) == (20, frozenset({"audit:read"}))
    assert known.recall(secret) == changed
    world.revoke(key)
    with pytest.raises(KeyRevoked):
        known.look_up(secret)
    assert known.recall(secret) is None


def test_nobody_who_comes_after_a_revocation_is_let_in(known: KnownKeys, world: World):
    keys = [world.key() for _ in range(4)]
    is_revoked = threading.Event()

    def ask(secret: str) -> list[tuple[bool, str | Caller]]:
        told = [(is_revoked.is_set(), _outcome(known, secret))]
        while not told[-1][0]:
            told.append((is_revoked.is_set(), _outcome(known, secret)))
        return told

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask, secret) for _, secret in keys * 2]
        for key, _ in keys:
            world.revoke(key)
        is_revoked.set()
    told = [each for asked in asking for each in asked.result(_PATIENCE_S)]
    assert {outcome for came_after, outcome in told if came_after} == {"KeyRevoked"}


def test_a_key_that_cannot_be_looked_up_spoils_no_other(
    known: KnownKeys, world: World, monkeypatch: pytest.MonkeyPatch
):
    good, bad = world.key(), world.key()
    sql.run(world.database, f"UPDATE api_keys SET expires_at = 'infinity' WHERE id = {bad[0].id}")

    def ask(secret: str) -> str:
        try:
            return str(known.look_up(secret).id)
        except Exception as error:
            return type(error).__name__

    with ThreadPoolExecutor(3) as pool, _held_up(known, monkeypatch) as sizes:
        asked = [pool.submit(ask, each) for each in (good[1], bad[1], good[1])]
        _await(known, 3)
    assert [each.result(_PATIENCE_S) for each in asked] == [
        str(good[0].id),
        "StatementFailed",
        str(good[0].id),
    ]
    assert sizes == [1, 3, 1, 1, 1]


def test_all_are_told_at_once_where_the_database_is_away(
    known: KnownKeys, world: World, monkeypatch: pytest.MonkeyPatch
):
    _, secret = world.key()
    asked = Counter[str]()

    def unavailable(*_: object, **__: object) -> None:
        asked["statements"] += 1
        raise Unavailable("The database does not answer")

    with ThreadPoolExecutor(5) as pool, _held_up(known, monkeypatch):
        told = [pool.submit(_outcome, known, secret) for _ in range(5)]
        _await(known, 5)
        monkeypatch.setattr(ApiKeys, "present", unavailable)
    assert [each.result(_PATIENCE_S) for each in told] == ["Unavailable"] * 5
    # One for whoever was held up, one for all the others.
    assert asked["statements"] == 2


def test_who_comes_where_too_many_wait_is_refused_at_once(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    known = KnownKeys(world.database, replace(settings, max_waiting=2))
    key, secret = world.key()
    with ThreadPoolExecutor(2) as pool, _held_up(known, monkeypatch):
        waiting = [pool.submit(_outcome, known, secret) for _ in range(2)]
        _await(known, 2)
        with pytest.raises(Unavailable):
            known.look_up(secret)
    assert [each.result(_PATIENCE_S).id for each in waiting] == [key.id, key.id]


def _used(world: World) -> dict[int, Any]:
    return dict(sql.run(world.database, "SELECT id, last_used_at FROM api_keys"))


def test_use_is_noted_once_a_minute_for_all_of_a_group(
    known: KnownKeys, world: World, monkeypatch: pytest.MonkeyPatch
):
    keys = [world.key() for _ in range(3)]
    ids = [key.id for key, _ in keys]
    _together(known, [secret for _, secret in keys[:2]], monkeypatch)
    first = _used(world)
    assert [first[each] is not None for each in ids] == [True, True, False]
    _together(known, [secret for _, secret in keys], monkeypatch)
    second = _used(world)
    assert [second[each] == first[each] for each in ids] == [True, True, False]
    sql.run(world.database, "UPDATE api_keys SET last_used_at = last_used_at - interval '61 seconds'")
    known.look_up(keys[0][1])
    assert _used(world)[ids[0]] > first[ids[0]]


def test_a_key_that_somebody_changes_just_now_holds_nobody_up(known: KnownKeys, world: World):
    busy, idle = world.key(), world.key()
    with world.database.unit_of_work() as unit_of_work:
        unit_of_work.api_keys.rotate(
            busy[0].id, prefix="hbr_new", sha256=b"new", previous_valid_until=datetime.now(UTC)
        )
        assert [known.look_up(secret).id for _, secret in (busy, idle)] == [busy[0].id, idle[0].id]
        used = _used(world)
        assert used[busy[0].id] is None
        assert used[idle[0].id] is not None


def test_known_keys_are_bounded(known: KnownKeys, world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(known_keys, "_MOST", 3)
    secrets = [world.key()[1] for _ in range(5)]
    for secret in secrets:
        known.look_up(secret)
    assert [known.recall(each) is not None for each in secrets] == [False, False, True, True, True]
