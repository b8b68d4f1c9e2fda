"""Schemathesis against a running service: what the document allows, and what it does not.

It signs what it sends and carries a key, so that its cases get past authentication. How many examples
it makes up for an operation is SCHEMATHESIS_EXAMPLES, where that is unset three times as many with ``--slow``
as without; SCHEMATHESIS_SEED gives another run.
"""

import os
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests
from hypothesis import strategies as st
from requests.auth import AuthBase
from tests.conftest import NewDatabase
from tests.support import sql
from tests.support.examples import many
from tests.support.factories import World
from tests.support.live_service import LiveService
from tests.support.openapi_check import Contract
from tests.support.operations import operations_of
from tests.support.urls import CHECK, FEEDS

from harbor_api.domain.api_keys import digest, generate
from harbor_api.domain.consumers import is_name
from harbor_api.domain.signatures import sign
from harbor_api.domain.values import Text

with warnings.catch_warnings():
    # It and what it imports use names that newer releases of their libraries have deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import schemathesis
    from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
    from schemathesis.config._checks import (
        ChecksConfig,
        MissingRequiredHeaderConfig,
        NegativeDataRejectionConfig,
        PositiveDataAcceptanceConfig,
    )
    from schemathesis.config._operations import OperationConfig, OperationsConfig
    from schemathesis.engine import Status, events, from_schema

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", many(30, least=10)))
SEED = int(os.environ.get("SCHEMATHESIS_SEED", "1"))
CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
}


class SignsAsTracker(AuthBase):
    """Signs the very bytes that are sent, each time anew.

    Now and then it is another tracker: the explorer disables and rotates what it finds.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._requests = 0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._requests % 10 == 0:
            self._tracker = self._world.tracker()
        self._requests += 1
        body = request.body or b""
        data = body if isinstance(body, bytes) else body.encode()
        kind = "check-" if urlsplit(str(request.url)).path == CHECK else ""
        message_id = f"{self._tracker.tracker.id}-{kind}{uuid.uuid4().hex}"
        moment = int(time.time())
        request.headers["webhook-id"] = message_id
        request.headers["webhook-timestamp"] = str(moment)
        request.headers["webhook-signature"] = sign(self._tracker.secret, message_id, moment, data)
        return request


# As they are issued one by one, which takes longer than what is asked with one.
_ISSUE = """
INSERT INTO api_keys (name, prefix, sha256, scopes, all_vessels, requests_per_minute)
SELECT 'a partner', 'hbr_000000', sha256, :scopes, true, 1000000
FROM unnest(CAST(:hashes AS bytea[])) WITH ORDINALITY AS secret (sha256, place) ORDER BY place
RETURNING id
"""
_AT_ONCE = 50


class CarriesKey(AuthBase):
    """Carries an API key, each time another: the explorer revokes what it finds, and repeats its requests.

    Where a consumer is asked for, the key has it.
    """

    def __init__(self, world: World, scopes: set[str]) -> None:
        self._world = world
        self._scopes = scopes
        self._keys = self._issued()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        key_id, secret = next(self._keys)
        request.headers["Authorization"] = f"Bearer {secret}"
        _, is_one, rest = urlsplit(str(request.url)).path.partition(f"{FEEDS}/")
        name = unquote(rest.removesuffix("/positions"))
        if is_one and is_name(name):
            with self._world.database.unit_of_work() as unit_of_work:
                unit_of_work.consumers.add(key_id, name, number=0, filters={})
        return request

    def _issued(self) -> Iterator[tuple[int, str]]:
        while True:
            secrets = [generate() for _ in range(_AT_ONCE)]
            hashes = [digest(secret) for secret in secrets]
            ids = sql.column(self._world.database, _ISSUE, scopes=sorted(self._scopes), hashes=hashes)
            yield from zip(ids, secrets, strict=True)


@dataclass
class Report:
    """What a run has done and found."""

    failures: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    checks: Counter[str] = field(default_factory=Counter)
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    lies: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        return sum(sum(counted.values()) for counted in self.statuses.values())


def _checks() -> ChecksConfig:
    """Return its checks with the refusals that RFC 6585 and RFC 9110 have and it does not think of."""
    return ChecksConfig(
        positive_data_acceptance=PositiveDataAcceptanceConfig(
            expected_statuses=["2xx", "304", "401", "403", "404", "409", "412"]
        ),
        negative_data_rejection=NegativeDataRejectionConfig(
            expected_statuses=[
                *("400", "401", "403", "404", "405", "409", "412", "413", "414", "415", "422", "428")
            ]
        ),
        missing_required_header=MissingRequiredHeaderConfig(expected_statuses=["401", "404", "428"]),
    )


def _imo_number(six: str) -> str:
    return six + str(
        sum(weight * int(digit) for weight, digit in zip(range(7, 1, -1), six, strict=True)) % 10
    )


schemathesis.openapi.format("visible-text", st.text().filter(lambda text: not Text(1_000).fault(text)))
schemathesis.openapi.format("imo-number", st.from_regex(r"[1-9][0-9]{5}", fullmatch=True).map(_imo_number))


def explore(document: dict[str, Any], service: LiveService) -> Report:
    """Let Schemathesis do all it can to a service, and return what it found."""
    # A NUL is refused wherever it stands: also in members that are passed over.
    generation = GenerationConfig(
        max_examples=EXAMPLES, with_security_parameters=False, database="none", allow_x00=False
    )
    project = ProjectConfig(
        base_url=service.base_url,
        generation=generation,
        continue_on_failure=True,
        checks=_checks(),
        # A bad item of a batch is not refused: it gets the verdict "invalid" and blocks no other.
        operations=OperationsConfig(
            operations=[
                OperationConfig.from_dict(
                    {
                        "include-operation-id": "postPositionBatch",
                        "checks": {"negative_data_rejection": {"enabled": False}},
                    }
                ),
                # Some parameters hold together only, or not together; ends have an order; and a cursor is
                # one that was given.
                *(
                    OperationConfig.from_dict(
                        {
                            "include-operation-id": name,
                            "checks": {"positive_data_acceptance": {"enabled": False}},
                        }
                    )
                    for name in (
                        "listVessels",
                        "listPositions",
                        "getVesselTrack",
                        "getVesselSummary",
                        "followPositions",
                        "putFeed",
                    )
                ),
                # It holds each event against what is said of them all.
                OperationConfig.from_dict(
                    {
                        "include-operation-id": "streamPositions",
                        "checks": {
                            "positive_data_acceptance": {"enabled": False},
                            "response_schema_conformance": {"enabled": False},
                        },
                    }
                ),
                # Needs one of its members, whichever: one that selects nothing would select all.
                *(
                    OperationConfig.from_dict(
                        {
                            "include-operation-id": name,
                            "checks": {"positive_data_acceptance": {"enabled": False}},
                        }
                    )
                    for name in ("releaseFixes", "rejectFixes")
                ),
            ]
        ),
    )
    config = SchemathesisConfig(seed=SEED, projects=ProjectsConfig(default=project))
    schema = schemathesis.openapi.from_dict(document, config=config)
    signing = SignsAsTracker(service.world)
    scopes = {
        scope
        for operation in operations_of(document)
        for required in operation.security
        for scope in required.get("api_key", ())
    }
    carrying = CarriesKey(service.world, scopes)
    for operation in operations_of(document):
        for required in operation.security:
            auth = carrying if "api_key" in required else signing
            schema.auth.set_from_requests(auth).apply_to(method=operation.method, path=operation.path)
    contract = Contract(document)
    report = Report()
    for event in from_schema(schema).execute():
        _note(event, report, contract)
    return report


def _note(event: Any, report: Report, contract: Contract) -> None:
    if isinstance(event, events.NonFatalError):
        report.errors.append(f"{event.label}: {event.info.message}")
    elif isinstance(event, events.FatalError):
        raise event.exception
    elif isinstance(event, events.ScenarioFinished):
        for case_id, results in event.recorder.checks.items():
            for result in results:
                report.checks[result.name] += 1
                if result.status is Status.FAILURE:
                    report.failures.append(_told(event, case_id, result))
        for case_id, interaction in event.recorder.interactions.items():
            if interaction.response is not None:
                label = event.recorder.cases[case_id].value.operation.label
                _hold(label, interaction, report, contract)


def _told(event: Any, case_id: str, result: Any) -> str:
    case = event.recorder.cases[case_id].value
    failure = result.failure_info.failure
    return f"{event.phase.value}: {result.name}: {failure.title}: {failure.message}\n{case.as_curl_command()}"


def _hold(label: str, interaction: Any, report: Report, contract: Contract) -> None:
    """Count an exchange, and hold it against the document as all other tests do."""
    response = interaction.response
    report.statuses.setdefault(label, Counter())[response.status_code] += 1
    headers = {name: ", ".join(values) for name, values in response.headers.items()}
    path = requests.utils.urlparse(response.request.url).path
    try:
        contract.check(
            str(response.request.method), path, response.status_code, headers, response.content or b""
        )
    except AssertionError as lie:
        report.lies.append(str(lie))


@pytest.fixture
def report(new_database: NewDatabase, document: dict[str, Any], tmp_path: Path) -> Report:
    with LiveService(new_database(), log=tmp_path / "service.log", stream_s=1) as service:
        service.world.vessel("Never seen")
        found = explore(document, service)
        # Schemathesis keeps connections open, for which a service that is asked to end waits long.
        service.kill()
    return found


# One test, as each worker of pytest-xdist that got a part of it would have to do the whole run.
def test_finds_nothing_and_has_looked_everywhere(report: Report, document: dict[str, Any]):
    print(f"{report.cases} cases, {report.checks.total()} checks: {dict(report.checks)}")
    for label, statuses in sorted(report.statuses.items()):
        print(f"{label}: {dict(sorted(statuses.items()))}")
    assert report.errors == []
    assert report.failures == [], "\n\n".join(report.failures)
    assert report.lies == []
    assert set(report.checks) >= CHECKS
    for operation in operations_of(document):
        answered = report.statuses[str(operation)]
        assert any(status < 300 for status in answered), str(operation)
        # It drops authentication only after a success, which a decision that is made already never is.
        assert bool(operation.security) == (401 in answered) or 409 in answered, str(operation)
        if "requestBody" in operation.described:
            assert answered.total() >= EXAMPLES, str(operation)
