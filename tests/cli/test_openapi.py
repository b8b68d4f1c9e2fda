"""The committed documents are those that the code generates."""

import json
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from harbor_api.cli.openapi import NEWEST, TWIN, documents

FOLDER = Path(__file__).parents[2] / "openapi"


@pytest.mark.parametrize("name", [NEWEST, TWIN])
def test_the_committed_document_is_the_generated_one(name):
    committed = json.loads((FOLDER / name).read_text())
    assert committed == json.loads(json.dumps(documents()[name])), "run: make openapi"


def test_both_are_valid():
    generated = documents()
    OpenAPIV31SpecValidator(generated[NEWEST]).validate()
    OpenAPIV30SpecValidator(generated[TWIN]).validate()


def test_the_twin_says_nothing_that_3_0_cannot():
    text = json.dumps(documents()[TWIN])
    assert '"null"' not in text
    assert '"const"' not in text
