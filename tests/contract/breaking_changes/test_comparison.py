"""The comparison of two documents: what it must catch, and what it must let pass."""

import copy
import json

import pytest
from tests.contract.breaking_changes.cases import answers, operations, requests
from tests.contract.breaking_changes.changed_documents import (
    FLEET,
    ONE,
    POST,
    Document,
    changed,
    operation_in,
    remove_a_member,
)
from tests.contract.breaking_changes.compare_operations import breaking_changes

# Each with its change, an operation that it breaks, and what is told of it.
BREAKS = operations.BREAKS | answers.BREAKS | requests.BREAKS
HARMLESS = operations.HARMLESS | answers.HARMLESS | requests.HARMLESS


def _rename_a_path_parameter(document: Document) -> None:
    moved = json.loads(json.dumps(document).replace('"vessel_id"', '"id"').replace("{vessel_id}", "{id}"))
    document.update(moved)


@pytest.mark.parametrize("name", BREAKS)
def test_catches_when(name: str, old: Document):
    change, operation, what = BREAKS[name]
    [found] = breaking_changes(old, changed(old, change))
    assert found.what == what
    assert operation in found.operations


@pytest.mark.parametrize("name", HARMLESS)
def test_lets_pass_when(name: str, old: Document):
    assert breaking_changes(old, changed(old, HARMLESS[name])) == []


def test_lets_pass_what_is_not_changed(old: Document):
    assert breaking_changes(old, copy.deepcopy(old)) == []


def test_tells_of_a_path_parameter_that_is_renamed_as_generated_clients_see_it(old: Document):
    found = breaking_changes(old, changed(old, _rename_a_path_parameter))
    assert {each.what for each in found} == {
        "path parameter `vessel_id` is removed",
        "path parameter `id` is new and required",
    }


def test_tells_once_of_a_schema_that_several_operations_share(old: Document):
    new = changed(old, lambda d: remove_a_member(d, "VesselProperties.imo"))
    [found] = breaking_changes(old, new)
    assert set(found.operations) >= {FLEET, ONE}
    assert str(found) == f"{', '.join(found.operations)}: response `VesselProperties.imo` is removed"


def test_refuses_what_it_would_not_look_at(old: Document):
    for change in (
        lambda d: d.update(webhooks={}),
        lambda d: operation_in(d, POST).update(callbacks={}),
    ):
        with pytest.raises(NotImplementedError):
            breaking_changes(old, changed(old, change))
