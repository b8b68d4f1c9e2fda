"""Flask: the few parts that our application replaces or reads."""

import functools

import pytest
from flask import Blueprint, Flask, Response, current_app, jsonify, request
from flask.globals import request_ctx
from flask.json.provider import JSONProvider
from tests.canaries.relied_on import relied_on
from werkzeug.exceptions import RequestEntityTooLarge

relied = functools.partial(relied_on, "flask")


@relied(
    "JSONProvider._prepare_response_obj(args, kwargs) makes one value of jsonify's arguments",
    by="web/application.py renders it with orjson",
)
def test_one_value_is_made_of_what_jsonify_is_given():
    class Provider(JSONProvider):
        def dumps(self, obj, **_):
            raise NotImplementedError

        def loads(self, s, **_):
            raise NotImplementedError

        def response(self, *args, **kwargs):
            return Response(repr(self._prepare_response_obj(args, kwargs)))

    app = Flask(__name__)
    app.json = Provider(app)
    with app.app_context():
        assert jsonify([1]).get_data(as_text=True) == "[1]"
        assert jsonify(1, 2).get_data(as_text=True) == "(1, 2)"
        assert jsonify(a=1).get_data(as_text=True) == "{'a': 1}"
        assert jsonify().get_data(as_text=True) == "None"


@relied(
    "request.max_content_length is the application's, and can be set for one request before its body is read",
    by="web/auth.py raises it for a batch",
)
def test_the_largest_body_is_of_the_request():
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 3
    with app.test_request_context(method="POST", data=b"12345"):
        assert request.max_content_length == 3
        with pytest.raises(RequestEntityTooLarge):
            request.get_data()
    with app.test_request_context(method="POST", data=b"12345"):
        request.max_content_length = 5
        assert request.get_data() == b"12345"


@relied(
    "request.blueprints names the innermost first, and application.blueprints holds the very object",
    by="web/blueprint.py finds the blueprint of a request so",
)
def test_the_blueprint_of_a_request_is_found():
    blueprint = Blueprint("ships", __name__)
    blueprint.add_url_rule("/", "list", lambda: request.endpoint)
    app = Flask(__name__)
    app.register_blueprint(blueprint)
    with app.test_request_context("/"):
        assert current_app.blueprints[request.blueprints[0]] is blueprint
        assert request.endpoint == "ships.list"


@relied(
    "ensure_sync of the application is asked for each hook and view",
    by="web/application.py returns the function itself: none is a coroutine",
)
def test_ensure_sync_is_the_one_question():
    asked = []

    class App(Flask):
        def ensure_sync(self, func):
            asked.append(func.__name__)
            return func

    app = App(__name__)

    def before():
        pass

    def view():
        return "answered"

    app.before_request(before)
    app.add_url_rule("/", view_func=view)
    assert app.test_client().get("/").text == "answered"
    assert asked == ["before", "view"]


@relied(
    "request_ctx.request is one object from the first hook to teardown_request, also after an error",
    by="web/runtime.py holds it for the time of a request, and goes past the proxy",
)
def test_the_request_is_one_object_to_its_end():
    app = Flask(__name__)
    seen = []
    app.before_request(lambda: seen.append(request_ctx.request))
    app.teardown_request(lambda _: seen.append(request_ctx.request))
    app.add_url_rule("/", "answers", lambda: request.path)
    app.add_url_rule("/fails", "fails", lambda: 1 // 0)
    for path, status in (("/", 200), ("/fails", 500)):
        assert app.test_client().get(path).status_code == status
    assert [seen[0], seen[2]] == [seen[1], seen[3]]
    assert seen[0] is not seen[2]
