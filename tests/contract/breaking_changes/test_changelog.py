"""The check of the changelog: it names each break, for its operations, and nothing else."""

from collections.abc import Mapping

import pytest
from tests.contract.breaking_changes.changed_documents import FLEET, ONE, POST
from tests.contract.breaking_changes.changelog import faults_of
from tests.contract.breaking_changes.compare_operations import Break


class TestChangelog:
    BROKEN = (
        Break((FLEET, ONE), "response `VesselProperties.imo` is removed"),
        Break((POST,), "request `Fix.sog` is now required"),
    )
    ITEMS = (
        "- listVessels, getVessel: response `VesselProperties.imo` is removed",
        "- postPosition: request `Fix.sog` is now required",
    )

    @staticmethod
    def text(*items: str, version: str = "Unreleased", heading: str = "Breaking") -> str:
        lines = ["# Changelog", "", f"## {version}", "", "### Added", "", "- Something.", ""]
        return "\n".join([*lines, f"### {heading}", "", *items, "", "## 0.1.0", "", "- The first.", ""])

    def test_that_names_each_break_passes(self):
        assert faults_of(self.text(*self.ITEMS), self.BROKEN) == []

    def test_that_has_no_list_passes_when_nothing_is_broken(self):
        assert faults_of("# Changelog\n\n## Unreleased\n\n## 0.1.0\n", ()) == []

    def test_may_explain_and_wrap(self):
        wrapped = ["- listVessels, getVessel:", "  response `VesselProperties.imo` is removed. Follow `id`."]
        assert faults_of(self.text(*wrapped, self.ITEMS[1]), self.BROKEN) == []

    def test_that_leaves_one_out_is_told_the_line(self):
        assert faults_of(self.text(self.ITEMS[0]), self.BROKEN) == [f"add: {self.ITEMS[1]}"]

    def test_that_names_one_that_is_none_is_told_the_line(self):
        assert faults_of(self.text(*self.ITEMS), self.BROKEN[:1]) == [f"take away: {self.ITEMS[1]}"]

    def test_that_names_it_for_other_operations_does_not_do(self):
        item = self.ITEMS[0].replace("listVessels, ", "")
        faults = faults_of(self.text(item), self.BROKEN[:1])
        assert faults == [f"add: {self.ITEMS[0]}", f"take away: {item}"]

    @pytest.mark.parametrize("elsewhere", [{"version": "0.2.0"}, {"heading": "Changed"}])
    def test_that_names_it_elsewhere_does_not_do(self, elsewhere: Mapping[str, str]):
        faults = faults_of(self.text(*self.ITEMS, **elsewhere), self.BROKEN)
        assert faults == [f"add: {item}" for item in self.ITEMS]
