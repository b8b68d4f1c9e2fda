"""No release breaks a client unless the API's own changelog says so."""

import json
from pathlib import Path

from tests.contract.breaking_changes.changed_documents import Document
from tests.contract.breaking_changes.changelog import faults_of
from tests.contract.breaking_changes.compare_operations import breaking_changes

OPENAPI = Path(__file__).resolve().parents[3] / "openapi"


def test_document_breaks_nothing_that_the_changelog_does_not_name(document: Document):
    released = json.loads((OPENAPI / "released" / "harbor-api.json").read_text())
    changelog = (OPENAPI / "CHANGELOG.md").read_text()
    faults = faults_of(changelog, breaking_changes(released, document))
    assert not faults, "\n".join(["In openapi/CHANGELOG.md, '## Unreleased', '### Breaking':", *faults])


def test_changelog_tells_of_the_released_document():
    released = json.loads((OPENAPI / "released" / "harbor-api.json").read_text())
    headings = [
        line for line in (OPENAPI / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")
    ]
    assert headings[:2] == ["## Unreleased", f"## {released['info']['version']}"]
