"""Creations that are asked for at the same moment, on real connections: one is done, both are told of it."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import ACTOR, World
from tests.support.urls import KEYS

from harbor_api.domain.audit import Actor
from harbor_api.domain.changes import Edit
from harbor_api.domain.errors import Conflict, IdempotencyKeyReused, PreconditionFailed
from harbor_api.domain.vessels import VesselDetails
from harbor_api.services import idempotency, vessels
from harbor_api.services.idempotency import Once

_WAIT_S = 10


def _together(*jobs: Callable[[], Any]) -> list[Any]:
    """Run jobs in threads that set out at the same moment and return what they answered."""
    gate = threading.Barrier(len(jobs), timeout=_WAIT_S)

    def run(job: Callable[[], Any]) -> Any:
        gate.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [each.result(_WAIT_S) for each in [pool.submit(run, job) for job in jobs]]


def _count(world: World, table: str) -> int:
    return sql.count(world.database, table)


def _register(world: World, once: Once, name: str = "Once") -> int:
    with world.database.unit_of_work() as unit_of_work:
        claim = idempotency.claim(unit_of_work, once)
        if claim.answer is not None:
            return int(claim.answer)
        vessel = vessels.register(unit_of_work, VesselDetails(name=name), actor=ACTOR)
        claim.done(b"%d" % vessel.id)
        return vessel.id


def _age(world: World, *, hours: int) -> None:
    sql.run(world.database, f"UPDATE idempotency_keys SET created_at = created_at - interval '{hours} hours'")


def _leave(world: World, caller: int, count: int) -> None:
    """Leave keys of more than a day ago."""
    sql.run(
        world.database,
        "INSERT INTO idempotency_keys (api_key_id, key, fingerprint, nonce, answer, created_at) "
        f"SELECT {caller}, 'old ' || n, '', '', '', now() - interval '25 hours' + n * interval '1 second' "
        f"FROM generate_series(1, {count}) AS n",
    )


def _fail(world: World, once: Once, claimed: threading.Event | None = None) -> None:
    with world.database.unit_of_work() as unit_of_work:
        idempotency.claim(unit_of_work, once)
        if claimed is not None:
            claimed.set()
        raise ZeroDivisionError


def test_two_at_once_with_one_key_create_one(world: World):
    key, _ = world.key()
    once = Once(key.id, "same", b"fingerprint")
    first, second = _together(*[lambda: _register(world, once)] * 2)
    assert first == second
    assert _count(world, "vessels") == 1


def test_without_a_key_each_creates_its_own(world: World):
    key, _ = world.key()
    once = Once(key.id, None, b"fingerprint")
    first, second = _together(*[lambda: _register(world, once)] * 2)
    assert first != second


def test_the_same_key_of_another_caller_is_another_key(world: World):
    one, two = world.key()[0], world.key()[0]
    created = {_register(world, Once(key.id, "same", b"fingerprint")) for key in (one, two)}
    assert len(created) == 2


def test_the_same_key_for_another_request_is_refused(world: World):
    key, _ = world.key()
    _register(world, Once(key.id, "same", b"fingerprint"))
    with pytest.raises(IdempotencyKeyReused):
        _register(world, Once(key.id, "same", b"another"))


def test_a_creation_that_failed_leaves_its_key_free(world: World):
    key, _ = world.key()
    once = Once(key.id, "same", b"fingerprint")
    with pytest.raises(ZeroDivisionError):
        _fail(world, once)
    assert _register(world, once)
    assert _count(world, "idempotency_keys") == 1


def test_who_comes_second_creates_it_where_the_first_one_fails(world: World):
    key, _ = world.key()
    once = Once(key.id, "same", b"fingerprint")
    claimed = threading.Event()

    def fail() -> None:
        with pytest.raises(ZeroDivisionError):
            _fail(world, once, claimed)

    def register() -> int:
        assert claimed.wait(_WAIT_S)
        return _register(world, once)

    _, vessel_id = _together(fail, register)
    assert vessel_id
    assert _count(world, "vessels") == 1


def test_a_key_of_more_than_a_day_ago_is_as_good_as_new(world: World):
    key, _ = world.key()
    first = _register(world, Once(key.id, "same", b"fingerprint"))
    _age(world, hours=23)
    assert _register(world, Once(key.id, "same", b"fingerprint")) == first
    _age(world, hours=2)

    second = _register(world, Once(key.id, "same", b"another"))

    assert second != first
    assert _register(world, Once(key.id, "same", b"another")) == second
    assert _count(world, "vessels") == 2


def test_two_at_once_with_a_key_of_more_than_a_day_ago_create_one(world: World):
    key, _ = world.key()
    _register(world, Once(key.id, "same", b"fingerprint"))
    _age(world, hours=25)
    once = Once(key.id, "same", b"another")
    first, second = _together(*[lambda: _register(world, once)] * 2)
    assert first == second
    assert _count(world, "vessels") == 2


def test_what_others_have_left_is_nothing_that_a_caller_pays_for(world: World):
    key, _ = world.key()
    _leave(world, key.id, 100)
    _register(world, Once(key.id, "new", b"fingerprint"))
    assert _count(world, "idempotency_keys") == 101


def test_old_ones_are_pruned_and_one_that_is_claimed_just_now_is_passed_over(world: World):
    key, _ = world.key()
    _leave(world, key.id, 40)
    _register(world, Once(key.id, "today", b"fingerprint"))
    with world.database.unit_of_work() as unit_of_work:
        idempotency.claim(unit_of_work, Once(key.id, "old 3", b"fingerprint"))

        def prune() -> int:
            with world.database.unit_of_work() as other:
                return other.idempotency_keys.prune(most=30)

        # A thread, for a statement that waits would wait for this very test.
        assert [_together(prune) for _ in range(3)] == [[30], [9], [0]]
    assert _count(world, "idempotency_keys") == 2


def test_what_an_earlier_release_has_done_is_not_done_again(world: World):
    key, _ = world.key()
    _register(world, Once(key.id, "same", b"fingerprint"))
    sql.run(world.database, "UPDATE idempotency_keys SET answer = NULL")
    with pytest.raises(Conflict):
        _register(world, Once(key.id, "same", b"fingerprint"))
    assert _count(world, "vessels") == 1


def test_over_http_two_at_once_are_told_the_same_secret(client: CheckedClient, app: Flask, world: World):
    bearer = world.bearer("keys:write", "vessels:read") | {"Idempotency-Key": "same"}
    terms = {"name": "partner", "scopes": ["vessels:read"]}
    before = _count(world, "api_keys")

    def post() -> Any:
        answer = CheckedClient(app).post(KEYS, json=terms, headers=bearer)
        assert answer.status_code == 201, answer.text
        return answer.json["id"], answer.json["secret"]

    first, second = _together(post, post)

    assert first == second
    assert _count(world, "api_keys") == before + 1


def test_of_two_writers_at_once_exactly_one_wins(world: World):
    vessel = world.vessel("Before")

    def rename(name: str) -> str:
        try:
            with world.database.unit_of_work() as unit_of_work:
                vessels.change(
                    unit_of_work,
                    vessel.id,
                    Edit({"name": name}),
                    versions={vessel.version},
                    actor=Actor(name=name),
                )
        except PreconditionFailed:
            return "lost"
        return name

    outcomes = _together(lambda: rename("one"), lambda: rename("two"))

    assert outcomes.count("lost") == 1
    [winner] = set(outcomes) - {"lost"}
    with world.database.unit_of_work() as unit_of_work:
        assert unit_of_work.vessels.lock(vessel.id).details.name == winner
        entries = unit_of_work.audit.search(after=None, limit=9, newest_first=True)
    assert [each.actor.name for each in entries if each.action == "vessel.changed"] == [winner]
