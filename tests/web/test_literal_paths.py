"""A path without parameters is found by one look: where Werkzeug finds it, and nowhere else."""

import itertools
from functools import partial
from typing import Any

import pytest
from flask import Flask
from tests.support.urls import VESSELS
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder

from harbor_api.web import literal_paths
from harbor_api.web.application import Application

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "get")
PLACES: list[dict[str, Any]] = [
    {"HTTP_HOST": "harbor.example"},
    {"HTTP_HOST": "Harbor.example:80"},
    {"HTTP_HOST": "[::1]:8000", "wsgi.url_scheme": "https"},
    {"HTTP_HOST": "harbor.example:443", "wsgi.url_scheme": "https", "SCRIPT_NAME": "/fleet"},
    {"HTTP_HOST": "no_host"},
    {"HTTP_HOST": ""},
    {"HTTP_HOST": "harbor.example", "HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "Upgrade"},
    {"HTTP_HOST": "harbor.example", "QUERY_STRING": "a=1"},
]


def _paths(app: Flask) -> list[str]:
    paths = [rule.rule for rule in app.url_map.iter_rules()]
    spelt = (
        [path, f"{path}/", f"/{path}", f"{path}//", path.upper(), path.rstrip("/"), path[1:], f"{path}\xe5"]
        for path in paths
    )
    return [each for group in spelt for each in group] + ["", "/", "/nowhere"]


def _found(app: Flask, make: Any, environ: dict[str, Any]) -> Any:
    """Return all that Flask learns of where a request goes to."""
    request = app.request_class(environ)
    try:
        adapter = make(request)
        rule, arguments = adapter.match(return_rule=True)
    except HTTPException as error:
        return type(error), request.__dict__.get("host")
    links = [adapter.build("health.Live", force_external=each) for each in (True, False)]
    return rule, arguments, request.host, adapter.allowed_methods(), adapter.path_info, links


def test_it_is_what_werkzeug_finds(app: Flask):
    assert isinstance(app, Application)
    remembered = 0
    places = itertools.cycle(PLACES)
    anywhere = EnvironBuilder().get_environ()
    for path, method in itertools.product(_paths(app), METHODS):
        # Each with some of the places, which go on through all paths.
        for place in itertools.islice(places, 3):
            environ = anywhere | {"PATH_INFO": path, "REQUEST_METHOD": method} | place
            if path.startswith("//"):
                # Nowhere, as tests/web/test_hardening.py says; Werkzeug looks somewhere.
                assert app._literal_paths.recall(app.request_class(environ)) is None
                continue
            told = [_found(app, app.create_url_adapter, environ) for _ in range(2)]
            expected = _found(app, partial(Flask.create_url_adapter, app), environ)
            assert told == [expected] * 2, environ
            is_known = app._literal_paths.recall(app.request_class(environ)) is not None
            assert not is_known or "<" not in expected[0].rule
            remembered += is_known
    assert remembered > 100


def test_arguments_are_of_each_request(app: Flask):
    environ = EnvironBuilder(VESSELS).get_environ()
    _, one, other = (app.create_url_adapter(app.request_class(environ)) for _ in range(3))
    assert one is other
    assert one.match(return_rule=True)[1] is not other.match(return_rule=True)[1]
    with pytest.raises(HTTPException):
        one.match("/nowhere")
    assert one.match(f"{VESSELS}/7")[1] == {"vessel_id": 7}


def test_names_of_hosts_do_not_add_up(app: Flask):
    for number in range(3 * literal_paths._MOST):
        app.create_url_adapter(app.request_class(EnvironBuilder(VESSELS, f"http://h{number}/").get_environ()))
    assert len(app._literal_paths._found) <= literal_paths._MOST
