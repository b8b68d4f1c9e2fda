"""The typed way from a view to what is below it, and that two applications have nothing in common."""

from dataclasses import replace

import pytest
from flask import Flask
from tests.conftest import NewDatabase
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix

from harbor_api.app import create_app
from harbor_api.web import runtime

ME, POSITIONS = "/api/v1/me", "/api/v1/positions"


@pytest.fixture
def other(app: Flask, new_database: NewDatabase):
    """Return a second application in this process, over a database of its own."""
    settings = replace(runtime.of(app).settings, database_url=new_database(), key_requests_per_minute=2)
    application = create_app(settings)
    yield application
    runtime.of(application).database.dispose()


class TestTwoApplications:
    def test_know_nothing_of_each_others_keys(
        self, app: Flask, client: CheckedClient, world: World, other: Flask
    ):
        bearer = world.bearer()
        assert client.get(ME, headers=bearer).status_code == 200
        assert CheckedClient(other).get(ME, headers=bearer).status_code == 401

    def test_count_for_themselves(self, app: Flask, client: CheckedClient, world: World, other: Flask):
        there = World(runtime.of(other).database)
        # Both keys have the id 1, and so one name among the counters.
        here = {"Authorization": f"Bearer {world.key(requests_per_minute=None)[1]}"}
        few = {"Authorization": f"Bearer {there.key(requests_per_minute=None)[1]}"}
        answers = [CheckedClient(other).get(ME, headers=few).status_code for _ in range(3)]
        assert answers == [200, 200, 429]
        assert [client.get(ME, headers=here).status_code for _ in range(3)] == [200] * 3

    def test_know_trackers_for_themselves(
        self, app: Flask, client: CheckedClient, world: World, other: Flask
    ):
        there = World(runtime.of(other).database)
        mine, theirs = world.tracker(), there.tracker()
        assert mine.tracker.number == theirs.tracker.number
        assert client.post(POSITIONS, **mine.signed(a_fix())).status_code == 201
        disabled = there.disabled_tracker()
        assert CheckedClient(other).post(POSITIONS, **disabled.signed(a_fix())).status_code == 403
        assert CheckedClient(other).post(POSITIONS, **theirs.signed(a_fix())).status_code == 201

    def test_hold_no_object_in_common(self, app: Flask, other: Flask):
        one, two = runtime.of(app), runtime.of(other)
        assert one.settings != two.settings
        assert one.database is not two.database
        assert one.intake is not two.intake
        assert one.counters is not two.counters


class TestWhatIsMissing:
    @pytest.mark.parametrize(
        ("ask", "decorator"),
        [
            (runtime.caller, "@auth.requires_key"),
            (runtime.actor, "@auth.requires_key"),
            (runtime.signer, "@auth.requires_signature"),
            (runtime.counted, "@auth.requires_key"),
            (runtime.once, "@idempotency.done_once"),
            (runtime.versions, "@preconditions.demands_version"),
            (runtime.body, "@blueprint.arguments"),
        ],
    )
    def test_names_the_decorator(self, app: Flask, ask, decorator):
        with app.test_request_context():
            runtime.begin_request("abc", None)
            with pytest.raises(RuntimeError, match=decorator):
                ask()

    def test_a_request_has_its_id_and_nothing_else_has_one(self, app: Flask):
        assert runtime.present_ids() == {}
        with app.test_request_context():
            assert runtime.present_ids() == {}
            runtime.begin_request("abc", None)
            assert runtime.present_ids() == {"request_id": runtime.request_id()} == {"request_id": "abc"}
            assert runtime.who() is None
        assert runtime.present_ids() == {}

    def test_a_request_within_another_ends_for_itself_alone(self, app: Flask):
        with app.test_request_context("/docs"):
            runtime.begin_request("outer", "f" * 32)
            assert app.test_client().get("/health/live").status_code == 200
            with app.test_request_context():
                # Of this one nothing is known.
                pass
            assert runtime.request_id() == "outer"
            assert runtime.sent().path == "/docs"
        assert runtime.present_ids() == {}
