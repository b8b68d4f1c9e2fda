"""Who may call what: every view says it, and every operation does what it says."""

from typing import Any

from flask import Flask
from flask.views import MethodView
from tests.contract.authentication import broken_promises
from tests.support.checked_client import CheckedClient
from tests.support.factories import World
from tests.support.operations import operations_of

from harbor_api.web.auth import SECURITY_SCHEMES

Document = dict[str, Any]


def test_every_operation_lets_in_exactly_whom_it_says(
    document: Document, client: CheckedClient, world: World
):
    assert broken_promises(document, client, world) == []


def test_there_is_something_of_each_kind_to_ask(document: Document):
    schemes = [set().union(*operation.security) for operation in operations_of(document)]
    assert set().union(*schemes) == set(SECURITY_SCHEMES)
    assert set() in schemes


def test_every_view_declares_exactly_one_authentication(app: Flask):
    known = [{"api_key"}, {"webhook_id", "webhook_timestamp", "webhook_signature"}]
    seen = 0
    for endpoint, function in app.view_functions.items():
        view = getattr(function, "view_class", None)
        if view is None:
            # Pages for people; all else is a MethodView.
            assert endpoint.startswith(("docs.", "guides.", "home.", "live-map.", "security.")), endpoint
            continue
        assert issubclass(view, MethodView), endpoint
        for method in view.methods:
            declared = getattr(view, method.lower())._apidoc["manual_doc"]["security"]
            assert len(declared) <= 1, f"{method} {endpoint}"
            assert all(set(each) in known for each in declared), f"{method} {endpoint}"
            seen += 1
    assert seen >= 4


def test_only_probes_are_public(document: Document):
    public = {operation.path for operation in operations_of(document) if not operation.security}
    assert public == {"/health", "/health/live", "/health/ready"}


def test_a_caller_is_known_before_anything_else_of_a_request_is_looked_at(
    document: Document, client: CheckedClient
):
    for operation in operations_of(document):
        if operation.security:
            answer = client.open(
                f"{operation.url}?no_such_parameter=1",
                method=operation.method,
                data=b"not JSON",
                headers={"Content-Type": "text/plain"},
            )
            assert answer.status_code == 401, str(operation)


def test_a_preflight_of_a_browser_passes_without_a_key_and_with_any_query(document: Document, app: Flask):
    client = app.test_client()
    for operation in operations_of(document):
        answer = client.options(
            f"{operation.url}?no_such_parameter=1",
            headers={"Origin": "https://map.example", "Access-Control-Request-Method": operation.method},
        )
        assert answer.status_code == 200, str(operation)
