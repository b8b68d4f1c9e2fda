"""Pages of other origins: let in only where the operator names them."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from tests.support.factories import MASTER_KEY
from tests.support.urls import VESSELS as URL

from harbor_api.app import create_app
from harbor_api.settings import Settings, SettingsError

MAP = "https://map.example.org"
LOCAL = "http://[::1]:3000"


def _client(*origins: str) -> FlaskClient:
    settings = Settings(database_url="postgresql:///", tracker_master_key=MASTER_KEY, cors_origins=origins)
    return create_app(settings).test_client()


@pytest.fixture(scope="module")
def open_to_the_map() -> FlaskClient:
    return _client(MAP, LOCAL)


def _told(answer) -> list[str]:
    return [name for name, _ in answer.headers if name.startswith("Access-Control-")]


def test_no_origin_is_let_in_by_default(app: Flask):
    answer = app.test_client().get(URL, headers={"Origin": MAP})
    assert not _told(answer)
    assert "Vary" not in answer.headers


@pytest.mark.parametrize("origin", [MAP, LOCAL])
def test_a_named_origin_is_let_in_and_sees_the_headers(open_to_the_map: FlaskClient, origin):
    refused = open_to_the_map.get(URL, headers={"Origin": origin})
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, origin)
    assert refused.headers.getlist("Vary") == ["Origin"]
    exposed = set(refused.headers["Access-Control-Expose-Headers"].split(", "))
    assert exposed >= {
        "ETag",
        "Link",
        "Retry-After",
        "RateLimit",
        "RateLimit-Policy",
        "X-Request-Id",
        "Date",
        "Location",
    }
    assert "Access-Control-Allow-Credentials" not in refused.headers


def test_a_preflight_is_answered_for_a_long_time(open_to_the_map: FlaskClient):
    preflight = open_to_the_map.options(
        URL,
        headers={
            "Origin": MAP,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization,if-none-match",
        },
    )
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == MAP
    allowed = preflight.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "idempotency-key", "if-match", "if-none-match"} <= {*allowed}
    assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
    assert int(preflight.headers["Access-Control-Max-Age"]) >= 3_600


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://mapXexample.org",
        "https://map.example.org.evil.example",
        "https://evil.example#map.example.org",
        "https://map.example.org/",
        "https://map.example.org:8443",
        "http://map.example.org",
        "HTTPS://MAP.EXAMPLE.ORG",
        "https://map.example.org https://map.example.org",
        "https://map.example.org,https://evil.example",
        "http://[::2]:3000",
        "http://:3000",
        "null",
        "*",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_other_origins_are_not(open_to_the_map: FlaskClient, origin, method):
    headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    answer = open_to_the_map.open(URL, method=method, headers=headers)
    assert not _told(answer)
    # A cache must not hand this to a page that may read it.
    assert answer.headers["Vary"] == "Origin"


def test_a_request_without_origin_is_told_nothing(open_to_the_map: FlaskClient):
    for path in (URL, "/docs", "/nowhere"):
        answer = open_to_the_map.get(path)
        assert not _told(answer)
        assert "Origin" in answer.vary


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("https://map.example.org", (MAP,)),
        (" https://map.example.org , http://[::1]:3000", (MAP, LOCAL)),
        ("HTTPS://Map.Example.ORG:443", (MAP,)),
        ("http://localhost:80", ("http://localhost",)),
        ("http://a_b.example:08080", ("http://a_b.example:8080",)),
    ],
)
def test_a_setting_is_read_as_browsers_write_it(text, origins):
    assert Settings.from_environ({"HARBOR_CORS_ORIGINS": text}).cors_origins == origins


@pytest.mark.parametrize(
    "text",
    [
        "https://map.example.org/",
        "https://map.example.org/app",
        "https://map.example.org?x",
        "https://user@map.example.org",
        "https://*.example.org",
        "https://a.example,",
        "https://a.example https://b.example",
        "https://a.example:99999",
        "https://a.example:0",
        "https://k\u00e4rte.example",
        "map.example.org",
        "null",
        "*",
        "",
        "ftp://a.example",
        "https://[::1",
    ],
)
def test_what_no_browser_sends_is_refused_in_one_line(text):
    with pytest.raises(SettingsError, match=r"^HARBOR_CORS_ORIGINS must be origins like [^\n]+\Z"):
        Settings.from_environ({"HARBOR_CORS_ORIGINS": text})
