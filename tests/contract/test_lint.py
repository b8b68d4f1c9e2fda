"""The documents under a linter's strictest rules; ``node/redocly.yaml`` says what is loosened and why."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from tests.contract import node_tools
from tests.contract.node_tools import NodeTools
from tests.support.urls import VESSELS as FLEET

from harbor_api.cli.openapi import NEWEST, TWIN, documents

ONE = FLEET + "/{vessel_id}"
RULES = node_tools.FILES / "redocly.yaml"
Document = dict[str, Any]


@pytest.fixture(scope="session")
def tools() -> NodeTools:
    return node_tools.installed()


@pytest.fixture(scope="session")
def generated() -> dict[str, Document]:
    return documents()


@pytest.fixture
def lint(tools: NodeTools, tmp_path: Path) -> Callable[[Document], list[tuple[str, str]]]:
    """Return a function that lints a document and returns each broken rule, and where and how."""

    def run(document: Document) -> list[tuple[str, str]]:
        (tmp_path / "document.json").write_text(json.dumps(document))
        done = tools.run(
            "redocly",
            "lint",
            "document.json",
            f"--config={RULES}",
            # A mistake in the rules is a mistake, too.
            "--lint-config=error",
            "--format=json",
            "--max-problems=1000",
            cwd=tmp_path,
        )
        assert done.stdout.startswith("{"), done.stderr
        report = json.loads(done.stdout)
        problems = report["problems"]
        counted = report["totals"]["errors"] + report["totals"]["warnings"]
        assert (len(problems), report["totals"]["ignored"]) == (counted, 0)
        assert (done.returncode == 0) == (report["totals"]["errors"] == 0), done.stderr
        return [
            (problem["ruleId"], f"{problem['location'][0].get('pointer')}: {problem['message']}")
            for problem in problems
        ]

    return run


@pytest.mark.parametrize("name", [NEWEST, TWIN])
def test_finds_nothing_in(name: str, lint: Callable[[Document], list[Any]], generated: dict[str, Document]):
    faults = [f"{rule} at {what}" for rule, what in lint(generated[name])]
    assert not faults, "\n".join(faults)


def _fleet(document: Document) -> Document:
    operation: Document = document["paths"][FLEET]["get"]
    return operation


def _no_operation_id(document: Document) -> None:
    del _fleet(document)["operationId"]


def _no_description(document: Document) -> None:
    del _fleet(document)["description"]


def _a_parameter_without_a_description(document: Document) -> None:
    _fleet(document).setdefault("parameters", []).append(
        {"in": "query", "name": "colour", "schema": {"type": "string"}}
    )


def _an_unused_component(document: Document) -> None:
    document["components"]["schemas"]["Crew"] = {"type": "object"}


def _no_success(document: Document) -> None:
    responses = _fleet(document)["responses"]
    responses["302"] = responses.pop("200")


def _an_error_that_is_no_problem(document: Document) -> None:
    response = _fleet(document)["responses"]["400"]
    response["content"] = {"application/json": response["content"].popitem()[1]}


def _a_page_for_an_answer(document: Document) -> None:
    response = _fleet(document)["responses"]["200"]
    response["content"] = {"text/html": response["content"].popitem()[1]}


def _no_retry_after(document: Document) -> None:
    del _fleet(document)["responses"]["429"]["headers"]["Retry-After"]


def _an_untrue_example(document: Document) -> None:
    [content] = _fleet(document)["responses"]["200"]["content"].values()
    content["examples"]["in_service"]["value"]["features"][0]["id"] = "1"


def _a_path_in_the_singular(document: Document) -> None:
    document["paths"]["/api/v1/vessel/{vessel_id}"] = document["paths"].pop(ONE)


def _a_misspelt_keyword(document: Document) -> None:
    document["components"]["schemas"]["Problem"]["properties"]["title"]["descripton"] = "The same."


@pytest.mark.parametrize(
    ("break_it", "rule"),
    [
        (_no_operation_id, "operation-operationId"),
        (_no_description, "operation-description"),
        (_a_parameter_without_a_description, "parameter-description"),
        (_an_unused_component, "no-unused-components"),
        (_no_success, "operation-2xx-response"),
        (_an_error_that_is_no_problem, "operation-4xx-problem-details-rfc7807"),
        (_a_page_for_an_answer, "response-mime-type"),
        (_no_retry_after, "response-contains-header"),
        (_an_untrue_example, "no-invalid-media-type-examples"),
        (_a_path_in_the_singular, "path-segment-plural"),
        (_a_misspelt_keyword, "struct"),
    ],
)
def test_catches(
    break_it: Callable[[Document], None],
    rule: str,
    lint: Callable[[Document], list[tuple[str, str]]],
    generated: dict[str, Document],
):
    document = deepcopy(generated[NEWEST])
    break_it(document)
    assert {broken for broken, _ in lint(document)} == {rule}


def test_catches_a_null_that_3_0_does_not_allow(
    lint: Callable[[Document], list[tuple[str, str]]], generated: dict[str, Document]
):
    document = deepcopy(generated[TWIN])
    # There `nullable` adds to the type beside it, and to nothing where none is.
    del document["components"]["schemas"]["VesselProperties"]["properties"]["length_m"]["type"]
    assert "nullable-type-sibling" in {rule for rule, _ in lint(document)}
