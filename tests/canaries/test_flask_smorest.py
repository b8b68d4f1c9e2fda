"""flask-smorest: where decorators leave their notes, and who makes a document of them."""

import functools

import flask_smorest
import pytest
from flask import Flask
from flask.views import MethodView
from marshmallow import Schema, fields
from tests.canaries.relied_on import relied_on
from webargs.flaskparser import FlaskParser

relied = functools.partial(relied_on, "flask-smorest")


class Ship(Schema):
    name = fields.String(required=True)


def _app() -> Flask:
    app = Flask(__name__)
    app.config.update(API_TITLE="Canary", API_VERSION="1", OPENAPI_VERSION="3.1.0")
    return app


@relied("views keep their notes in _apidoc", by="web/documented.py adds to it")
def test_each_decorator_leaves_notes_in_apidoc():
    blueprint = flask_smorest.Blueprint("ships", __name__)

    @blueprint.response(200, Ship)
    @blueprint.arguments(Ship)
    def view(ship):
        return ship

    assert {"arguments", "response"} <= set(view._apidoc)


@relied(
    "arguments() notes parameters and responses under _apidoc['arguments']",
    by="web/blueprint.py takes the responses out and puts a mark in",
)
def test_arguments_notes():
    def view(ship):
        return ship

    wrapper = flask_smorest.Blueprint("ships", __name__).arguments(Ship(), location="query")(view)
    notes = wrapper._apidoc["arguments"]
    assert list(notes.pop("responses")) == [422]
    assert [each["in"] for each in notes["parameters"]] == ["query"]
    assert not hasattr(view, "_apidoc"), "the view and its wrapper share their notes"


@relied(
    "arguments() parses with ARGUMENTS_PARSER of the class", by="web/blueprint.py puts a StrictParser there"
)
def test_arguments_parse_with_the_parser_of_the_class():
    class Parser(FlaskParser):
        def load_json(self, req, schema):
            return {"name": "from our parser"}

    class Blueprint(flask_smorest.Blueprint):
        ARGUMENTS_PARSER = Parser()

    @Blueprint("ships", __name__).arguments(Ship())
    def view(ship):
        return ship

    with _app().test_request_context("/", method="POST"):
        assert view() == {"name": "from our parser"}


@relied(
    "Blueprint._prepare_doc_cbks is a list of callables of (doc, notes, *, api, app, spec, method)",
    by="web/blueprint.py appends describe_errors to it",
)
def test_callbacks_for_the_document_are_a_list_and_run_in_its_order():
    seen = []

    def describe(doc, notes, *, spec, **others):
        seen.append((doc["responses"][200]["headers"], sorted(others)))
        doc["responses"][418] = {"description": "told", "headers": {"A": {"$ref": "x"}}}
        return doc

    blueprint = flask_smorest.Blueprint("ships", __name__)
    blueprint._prepare_doc_cbks.append(describe)

    @blueprint.route("/ships")
    class Ships(MethodView):
        @blueprint.response(200, Ship, headers={"ETag": {}})
        def get(self):
            return {}

    api = flask_smorest.Api(_app())
    api.register_blueprint(blueprint)
    assert seen == [({"ETag": {}}, ["api", "app", "method"])], "what it is called with, and after whom"
    assert "418" in api.spec.to_dict()["paths"]["/ships"]["get"]["responses"]


@relied(
    "Blueprint._store_endpoint_docs(endpoint, view, ...) copies notes into _docs[endpoint][method]",
    by="web/blueprint.py extends it and reads _docs, to know which operations take a query",
)
@pytest.mark.parametrize("is_class", [True, False], ids=["MethodView", "function"])
def test_endpoints_are_stored_with_their_notes(is_class: bool):
    stored = []

    class Blueprint(flask_smorest.Blueprint):
        def _store_endpoint_docs(self, endpoint, obj, *args, **kwargs):
            super()._store_endpoint_docs(endpoint, obj, *args, **kwargs)
            stored.append((endpoint, obj, self._docs[endpoint]))

    blueprint = Blueprint("ships", __name__)

    def get(*_):
        return {}

    get._apidoc = {"arguments": {"query": True}}
    made = type("Ships", (MethodView,), {"get": get}) if is_class else get
    blueprint.route("/ships", endpoint="Ships")(made)
    [(endpoint, obj, docs)] = stored
    assert (endpoint, obj) == ("Ships", made)
    assert set(docs) == {"get", "parameters"}
    assert docs["get"]["arguments"].pop("query") is True
    assert get._apidoc["arguments"] == {"query": True}, "the notes are no copy"


@relied("_apidoc['manual_doc'] is laid over what is generated", by="web/documented.py puts security there")
def test_manual_doc_goes_into_the_operation():
    blueprint = flask_smorest.Blueprint("ships", __name__)

    @blueprint.route("/ships")
    class Ships(MethodView):
        @blueprint.response(200, Ship)
        def get(self):
            return {}

        get._apidoc["manual_doc"] = {"security": [{"api_key": []}]}

    api = flask_smorest.Api(_app())
    api.register_blueprint(blueprint)
    assert api.spec.to_dict()["paths"]["/ships"]["get"]["security"] == [{"api_key": []}]


@relied(
    "Api asks its own _register_error_handlers, _register_responses, _register_pagination_header and "
    "_register_etag_headers, once, with _app set",
    by="web/openapi.py overrides the four to register our errors and leave out the stock components",
)
def test_api_registers_through_methods_that_can_be_overridden():
    called = []

    class Api(flask_smorest.Api):
        DEFAULT_ERROR_RESPONSE_NAME = None

        def _register_error_handlers(self):
            called.append(("errors", self._app))

        def _register_responses(self):
            called.append(("responses", self._app))

        def _register_pagination_header(self):
            called.append(("pagination", self._app))

        def _register_etag_headers(self):
            called.append(("etag", self._app))

    app = _app()
    api = Api(app)
    assert sorted(name for name, _ in called) == ["errors", "etag", "pagination", "responses"]
    assert {with_app for _, with_app in called} == {app}
    assert not app.error_handler_spec[None], "it registers error handlers elsewhere, too"
    assert "components" not in api.spec.to_dict(), "it registers components elsewhere, too"


@relied(
    "DEFAULT_ERROR_RESPONSE_NAME = None leaves the default error out of operations",
    by="web/openapi.py sets it: each operation documents its own errors",
)
def test_no_default_error_is_documented():
    class Api(flask_smorest.Api):
        DEFAULT_ERROR_RESPONSE_NAME = None

    blueprint = flask_smorest.Blueprint("ships", __name__)

    @blueprint.route("/ships")
    class Ships(MethodView):
        @blueprint.response(200, Ship)
        def get(self):
            return {}

    api = Api(_app())
    api.register_blueprint(blueprint)
    assert set(api.spec.to_dict()["paths"]["/ships"]["get"]["responses"]) == {"200"}
