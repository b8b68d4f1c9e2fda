"""The two clients that are shipped, each run as it is, behind one face."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CLIENTS = Path(__file__).resolve().parents[2] / "openapi" / "examples"
_HERE = Path(__file__).parent
_AT_MOST_S = 30


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


def run_javascript(**options: Any) -> Heard:
    """Run follow.js until it ends by itself."""
    done = subprocess.run(
        [
            node(),
            _HERE / "drive.mjs",
            CLIENTS / "follow.js",
            json.dumps({"hurry": True, "key": "hbr_k", **options}),
        ],
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_AT_MOST_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return Heard([json.loads(line) for line in done.stdout.splitlines()])


@pytest.fixture(params=["javascript", "python"])
def follow(request: pytest.FixtureRequest, follow_py: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Return a client that runs until it ends, with the options of follow.js."""
    if request.param == "javascript":
        return run_javascript

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
