"""The two clients that are shipped, each run as it is, behind one face."""

import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CLIENTS = Path(__file__).resolve().parents[2] / "openapi" / "examples"
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Heard:
    """What a client told: [name, data, cursor] each, the last of them how it ended."""

    told: list[Any]

    def of(self, *names: str) -> list[Any]:
        return [data for name, data, _ in self.told if name in names]

    @property
    def numbers(self) -> list[int]:
        return [data["id"] for data in self.of("position")]

    @property
    def end(self) -> tuple[str, Any]:
        name, data, _ = self.told[-1]
        return name, data

    def waits(self) -> list[float]:
        """Return the seconds that it waited, one after another."""
        return [each["delay_s"] for each in self.of("state") if each["state"] == "waiting"]


Client = Callable[..., Heard]


@pytest.fixture(scope="session")
def follow_py() -> ModuleType:
    spec = importlib.util.spec_from_file_location("follow", CLIENTS / "follow.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["follow"] = module
    spec.loader.exec_module(module)
    return module


def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("no node on this machine")
    return found


@pytest.fixture(scope="session")
def run_javascript() -> Iterator[Client]:
    """Return follow.js, which runs until it ends by itself; in one process for all tests of a worker."""
    command = [node(), _HERE / "drive.mjs", CLIENTS / "follow.js"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        given, written = process.stdin, process.stdout

        def run(**options: Any) -> Heard:
            given.write(json.dumps({"key": "hbr_k", **options}) + "\n")
            given.flush()
            told: list[Any] = []
            while not told or told[-1][0] not in {"returned", "raised"}:
                line = written.readline()
                assert line, "the client ended, and not by itself"
                told.append(json.loads(line))
            return Heard(told)

        yield run
        given.close()


@pytest.fixture(params=["javascript", "python"])
def follow(request: pytest.FixtureRequest, follow_py: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Return a client that runs until it ends, with the options of follow.js."""
    if request.param == "javascript":
        run_in_node: Client = request.getfixturevalue("run_javascript")
        return run_in_node

    def run(*, url: str, afterLoss: str = "stop", **options: Any) -> Heard:  # noqa: N803 - as in JavaScript
        told: list[Any] = []
        monkeypatch.setattr(
            time,
            "sleep",
            lambda delay_s: told.append(["state", {"state": "waiting", "delay_s": delay_s}, ""]),
        )

        def lost(loss: dict[str, Any]) -> object:
            told.append(["reset", loss, ""])
            return {"oldest": loss["oldest"], "anew": True}.get(afterLoss)

        names = {"from": "begin", "maxRate": "max_rate", "heartbeat": "heartbeat_s"}
        given = {names.get(name, name): value for name, value in options.items()}
        try:
            events = follow_py.follow(
                url,
                "hbr_k",
                on_reset=lost,
                on_state=lambda state: told.append(["state", {"state": state}, ""]),
                **given,
            )
            told.extend(map(list, events))
        except follow_py.FollowError as error:
            told.append(["raised", {"message": str(error), "status": error.status, "code": error.code}, ""])
        return Heard(told)

    return run
