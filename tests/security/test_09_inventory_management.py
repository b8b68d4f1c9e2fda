"""API9:2023 Improper Inventory Management: what is served is what is described."""

import re
from dataclasses import replace

from flask import Flask
from tests.security.calls import Document
from tests.support.operations import operations_of

from harbor_api.app import create_app
from harbor_api.web import runtime


class TestApi9ImproperInventoryManagement:
    PAGES = {
        *("/", "/docs", "/docs/<name>", "/docs/<name>.md", "/docs/signing/<name>", "/docs/following/<name>"),
        *("/docs/live-map", "/docs/static/live-map/follow.js"),
        *("/openapi.json", "/openapi-3.0.json", "/docs/assets/<name>", "/docs/static/<path:filename>"),
    }
    WELL_KNOWN = {"/.well-known/security.txt"}

    def test_the_routes_are_the_operations_that_are_described(self, app: Flask, document: Document):
        routes = set()
        for rule in app.url_map.iter_rules():
            methods = rule.methods or set()
            if rule.rule in self.PAGES | self.WELL_KNOWN:
                assert methods <= {"GET", "HEAD", "OPTIONS"}
                continue
            path = re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule)
            routes |= {(method, path) for method in methods - {"HEAD", "OPTIONS"}}
        assert routes == {(each.method, each.path) for each in operations_of(document)}

    def test_there_is_one_version_and_every_operation_is_under_it(self, document: Document):
        paths = {each.path for each in operations_of(document)}
        assert all(path.startswith(("/api/v1/", "/health")) for path in paths)

    def test_security_txt_says_whom_to_tell(self, app: Flask):
        configured = replace(runtime.of(app).settings, security_contact="mailto:security@harbor.example")
        answer = create_app(configured).test_client().get("/.well-known/security.txt")
        assert answer.status_code == 200
        assert answer.content_type == "text/plain; charset=utf-8"
        fields = dict(line.split(": ", 1) for line in answer.text.splitlines())
        assert fields["Contact"] == "mailto:security@harbor.example"
        # RFC 9116: a date, required, in the future and less than a year off.
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", fields["Expires"])
