"""A signed message that comes again: answered as the first time, and counted once."""

import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from flask import Flask
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import ACTOR, World, a_fix
from tests.support.urls import BATCH, CHECK, POSITIONS

from harbor_api.domain.errors import Unavailable
from harbor_api.services import trackers
from harbor_api.web import runtime

ALLOWED = 5


@pytest.fixture
def strict(app: Flask, client: CheckedClient, monkeypatch: pytest.MonkeyPatch) -> CheckedClient:
    """Return a client of a service that lets each tracker send five times a minute."""
    settings = replace(
        runtime.of(app).settings, tracker_requests_per_minute=ALLOWED, failures_per_minute=ALLOWED
    )
    monkeypatch.setitem(app.extensions, runtime.NAME, replace(runtime.of(app), settings=settings))
    return client


def _left(answer) -> str:
    return str(answer.headers["RateLimit"].partition(";t=")[0])


def _post(client: CheckedClient, signed, url: str = POSITIONS, address: str = "192.0.2.66"):
    """Post as somebody else does who has seen the message."""
    return client.post(url, **signed, environ_overrides={"REMOTE_ADDR": address})


def test_a_repeat_gets_the_first_answer_and_does_not_count(strict: CheckedClient, world: World):
    signed = world.tracker().signed(a_fix())
    first = strict.post(POSITIONS, **signed)
    assert (first.status_code, first.json) == (201, {"verdict": "stored", "latest": True})
    for _ in range(ALLOWED):
        again = _post(strict, signed)
        assert (again.status_code, again.json) == (201, first.json)
        assert _left(again) == _left(first) == f'"tracker";r={ALLOWED - 1}'


def test_whoever_repeats_is_bounded_and_shuts_out_nobody(strict: CheckedClient, world: World):
    tracker = world.tracker()
    signed = tracker.signed(a_fix())
    strict.post(POSITIONS, **signed)
    statuses = [_post(strict, signed).status_code for _ in range(20)]
    assert statuses == [201] * ALLOWED + [429] * (20 - ALLOWED)
    assert _post(strict, signed).headers["RateLimit-Policy"] == f'"repeats";q={ALLOWED};w=60'
    # The tracker itself sends again what it had no answer to, and the next.
    assert strict.post(POSITIONS, **signed).status_code == 201
    assert strict.post(POSITIONS, **tracker.signed(a_fix(1))).status_code == 201


def test_a_message_counts_once_for_each_operation_that_it_is_sent_to(
    app: Flask, strict: CheckedClient, world: World
):
    tracker = world.tracker()
    signed = tracker.signed(a_fix())
    strict.post(POSITIONS, **signed)
    for url in (BATCH, f"{BATCH}/", f"{BATCH}?x=1", f"{POSITIONS}/"):
        # No path of the document is written like this.
        app.test_client().post(url, **signed)
    assert _left(strict.post(POSITIONS, **tracker.signed(a_fix(1)))) == f'"tracker";r={ALLOWED - 3}'


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b'{"lat": 1}', 422), (b"[" + b" " * 70_000 + b"]", 413)]
)
def test_what_was_refused_is_refused_again_and_does_not_count(
    strict: CheckedClient, world: World, body, status
):
    tracker = world.tracker()
    signed = tracker.signed(body)
    if status == 413:
        # It is not read so far that it could be told from others.
        assert _post(strict, signed).status_code == status
        return
    assert [_post(strict, signed).status_code for _ in range(3)] == [status] * 3
    assert _left(strict.post(POSITIONS, **tracker.signed(a_fix()))) == f'"tracker";r={ALLOWED - 2}'


def test_an_id_with_another_body_is_another_message(strict: CheckedClient, world: World):
    """A board that has lost its counter begins anew: no position may be lost for that."""
    tracker = world.tracker()
    name = f"{tracker.tracker.id}-1"
    answers = [strict.post(POSITIONS, **tracker.signed(a_fix(n), id=name)) for n in range(3)]
    assert [each.status_code for each in answers] == [201] * 3
    assert [_left(each)[-1] for each in answers] == ["4", "3", "2"]


def test_a_retry_that_is_signed_anew_gets_the_first_answer(strict: CheckedClient, world: World):
    tracker = world.tracker()
    now = int(datetime.now(UTC).timestamp())
    name = f"{tracker.tracker.id}-1"
    answers = [strict.post(POSITIONS, **tracker.signed(a_fix(), id=name, timestamp=now - n)) for n in (0, 1)]
    assert [each.status_code for each in answers] == [201, 201]
    assert sql.count(world.database, "positions") == 1


def test_a_retry_with_another_id_is_told_that_it_is_a_duplicate(strict: CheckedClient, world: World):
    tracker = world.tracker()
    answers = [strict.post(POSITIONS, **tracker.signed(a_fix())) for _ in range(2)]
    assert [each.status_code for each in answers] == [201, 200]


def test_a_retry_of_what_was_not_stored_is_done(app: Flask, strict: CheckedClient, world: World, monkeypatch):
    signed = world.tracker().signed(a_fix())
    with monkeypatch.context() as patch:
        patch.setattr(runtime.of(app).intake, "accept", _unavailable)
        assert strict.post(POSITIONS, **signed).status_code == 503
        assert strict.post(POSITIONS, **signed).status_code == 503
    assert sql.count(world.database, "positions") == 0
    answer = strict.post(POSITIONS, **signed)
    assert (answer.status_code, answer.json["verdict"]) == (201, "stored")
    assert sql.count(world.database, "positions") == 1
    assert _left(answer) == f'"tracker";r={ALLOWED - 1}'


def _unavailable(*_, **__):
    raise Unavailable


def test_a_batch_is_answered_with_all_its_verdicts_again(strict: CheckedClient, world: World):
    body = gzip.compress(json.dumps({"fixes": [a_fix(n) for n in range(200)] + [{}]}).encode())
    signed = world.tracker().signed(body)
    signed["headers"]["content-encoding"] = "gzip"
    first, again = (strict.post(BATCH, **signed) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json == again.json
    assert len(again.json["verdicts"]) == 201


def test_whoever_may_not_send_any_more_is_not_answered_again(strict: CheckedClient, world: World):
    tracker = world.tracker()
    signed = tracker.signed(a_fix())
    assert strict.post(POSITIONS, **signed).status_code == 201
    with world.database.unit_of_work() as unit_of_work:
        trackers.disable(unit_of_work, tracker.tracker.number, now=datetime.now(UTC), actor=ACTOR)
    assert strict.post(POSITIONS, **signed).json["code"] == "tracker_disabled"


class TestAMessageThatIsToBeChecked:
    def test_is_never_stored(self, client: CheckedClient, world: World):
        signed = world.tracker().signed(a_fix(), url=CHECK)
        assert client.post(CHECK, **signed).json == {"would_be": "stored", "latest": True}
        for url in (POSITIONS, BATCH):
            refused = client.post(url, **signed)
            assert (refused.status_code, refused.json["code"]) == (401, "signature_missing")
            assert "check-" in refused.json["detail"]
        assert sql.count(world.database, "positions") == 0

    def test_is_the_only_one_that_is_checked(self, client: CheckedClient, world: World):
        tracker = world.tracker()
        refused = client.post(CHECK, **tracker.signed(a_fix()))
        assert (refused.status_code, refused.json["code"]) == (401, "signature_missing")
        assert f"{tracker.tracker.id}-check-1" in refused.json["detail"]

    def test_is_foretold_anew_each_time_and_counts_once(self, strict: CheckedClient, world: World):
        tracker = world.tracker()
        signed = tracker.signed(a_fix(), url=CHECK)
        assert strict.post(CHECK, **signed).json["would_be"] == "stored"
        strict.post(POSITIONS, **tracker.signed(a_fix()))
        again = strict.post(CHECK, **signed)
        assert again.json["would_be"] == "duplicate"
        assert _left(again) == f'"tracker";r={ALLOWED - 2}'


class TestAClockThatIsOff:
    """Whoever signs is told so however often others behind the same address fail."""

    @staticmethod
    def _fail_often(client: CheckedClient) -> None:
        answers = [client.post(POSITIONS, data=b"{}") for _ in range(ALLOWED + 1)]
        assert answers[-1].status_code == 429

    def test_is_told_to_who_signs(self, strict: CheckedClient, world: World):
        tracker = world.tracker()
        self._fail_often(strict)
        for off in (-3_600, 3_600, -1_000_000_000):
            moment = int(datetime.now(UTC).timestamp()) + off
            answer = strict.post(POSITIONS, **tracker.signed(a_fix(), timestamp=moment))
            assert (answer.status_code, answer.json["code"]) == (401, "timestamp_out_of_tolerance")
        disabled = world.disabled_tracker().signed(a_fix(), timestamp=1)
        assert strict.post(POSITIONS, **disabled).json["code"] == "timestamp_out_of_tolerance"

    def test_is_told_to_nobody_else(self, strict: CheckedClient, world: World):
        tracker = world.tracker()
        self._fail_often(strict)
        forged = replace(tracker, secret="whsec_" + "A" * 43 + "=")
        unknown = replace(forged, tracker=replace(tracker.tracker, number=9_999))
        answers = [strict.post(POSITIONS, **each.signed(a_fix(), timestamp=1)) for each in (forged, unknown)]
        assert [each.status_code for each in answers] == [429, 429]
        assert {each.json["detail"] for each in answers} == {answers[0].json["detail"]}

    def test_is_told_before_the_body_is_read_where_nobody_fails(self, strict: CheckedClient, world: World):
        signed = world.tracker().signed(a_fix(), timestamp=1)
        answer = strict.post(POSITIONS, data=b"x", headers=signed["headers"])
        assert (answer.status_code, answer.json["code"]) == (401, "timestamp_out_of_tolerance")
