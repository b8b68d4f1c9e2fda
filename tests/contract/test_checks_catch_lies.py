"""The checks themselves: each notices when the document and the service part ways."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from tests.contract.authentication import broken_promises
from tests.support.factories import World, a_fix
from tests.support.openapi_check import Lie, contract_of
from tests.support.urls import POSITIONS as POST
from tests.support.urls import VESSELS as FLEET

Document = dict[str, Any]
ONE = FLEET + "/{vessel_id}"


class Answers:
    """Real answers of the service, to be held against documents that are not its own."""

    def __init__(self, app: Flask, world: World) -> None:
        client = app.test_client()
        seen = world.tracker(world.vessel("Seen", imo="9074729"))
        world.vessel("Never seen")
        fix = seen.signed(a_fix())
        bearer = world.bearer()
        self.all = {
            "stored": client.post(POST, **fix),
            "duplicate": client.post(POST, **fix),
            "invalid": client.post(POST, **seen.signed(a_fix(lat=91.5))),
            "fleet": client.get(FLEET, headers=bearer),
            "fleet's head": client.head(FLEET, headers=bearer),
            "one": client.get(f"{FLEET}/1", headers=bearer),
            "no such vessel": client.get(f"{FLEET}/999", headers=bearer),
            "nobody": client.get(FLEET),
            "alive": client.get("/health/live"),
            "wrong method": client.delete(FLEET),
            "nowhere": client.get("/api/v1/nowhere"),
        }

    def check(self, document: Document, name: str, **changed: Any) -> None:
        """Hold an answer, or what it would be with something changed, against a document."""
        answer = self.all[name]
        request = answer.request
        sent = {
            "method": request.method,
            "path": request.path,
            "status": answer.status_code,
            "headers": dict(answer.headers),
            "body": answer.data,
            **changed,
        }
        contract_of(json.dumps(document).encode()).check(**sent)


@pytest.fixture
def answers(app: Flask, world: World) -> Answers:
    return Answers(app, world)


def _response(document: Document, path: str, method: str, status: int) -> Any:
    return document["paths"][path][method]["responses"][str(status)]


def _forget_a_status(document: Document) -> None:
    del document["paths"][FLEET]["get"]["responses"]["200"]


def _forget_an_error(document: Document) -> None:
    del document["paths"][FLEET]["get"]["responses"]["401"]


def _forget_a_path(document: Document) -> None:
    del document["paths"][FLEET]


def _forget_a_method(document: Document) -> None:
    document["paths"][FLEET]["post"] = document["paths"][FLEET].pop("get")


def _require_a_member(document: Document) -> None:
    document["components"]["schemas"]["VesselProperties"]["required"].append("colour")


def _require_a_member_of_errors(document: Document) -> None:
    document["components"]["schemas"]["Problem"]["required"].append("colour")


def _forget_a_member(document: Document) -> None:
    del document["components"]["schemas"]["VesselProperties"]["properties"]["imo"]


def _forget_that_a_member_may_be_null(document: Document) -> None:
    document["components"]["schemas"]["VesselProperties"]["properties"]["mmsi"]["type"] = "string"


def _mistake_a_type(document: Document) -> None:
    document["components"]["schemas"]["Verdict"]["properties"]["latest"]["type"] = "string"


def _forget_a_value_of_an_enumeration(document: Document) -> None:
    document["components"]["schemas"]["Verdict"]["properties"]["verdict"]["enum"].remove("stored")


def _mistake_a_format(document: Document) -> None:
    document["components"]["schemas"]["VesselProperties"]["properties"]["name"]["format"] = "date-time"


def _mistake_a_pattern(document: Document) -> None:
    document["components"]["schemas"]["Problem"]["properties"]["code"]["pattern"] = "^[A-Z]+$"


def _narrow_a_range(document: Document) -> None:
    document["components"]["schemas"]["Problem"]["properties"]["status"]["maximum"] = 400


def _mistake_the_media_type(document: Document) -> None:
    content = _response(document, FLEET, "get", 200)["content"]
    content["application/json"] = content.pop("application/geo+json")


def _mistake_the_media_type_of_an_error(document: Document) -> None:
    content = _response(document, FLEET, "get", 401)["content"]
    content["application/json"] = content.pop("application/problem+json")


def _promise_no_body(document: Document) -> None:
    del _response(document, FLEET, "get", 200)["content"]


def _promise_a_header(document: Document) -> None:
    header = {"required": True, "schema": {"type": "string"}}
    _response(document, FLEET, "get", 200)["headers"]["X-Colour"] = header


def _promise_a_header_of_all(document: Document) -> None:
    document["components"]["headers"]["X-Colour"] = {"required": True, "schema": {"type": "string"}}
    reference = {"$ref": "#/components/headers/X-Colour"}
    _response(document, FLEET, "get", 200)["headers"]["X-Colour"] = reference


def _mistake_a_header(document: Document) -> None:
    document["components"]["headers"]["X-Request-Id"]["schema"]["pattern"] = "^colour$"


class TestCatches:
    @pytest.mark.parametrize(
        ("lie", "name"),
        [
            (_forget_a_status, "fleet"),
            (_forget_a_status, "fleet's head"),
            (_forget_an_error, "nobody"),
            (_forget_a_path, "fleet"),
            (_forget_a_method, "fleet"),
            (_require_a_member, "fleet"),
            (_require_a_member, "one"),
            (_require_a_member_of_errors, "nobody"),
            (_require_a_member_of_errors, "wrong method"),
            (_require_a_member_of_errors, "nowhere"),
            (_forget_a_member, "fleet"),
            (_forget_that_a_member_may_be_null, "fleet"),
            (_mistake_a_type, "stored"),
            (_forget_a_value_of_an_enumeration, "stored"),
            (_mistake_a_format, "fleet"),
            (_mistake_a_pattern, "no such vessel"),
            (_narrow_a_range, "invalid"),
            (_mistake_the_media_type, "fleet"),
            (_mistake_the_media_type_of_an_error, "nobody"),
            (_promise_no_body, "fleet"),
            (_promise_a_header, "fleet"),
            (_promise_a_header, "fleet's head"),
            (_promise_a_header_of_all, "fleet"),
            (_mistake_a_header, "alive"),
        ],
    )
    def test_a_document_that(
        self, document: Document, answers: Answers, lie: Callable[[Document], None], name: str
    ):
        lying = copy.deepcopy(document)
        lie(lying)
        answers.check(document, name)
        with pytest.raises(Lie):
            answers.check(lying, name)

    @pytest.mark.parametrize("name", ["stored", "fleet", "nobody", "nowhere", "wrong method"])
    def test_an_answer_without_its_request_id(self, document: Document, answers: Answers, name):
        headers = {**dict(answers.all[name].headers)}
        del headers["X-Request-Id"]
        with pytest.raises(Lie):
            answers.check(document, name, headers=headers)

    @pytest.mark.parametrize(
        ("name", "header"),
        [
            ("nobody", "WWW-Authenticate"),
            ("wrong method", "Allow"),
            ("fleet", "RateLimit"),
            ("fleet", "Vary"),
        ],
    )
    def test_an_answer_without_its_header(self, document: Document, answers: Answers, name, header):
        headers = dict(answers.all[name].headers)
        del headers[header]
        with pytest.raises(Lie):
            answers.check(document, name, headers=headers)

    @pytest.mark.parametrize("changed", [{"ETag": '"x"'}, {"ETag": '"x.br"'}, {"Vary": "Authorization"}])
    def test_a_coding_that_its_tag_or_vary_hides(self, document: Document, answers: Answers, changed):
        coded = {**dict(answers.all["fleet"].headers), "Content-Encoding": "gzip", "ETag": '"x.gzip"'}
        answers.check(document, "fleet", headers=coded)
        with pytest.raises(Lie):
            answers.check(document, "fleet", headers=coded | changed)

    @pytest.mark.parametrize("name", ["stored", "fleet", "nobody", "nowhere", "wrong method"])
    def test_an_answer_that_is_a_page(self, document: Document, answers: Answers, name):
        headers = {**dict(answers.all[name].headers), "Content-Type": "text/html; charset=utf-8"}
        with pytest.raises(Lie):
            answers.check(document, name, headers=headers)

    @pytest.mark.parametrize("status", [302, 418, 502])
    def test_an_answer_with_a_status_that_nothing_declares(
        self, document: Document, answers: Answers, status
    ):
        for name in answers.all:
            with pytest.raises(Lie):
                answers.check(document, name, status=status)


def test_accepts_every_answer_against_the_true_document(document: Document, answers: Answers):
    for name in answers.all:
        answers.check(document, name)


class TestNoticesAuthentication:
    @pytest.fixture
    def document(self, document: Document) -> Document:
        """Return the document with the operations that are tampered with: all others are asked elsewhere."""
        document["paths"] = {path: document["paths"][path] for path in (FLEET, ONE, POST, "/health/live")}
        return document

    def test_that_the_document_dropped(self, app: Flask, document: Document, world: World):
        del document["paths"][FLEET]["get"]["security"]
        assert any(
            broken.startswith(f"GET {FLEET} without anything: 401")
            for broken in broken_promises(document, app.test_client(), world)
        )

    def test_that_the_document_dropped_for_trackers(self, app: Flask, document: Document, world: World):
        document["paths"][POST]["post"]["security"] = []
        broken = broken_promises(document, app.test_client(), world)
        assert any(each.startswith(f"POST {POST} without anything: 401") for each in broken)

    @pytest.mark.parametrize("like", [(FLEET, "get"), (POST, "post")])
    def test_that_the_service_dropped(self, app: Flask, document: Document, world: World, like):
        path, method = like
        security = document["paths"][path][method]["security"]
        document["paths"]["/health/live"]["get"]["security"] = security
        broken = broken_promises(document, app.test_client(), world)
        assert any(each.startswith("GET /health/live without anything: 200") for each in broken)

    def test_of_another_kind_than_the_document_says(self, app: Flask, document: Document, world: World):
        paths = document["paths"]
        paths[FLEET]["get"]["security"] = paths[POST]["post"]["security"]
        broken = broken_promises(document, app.test_client(), world)
        assert any(each.startswith(f"GET {FLEET} rightly signed: 401") for each in broken)

    def test_for_another_scope_than_the_document_says(self, app: Flask, document: Document, world: World):
        document["paths"][ONE]["get"]["security"] = [{"api_key": ["vessels:paint"]}]
        broken = broken_promises(document, app.test_client(), world)
        assert any("with only the scopes that it needs: 403" in each for each in broken)
