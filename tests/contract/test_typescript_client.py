"""A partner's and a tracker's program in TypeScript, on types generated from the document."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.contract import node_tools
from tests.contract.node_tools import NodeTools
from tests.support.live_service import LiveService

PROGRAM = node_tools.FILES / "main_job.ts"
# What the program says, what it might say by mistake, and what the compiler has to name.
MISTAKES = {
    "unknown_path": ('stranger.GET("/api/v1/vessels")', 'stranger.GET("/api/v1/ships")', "2 arguments"),
    "wrong_method": ("first = await tracker.POST", "first = await tracker.PUT", "not assignable"),
    "no_path_parameter": ("{ params: { path: { vessel_id } } }", "{}", "'params'"),
    "path_parameter_of_wrong_type": ("vessel_id: 2147483647", 'vessel_id: "none"', "'number'"),
    "unknown_member_sent": ("battery_v: 3.9", "battery: 3.9", "'battery'"),
    "member_of_wrong_type_sent": ("sog: 8.4", 'sog: "8.4"', "'number"),
    "required_member_not_sent": ("  lat: 59.9,\n", "", "'lat'"),
    "unknown_member_read": ("feature.properties.name", "feature.properties.title", "'title'"),
    "null_not_thought_of": ("before.geometry?.coordinates", "before.geometry.coordinates", "'null'"),
    "value_that_never_comes": ('verdict === "stored"', 'verdict === "accepted"', "no overlap"),
    "unknown_member_of_a_problem": ("problemOf(nowhere).code", "problemOf(nowhere).message", "'message'"),
}  # fmt: skip


class Workshop:
    """A folder in which programs are compiled against the types of one document."""

    def __init__(self, folder: Path, tools: NodeTools, document: dict[str, Any]) -> None:
        self._folder = folder
        self._tools = tools
        tools.lend_to(folder)
        for name in ("package.json", "tsconfig.json"):
            shutil.copy(node_tools.FILES / name, folder)
        (folder / "document.json").write_text(json.dumps(document))
        made = tools.run("openapi-typescript", "document.json", "--output", "harbor-api.ts", cwd=folder)
        assert made.returncode == 0, made.stderr
        self.types = (folder / "harbor-api.ts").read_text()

    def compile(self, **programs: str) -> dict[str, str]:
        """Compile programs and return what the compiler holds against each, by its name."""
        for name, text in programs.items():
            (self._folder / f"{name}.ts").write_text(text)
        done = self._tools.run("tsc", "--pretty", "false", cwd=self._folder)
        faults = re.split(r"^(?=\S+\(\d+,\d+\): )", done.stdout, flags=re.MULTILINE)
        found: dict[str, str] = {}
        for fault in filter(None, faults):
            place = re.match(r"([\w./-]+)\.ts\(", fault)
            assert place, done.stdout
            found[place[1]] = found.get(place[1], "") + fault
        assert (done.returncode == 0) == (found == {}), done.stdout + done.stderr
        return found

    def run(self, program: str, **settings: str) -> Any:
        """Run a compiled program and return what it prints."""
        node = shutil.which("node")
        assert node
        done = subprocess.run(
            [node, f"made/{program}.js"],
            cwd=self._folder,
            env=settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def tools() -> NodeTools:
    return node_tools.installed()


@pytest.fixture
def workshop(tools: NodeTools, document: dict[str, Any], tmp_path: Path) -> Workshop:
    return Workshop(tmp_path, tools, document)


def test_does_the_main_job(workshop: Workshop, live_service: LiveService):
    assert workshop.compile(main_job=PROGRAM.read_text()) == {}
    tracker_id, secret = live_service.add_tracker()
    _, key = live_service.world.key()
    seen = workshop.run(
        "main_job",
        SERVICE=live_service.base_url,
        API_KEY=key,
        TRACKER_ID=tracker_id,
        TRACKER_SECRET=secret,
    )
    assert seen == {
        "fleet": ["Skagerrak Trader"],
        "before": {"at": None, "stale": True},
        "nowhere": [404, "not_found"],
        "refused": [401, "key_invalid"],
        "first": [201, True, True],
        "second": [200, True, True],
        "after": {"at": [10.7, 59.9], "stale": False},
        "knots": "8.4",
    }


def test_has_a_type_for_every_member(workshop: Workshop):
    members = re.findall(r"^ *(\w+\??: .*;)$", workshop.types, flags=re.MULTILINE)
    assert len(members) > 100
    # One that may be anything tells a programmer nothing. (`[name: string]` stands for undeclared headers.)
    assert [member for member in members if re.search(r"\b(unknown|any)\b", member)] == []


def test_does_not_compile_with_a_mistake(workshop: Workshop):
    right = PROGRAM.read_text()
    wrong = {}
    for name, (said, mistaken, _) in MISTAKES.items():
        assert right.count(said) == 1, said
        wrong[name] = right.replace(said, mistaken)
    faults = workshop.compile(right=right, **wrong)
    assert set(faults) == set(wrong)
    assert {name: text for name, text in faults.items() if MISTAKES[name][2] not in text} == {}


def test_does_not_compile_when_the_document_no_longer_has_what_it_reads(
    tools: NodeTools, document: dict[str, Any], tmp_path: Path
):
    properties = document["components"]["schemas"]["VesselProperties"]
    del properties["properties"]["stale"]
    properties["required"].remove("stale")
    faults = Workshop(tmp_path, tools, document).compile(main_job=PROGRAM.read_text())
    assert list(faults) == ["main_job"]
    assert faults["main_job"].count("Property 'stale' does not exist") == 2
