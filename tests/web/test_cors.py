"""Pages of other origins: let in only where the operator names them."""

import pytest
from flask import Flask
from tests.support.factories import MASTER_KEY
from tests.support.urls import VESSELS as URL

from harbor_api.app import create_app
from harbor_api.settings import Settings

MAP = "https://map.example.org"


@pytest.fixture
def open_to_the_map() -> Flask:
    return create_app(
        Settings(database_url="postgresql:///", tracker_master_key=MASTER_KEY, cors_origins=(MAP,))
    )


def test_no_origin_is_let_in_by_default(app: Flask):
    answer = app.test_client().get(URL, headers={"Origin": MAP})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_named_origin_is_let_in_and_sees_the_headers(open_to_the_map: Flask):
    client = open_to_the_map.test_client()
    preflight = client.options(
        URL,
        headers={
            "Origin": MAP,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        },
    )
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == MAP
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
    refused = client.get(URL, headers={"Origin": MAP})
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, MAP)
    assert "RateLimit" in refused.headers["Access-Control-Expose-Headers"]


def test_other_origins_are_not(open_to_the_map: Flask):
    answer = open_to_the_map.test_client().get(URL, headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers
