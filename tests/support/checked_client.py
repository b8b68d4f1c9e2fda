"""Flask's test client, with every response held against the OpenAPI document."""

from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from tests.support.codings import decoded
from tests.support.openapi_check import Lie, contract_of

from harbor_api.web import runtime


class CheckedClient(FlaskClient):
    """A client that raises Lie where a response is not what the document says."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app, app.response_class)
        # As a client over HTTP says where it sends an empty body.
        self.environ_base["CONTENT_LENGTH"] = "0"
        self.contract = contract_of(runtime.of(app).document)

    def open(self, *args: Any, **kwargs: Any) -> Any:
        response = super().open(*args, **kwargs)
        request = response.request
        names = [name.lower() for name, _ in response.headers]
        if len(set(names)) < len(names):
            raise Lie(f"{request.path}: a header is sent twice: {sorted(names)}")
        headers = dict(response.headers)
        # Only of a stream, which has no tag either, nobody knows it.
        told = response.content_length if "ETag" in headers or response.content_length else len(response.data)
        if request.method != "HEAD" and response.data and told != len(response.data):
            raise Lie(f"{request.path}: {len(response.data)} bytes, told were {told}")
        body = decoded(headers, response.data)
        self.contract.check(request.method, request.path, response.status_code, headers, body)
        return response
