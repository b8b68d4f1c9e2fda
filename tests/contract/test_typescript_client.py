"""A partner's and a tracker's program in TypeScript, on types generated from the document."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from tests.contract import node_tools
from tests.contract.node_tools import NodeTools
from tests.support.live_service import LiveService

from harbor_api.web import runtime

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
    """A folder in which programs are compiled against the types of documents."""

    def __init__(self, folder: Path, tools: NodeTools) -> None:
        self._folder = folder
        self._tools = tools
        tools.lend_to(folder)
        for name in ("package.json", "tsconfig.json"):
            shutil.copy(node_tools.FILES / name, folder)

    def describe(self, types: str, document: dict[str, Any]) -> str:
        """Make a module with the types of a document, and return its text."""
        (self._folder / "document.json").write_text(json.dumps(document))
        made = self._tools.run("openapi-typescript", "document.json", "--output", types, cwd=self._folder)
        assert made.returncode == 0, made.stderr
        return (self._folder / types).read_text()

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


@dataclass(frozen=True)
class Compiled:
    """Programs that were compiled, all at once: what takes long is what they share."""

    workshop: Workshop
    types: str
    faults: dict[str, str]


@pytest.fixture(scope="module")
def compiled(app: Flask, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Return the main job as it is, with each mistake, and on a document that lost what it reads."""
    workshop = Workshop(tmp_path_factory.mktemp("typescript"), node_tools.installed())
    document = json.loads(runtime.of(app).document)
    types = workshop.describe("harbor-api.ts", document)
    properties = document["components"]["schemas"]["VesselProperties"]
    del properties["properties"]["stale"]
    properties["required"].remove("stale")
    workshop.describe("without-stale.ts", document)
    right = PROGRAM.read_text()
    programs = {"main_job": right, "on_less": right.replace("./harbor-api.js", "./without-stale.js")}
    for name, (said, mistaken, _) in MISTAKES.items():
        assert right.count(said) == 1, said
        programs[name] = right.replace(said, mistaken)
    assert len(set(programs.values())) == len(programs)
    return Compiled(workshop, types, workshop.compile(**programs))


def test_does_the_main_job(compiled: Compiled, live_service: LiveService):
    assert "main_job" not in compiled.faults
    tracker_id, secret = live_service.add_tracker()
    _, key = live_service.world.key()
    seen = compiled.workshop.run(
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


def test_has_a_type_for_every_member(compiled: Compiled):
    members = re.findall(r"^ *(\w+\??: .*;)$", compiled.types, flags=re.MULTILINE)
    assert len(members) > 100
    # One that may be anything tells a programmer nothing. (`[name: string]` stands for undeclared headers.)
    assert [member for member in members if re.search(r"\b(unknown|any)\b", member)] == []


def test_does_not_compile_with_a_mistake(compiled: Compiled):
    assert set(compiled.faults) - {"on_less"} == set(MISTAKES)
    assert [name for name, (_, _, told) in MISTAKES.items() if told not in compiled.faults[name]] == []


def test_does_not_compile_when_the_document_no_longer_has_what_it_reads(compiled: Compiled):
    assert compiled.faults["on_less"].count("Property 'stale' does not exist") == 2
    assert compiled.faults["on_less"].count("error TS") == 2
