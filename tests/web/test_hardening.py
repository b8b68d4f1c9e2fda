"""Every answer carries what keeps browsers and caches from doing harm with it, whatever was asked."""

import itertools
import re
from urllib.parse import unquote

import pytest
from flask import Flask
from werkzeug.routing import Rule

ONCE = ("X-Content-Type-Options", "Referrer-Policy", "Cache-Control", "X-Request-Id")
JUNK = (
    "/",
    "//",
    "///",
    "/nowhere",
    "/api",
    "/api/",
    "/api/v1",
    "/api/v2/vessels",
    "/api/v1/vessels/0",
    "/api/v1/vessels/99999999999999999999",
    "/api/v1/vessels/%00",
    "/api/v1/vessels/../audit",
    "/docs//",
    "/docs/static/",
    "/docs/static/../../docs.py",
    "/docs/assets/../docs.html",
    "/docs/assets/%2e%2e%2fpyproject.toml",
    "/.well-known/",
    "/favicon.ico",
    "/%ff%fe",
    "/%c3%a5",
    "/" + "x" * 3_000,
)


def _paths(rule: Rule) -> list[str]:
    path = re.sub(r"<[^>]+>", "1", rule.rule)
    return [path, f"{path}/", f"{path}//", f"/{path}", f"{path}?a=1&a=2", path.replace("/", "//")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "DELETE", "PROPFIND"])
def test_every_path_is_hardened_and_leads_nowhere_else(app: Flask, method):
    client = app.test_client()
    rules = itertools.chain.from_iterable(map(_paths, app.url_map.iter_rules()))
    for path in dict.fromkeys([*rules, *JUNK]):
        # As it is: the client would read two slashes as the begin of a host.
        raw, _, query = path.partition("?")
        as_sent = {"PATH_INFO": unquote(raw, "latin-1"), "QUERY_STRING": query}
        # Not its own host: no answer may name it.
        answer = client.open(method=method, headers={"Host": "evil.example"}, environ_overrides=as_sent)
        where = f"{method} {path[:60]} {answer.status_code}"
        # Where anything leads, it is to a path of ours.
        location = answer.headers.get("Location", "/")
        assert location.startswith("/"), where
        assert not location.startswith("//"), where
        assert answer.status_code < 500, where
        for name in ONCE:
            assert len(answer.headers.getlist(name)) == 1, f"{where}: {name}"
        assert "evil.example" not in str(answer.headers), where
        if raw.startswith("//"):
            assert answer.status_code == 404, where
        if answer.status_code >= 400:
            assert answer.content_type == "application/problem+json", where
            assert answer.headers["Cache-Control"] == "no-store", where
            assert "evil.example" not in answer.text, where
        answer.close()
