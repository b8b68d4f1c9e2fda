"""A Python client that a partner generates from the document does the main job, typed, without warnings."""

import asyncio
import importlib
import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from flask import Flask
from tests.support.factories import SigningTracker
from tests.support.live_service import LiveService
from tests.support.operations import operations_of

from harbor_api.domain.signatures import sign
from harbor_api.web import runtime

Document = dict[str, Any]
Generated = Callable[[str], Any]
_PACKAGE = "generated_harbor_client"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Signed(httpx.Auth):
    """Signs the bytes that are sent, whoever wrote them, with a new id for each attempt."""

    requires_request_body = True
    _numbers = itertools.count(1)

    def __init__(self, signing: SigningTracker) -> None:
        self._signing = signing

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        message_id = f"{self._signing.tracker.id}-{next(self._numbers)}"
        now = int(time.time())
        request.headers["webhook-id"] = message_id
        request.headers["webhook-timestamp"] = str(now)
        request.headers["webhook-signature"] = sign(self._signing.secret, message_id, now, request.content)
        yield request


@pytest.fixture(scope="module")
def generated(app: Flask, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generated]:
    """Generate a client and return what imports a module of it by name."""
    directory = tmp_path_factory.mktemp("generated")
    (directory / "document.json").write_bytes(runtime.of(app).document)
    # Without hooks it runs no formatter: the code is read by nobody.
    (directory / "settings.json").write_text(json.dumps({"post_hooks": []}))
    run = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning"),
            *("--path", "document.json", "--config", "settings.json"),
            *("--meta", "none", "--output-path", _PACKAGE),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    # Whatever it cannot express it says here and leaves out.
    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, f"Generating {_PACKAGE}", "")
    sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    yield lambda name: importlib.import_module(f"{_PACKAGE}.{name}")
    sys.path.remove(str(directory))
    for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def live_service(module_service: LiveService) -> LiveService:
    """Return one service for all tests here: each has its own vessel."""
    return module_service


@pytest.fixture
def partner(generated: Generated, live_service: LiveService) -> Iterator[Any]:
    """Return a generated client with a key that may read vessels."""
    _, key = live_service.world.key("vessels:read")
    with generated("client").AuthenticatedClient(
        base_url=live_service.base_url, token=key, raise_on_unexpected_status=True
    ) as client:
        yield client


@pytest.fixture
def signing(live_service: LiveService) -> SigningTracker:
    """Return a tracker on a vessel of its own."""
    return live_service.world.tracker(live_service.world.vessel("Kattegat Runner", imo=None))


@pytest.fixture
def tracker(generated: Generated, live_service: LiveService, signing: SigningTracker) -> Iterator[Any]:
    """Return a generated client that signs what it sends."""
    with generated("client").Client(
        base_url=live_service.base_url,
        raise_on_unexpected_status=True,
        httpx_args={"auth": Signed(signing)},
    ) as client:
        yield client


def test_has_every_operation_under_its_tag_and_id(generated: Generated, document: Document):
    for operation in operations_of(document):
        tag = operation.described["tags"][0]
        name = re.sub("([A-Z])", r"_\1", operation.described["operationId"]).lower()
        assert generated(f"api.{tag.replace('-', '_')}.{name}").sync_detailed, str(operation)


def test_gives_every_member_of_every_schema_a_type(generated: Generated, document: Document):
    models = generated("models")
    untyped = [
        f"{name}.{member}"
        for name in document["components"]["schemas"]
        for member, annotation in getattr(models, name).__annotations__.items()
        # Where it keeps what a later release sends.
        if member != "additional_properties" and re.search(r"\bAny\b", annotation)
    ]
    assert untyped == []


def test_reads_back_every_fix_that_it_writes(generated: Generated, document: Document):
    least = {"recorded_at": MOMENT.isoformat(), "lat": 59.9, "lon": 10.7}
    fix = generated("models").Fix
    for member, schema in document["components"]["schemas"]["Fix"]["properties"].items():
        values = [*schema["examples"], *([None] if "null" in schema["type"] else [])]
        for value in values if member != "recorded_at" else ():
            written = {**least, member: value}
            assert fix.from_dict(written).to_dict() == written


class TestPartner:
    def test_reads_the_fleet_as_typed_features(
        self, generated: Generated, live_service: LiveService, partner: Any
    ):
        vessel = live_service.world.vessel("Never seen")
        answer = generated("api.vessels.list_vessels").sync_detailed(client=partner)
        models = generated("models")
        assert answer.status_code == 200
        assert type(answer.parsed) is models.VesselFeatureCollection
        assert {type(feature) for feature in answer.parsed.features} == {models.VesselFeature}
        [feature] = [each for each in answer.parsed.features if each.id == vessel.id]
        assert feature.geometry is None
        assert (feature.properties.name, feature.properties.stale) == ("Never seen", True)

    def test_reads_the_fleet_without_blocking(self, generated: Generated, live_service: LiveService):
        vessel = live_service.world.vessel()
        _, key = live_service.world.key()

        async def read() -> Any:
            client = generated("client").AuthenticatedClient(base_url=live_service.base_url, token=key)
            async with client:
                return await generated("api.vessels.list_vessels").asyncio(client=client)

        assert vessel.id in {feature.id for feature in asyncio.run(read()).features}

    def test_reads_one_vessel(self, generated: Generated, live_service: LiveService, partner: Any):
        vessel = live_service.world.vessel("Skagerrak Trader", flag="NO")
        found = generated("api.vessels.get_vessel").sync(vessel.id, client=partner)
        assert type(found) is generated("models").VesselFeature
        assert (found.id, found.properties.name, found.properties.flag) == (
            vessel.id,
            "Skagerrak Trader",
            "NO",
        )

    def test_learns_of_a_missing_vessel_from_a_typed_problem(self, generated: Generated, partner: Any):
        answer = generated("api.vessels.get_vessel").sync_detailed(2147483647, client=partner)
        assert answer.status_code == 404
        assert type(answer.parsed) is generated("models").Problem
        assert (answer.parsed.status, answer.parsed.code) == (404, "not_found")
        assert answer.parsed.request_id == answer.headers["X-Request-Id"]

    def test_is_refused_with_a_wrong_key(self, generated: Generated, live_service: LiveService):
        with generated("client").AuthenticatedClient(
            base_url=live_service.base_url, token="nonsense"
        ) as client:
            answer = generated("api.vessels.list_vessels").sync_detailed(client=client)
        assert (answer.status_code, answer.parsed.code) == (401, "key_invalid")


class TestTracker:
    def test_moves_its_vessel(
        self, generated: Generated, partner: Any, tracker: Any, signing: SigningTracker
    ):
        models, post = generated("models"), generated("api.positions.post_position").sync_detailed
        fix = models.Fix(recorded_at=MOMENT, lat=59.9, lon=10.7, sog=8.4, heading=180, nav_status=0)

        first = post(client=tracker, body=fix)
        assert (first.status_code, type(first.parsed)) == (201, models.Verdict)
        assert (first.parsed.verdict.value, first.parsed.latest) == ("stored", True)

        again = post(client=tracker, body=fix)
        assert (again.status_code, again.parsed.verdict.value) == (200, "duplicate")
        assert again.parsed.differs is False

        found = generated("api.vessels.get_vessel").sync(signing.tracker.vessel_id, client=partner)
        assert type(found.geometry) is models.Point
        assert found.geometry.coordinates == [10.7, 59.9]
        assert found.properties.recorded_at == MOMENT
        assert (found.properties.sog, found.properties.heading) == (8.4, 180)

    def test_learns_what_is_wrong_with_its_fix(self, generated: Generated, tracker: Any):
        fix = generated("models").Fix(recorded_at=MOMENT, lat=90.5, lon=10.7)
        answer = generated("api.positions.post_position").sync_detailed(client=tracker, body=fix)
        assert (answer.status_code, answer.parsed.code) == (422, "validation_failed")
        assert [fault.pointer for fault in answer.parsed.errors] == ["#/lat"]

    def test_is_refused_without_a_signature(self, generated: Generated, partner: Any):
        fix = generated("models").Fix(recorded_at=MOMENT, lat=59.9, lon=10.7)
        answer = generated("api.positions.post_position").sync_detailed(client=partner, body=fix)
        assert (answer.status_code, answer.parsed.code) == (401, "signature_missing")
