"""The document that every test here is about."""

import json
from typing import Any

import pytest
from flask import Flask


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    """Return a copy of the application's OpenAPI document, to do with as a test likes."""
    copy: dict[str, Any] = json.loads(app.extensions["harbor_openapi"])
    return copy
