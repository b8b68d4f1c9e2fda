"""API7:2023 Server Side Request Forgery: the service takes no address and calls nobody."""

import ast
import json
import re
from pathlib import Path

from tests.security.calls import Document
from tests.support.operations import operations_of

import harbor_api

SOURCE = Path(harbor_api.__file__).parent


class TestApi7ServerSideRequestForgery:
    ADDRESS = re.compile(r"(^|_)(ur[il]s?|href|host|hostname|callback|endpoint|redirect|target|address)($|_)")

    def test_no_operation_takes_an_address(self, document: Document):
        assert "webhooks" not in document
        for operation in operations_of(document):
            assert "callbacks" not in operation.described, str(operation)
            for parameter in operation.parameters:
                assert not self.ADDRESS.search(parameter["name"].lower()), str(operation)
                assert not str(parameter["schema"].get("format", "")).startswith(("ur", "ir", "host"))
        taken = set(
            re.findall(
                r"schemas/(\w+)",
                json.dumps([each.described.get("requestBody", {}) for each in operations_of(document)]),
            )
        )
        assert taken
        for name in taken:
            for member, schema in document["components"]["schemas"][name]["properties"].items():
                assert not self.ADDRESS.search(member), f"{name} takes {member}"
                assert not str(schema.get("format", "")).startswith(("ur", "ir", "host")), f"{name}.{member}"

    def test_nothing_that_serves_a_request_can_call_out(self):
        """Only simulated trackers and the command line are HTTP clients: no view can be made to be one."""
        clients = {"httpx", "requests", "urllib.request", "urllib3", "http.client", "socket", "aiohttp"}
        for path in SOURCE.rglob("*.py"):
            # `server` is handed the sockets that were accepted.
            if path.relative_to(SOURCE).parts[0] in {"simulation", "cli", "server"}:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                assert not clients & set(names), f"{path} imports {names}"
