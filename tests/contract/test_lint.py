"""The documents under a linter's strictest rules; ``node/redocly.yaml`` says what is loosened and why."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from tests.contract import node_tools
from tests.contract.node_tools import NodeTools
from tests.support.operations import operations_of
from tests.support.urls import VESSELS as FLEET

from harbor_api.cli.openapi import NEWEST, TWIN, documents

ONE = FLEET + "/{vessel_id}"
# Of what errors consist, and this is what monitoring systems are told instead, and how it is.
_NO_PROBLEM = "#/components/schemas/Readiness/properties"
RULES = node_tools.FILES / "redocly.yaml"
Document = dict[str, Any]


@pytest.fixture(scope="session")
def tools() -> NodeTools:
    return node_tools.installed()


@pytest.fixture(scope="session")
def generated() -> dict[str, Document]:
    return documents()


@pytest.fixture(scope="session")
def reports(
    tools: NodeTools, generated: dict[str, Document], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[tuple[str, str]]]:
    """Return each broken rule, and where and how, by the name of a document: all are linted in one run."""
    linted = {**generated, **{f"small-{name}": _small(document) for name, document in generated.items()}}
    for break_it, (name, _) in _BREAKS.items():
        linted[break_it.__name__] = broken = _small(generated[name])
        break_it(broken)
    folder = tmp_path_factory.mktemp("lint")
    for name, document in linted.items():
        (folder / name).write_text(json.dumps(document))
    done = tools.run(
        "redocly",
        "lint",
        *linted,
        f"--config={RULES}",
        # A mistake in the rules is a mistake, too.
        "--lint-config=error",
        "--format=json",
        "--max-problems=1000",
        cwd=folder,
    )
    reports: dict[str, list[tuple[str, str]]] = {}
    left, decoder = done.stdout.strip(), json.JSONDecoder()
    # A document of its own for each that is linted, in their order.
    for name in linted:
        report, end = decoder.raw_decode(left)
        left = left[end:].lstrip()
        problems, totals = report["problems"], report["totals"]
        assert (len(problems), totals["ignored"]) == (totals["errors"] + totals["warnings"], 0)
        assert {each["location"][0]["source"]["ref"] for each in problems} <= {name}
        reports[name] = [
            (each["ruleId"], f"{where}: {each['message']}")
            for each in problems
            if (where := each["location"][0].get("pointer")) != _NO_PROBLEM
        ]
    assert (left, done.returncode == 0) == ("", False), done.stderr
    return reports


@pytest.mark.parametrize("name", [NEWEST, TWIN, f"small-{NEWEST}", f"small-{TWIN}"])
def test_finds_nothing_in(name: str, reports: dict[str, list[tuple[str, str]]]):
    faults = [f"{rule} at {what}" for rule, what in reports[name]]
    assert not faults, "\n".join(faults)


def _small(document: Document) -> Document:
    """Return a copy of a document with two paths and what they name, which is read in a moment."""
    small = deepcopy({**document, "paths": {path: document["paths"][path] for path in (FLEET, ONE)}})
    components, wanted = small["components"], small["paths"]
    used = {"securitySchemes": {"api_key": components["securitySchemes"]["api_key"]}}
    while found := {
        (kind, name)
        for kind, name in re.findall(r'"#/components/(\w+)/([^"/]+)', json.dumps(wanted))
        if name not in used.get(kind, {})
    }:
        wanted = [used.setdefault(kind, {}).setdefault(name, components[kind][name]) for kind, name in found]
    tags = {tag for each in operations_of(small) for tag in each.described["tags"]}
    return {**small, "components": used, "tags": [each for each in small["tags"] if each["name"] in tags]}


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


def _a_null_that_3_0_does_not_allow(document: Document) -> None:
    # There `nullable` adds to the type beside it, and to nothing where none is.
    del document["components"]["schemas"]["VesselProperties"]["properties"]["length_m"]["type"]


# What breaks which document, and the rules that it breaks.
_BREAKS: dict[Callable[[Document], None], tuple[str, set[str]]] = {
    _no_operation_id: (NEWEST, {"operation-operationId"}),
    _no_description: (NEWEST, {"operation-description"}),
    _a_parameter_without_a_description: (NEWEST, {"parameter-description"}),
    _no_success: (NEWEST, {"operation-2xx-response"}),
    _an_error_that_is_no_problem: (NEWEST, {"operation-4xx-problem-details-rfc7807"}),
    _a_page_for_an_answer: (NEWEST, {"response-mime-type"}),
    _no_retry_after: (NEWEST, {"response-contains-header"}),
    _an_untrue_example: (NEWEST, {"no-invalid-media-type-examples"}),
    _a_path_in_the_singular: (NEWEST, {"path-segment-plural"}),
    _a_misspelt_keyword: (NEWEST, {"struct"}),
    # An example is null there.
    _a_null_that_3_0_does_not_allow: (
        TWIN,
        {"nullable-type-sibling", "no-invalid-media-type-examples", "no-invalid-schema-examples"},
    ),
}


@pytest.mark.parametrize("break_it", _BREAKS)
def test_catches(break_it: Callable[[Document], None], reports: dict[str, list[tuple[str, str]]]):
    _, rules = _BREAKS[break_it]
    assert {broken for broken, _ in reports[break_it.__name__]} == rules
