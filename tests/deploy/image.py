"""The steps of the Dockerfile, run for real where there is no container engine: as root, on Linux.

    unshare --mount --propagation private --pid --fork --kill-child \
        python -m tests.deploy.image URL SOCKET_FOLDER [EXTRA ...]

The base is this machine's own root under an overlay, with the Python that runs this in place of the
official image's; all else is done as the Dockerfile says. Then the service runs as the image's user, over the
PostgreSQL at URL, whose socket is in a folder, in a root that is read-only but for /tmp. Prints what came of
it, as JSON.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.deploy.roots import ROOT, begin, copy_checkout, mount, scratch
from tests.support.factories import MASTER_KEY_TEXT

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# How this machine reaches its package index.
_OF_THE_MACHINE = re.compile(
    r"PIP_INDEX_URL|PIP_EXTRA_INDEX_URL|PIP_CERT|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|\w+_proxy", re.IGNORECASE
)
_PATIENCE_S = 60


@dataclass
class Stage:
    """One stage: its root, and what its instructions have said."""

    root: Path
    # The library of a Python that was built for another folder is looked for there.
    environ: dict[str, str] = field(
        default_factory=lambda: {"PATH": _PATH, "LD_LIBRARY_PATH": "/usr/local/lib"}
    )
    workdir: str = "/"
    user: str = "0:0"
    said: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        """Return what runs a command in it, as its user."""
        there = ["sh", "-c", f'cd {self.workdir} && exec "$@"', "sh", *arguments]
        return ["chroot", f"--userspec={self.user}", "--groups=", str(self.root), *there]


def instructions(text: str) -> list[tuple[str, str]]:
    """Return a Dockerfile's instructions, each with what stands behind it on one line."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines)
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def build(folder: Path, arguments: dict[str, str]) -> Stage:
    """Run the Dockerfile's steps, and return its last stage."""
    (folder / "context").mkdir()
    context = copy_checkout(folder / "context")
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    given: dict[str, str] = {}
    for name, rest in instructions((ROOT / "Dockerfile").read_text()):
        print(f"{name} {rest[:150]}", file=sys.stderr)
        if name == "FROM":
            stage = Stage(begin(folder, f"stage{len(stages)}"))
            # Where the official image has Python.
            mount("--bind", "-o", "ro", sys.base_prefix, str(stage.root / "usr" / "local"))
            stages[rest.partition(" AS ")[2] or str(len(stages))] = stage
            given = {}
        elif name == "ARG":
            variable, _, default = rest.partition("=")
            given[variable] = arguments.get(variable, default.strip('"'))
        elif stage is not None:
            _do(name, rest, stage, stages, context, given)
    assert stage is not None
    return stage


def _do(
    name: str, rest: str, stage: Stage, stages: dict[str, Stage], context: Path, given: dict[str, str]
) -> None:
    if name == "RUN":
        machine = {each: value for each, value in os.environ.items() if _OF_THE_MACHINE.fullmatch(each)}
        environ = machine | given | stage.environ
        subprocess.run(stage.command("sh", "-c", rest), env=environ, stdout=sys.stderr, check=True)
    elif name == "ENV":
        for each in shlex.split(rest):
            variable, _, value = each.partition("=")
            stage.environ[variable] = value.replace("$PATH", stage.environ["PATH"])
    elif name == "WORKDIR":
        stage.workdir = rest
        (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif name == "COPY":
        *sources, target = rest.split()
        root = context
        if sources[0].startswith("--from="):
            root = stages[sources.pop(0).removeprefix("--from=")].root
        for source in sources:
            _copy(
                root / source.lstrip("/"),
                stage.root / Path("/", stage.workdir, target).relative_to("/"),
                target,
            )
    elif name == "USER":
        stage.user = rest
    else:
        stage.said[name] = rest


def _copy(source: Path, target: Path, named: str) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target / source.name if named.endswith("/") else target)


def _size_mb(folder: Path) -> int:
    return sum(each.lstat().st_size for each in folder.rglob("*")) >> 20


def try_out(stage: Stage, url: str, socket_folder: str) -> dict[str, Any]:
    """Run the service of an image in a read-only root, and return what came of it."""
    mount("-t", "tmpfs", "-o", "mode=1777,size=64m", "tmpfs", str(stage.root / "tmp"))
    there = stage.root / socket_folder.lstrip("/")
    there.mkdir(parents=True)
    mount("--bind", socket_folder, str(there))
    mount("-o", "remount,ro", str(stage.root))
    environ = stage.environ | {"HARBOR_DATABASE_URL": url, "HARBOR_TRACKER_MASTER_KEY": MASTER_KEY_TEXT}

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            stage.command(*arguments),
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )

    def told(*arguments: str) -> str:
        done = run(*arguments)
        return (done.stdout + done.stderr).strip()

    def ready() -> str:
        asked = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/health/ready').status)"
        return run("python", "-c", asked).stdout.strip() or "not ready"

    with tempfile.TemporaryFile("w+") as log:
        service = subprocess.Popen(
            stage.command(*json.loads(stage.said["CMD"])), env=environ, stdout=log, stderr=log
        )
        try:
            check = json.loads(stage.said["HEALTHCHECK"].partition(" CMD ")[2])
            deadline = time.monotonic() + _PATIENCE_S
            while run(*check).returncode and service.poll() is None and time.monotonic() < deadline:
                time.sleep(0.2)
            seen: dict[str, Any] = {
                "healthy before migrate": run(*check).returncode == 0,
                "ready before migrate": ready(),
                "migrate": told("harbor-api", "migrate", "--wait", "20"),
                "ready": ready(),
                "key": told("harbor-api", "keys", "add", "First", "--admin")[:4],
                "who": told("id"),
                "write": told("sh", "-c", "touch /opt/harbor/x || touch /x"),
                "in /tmp": sorted(each.name for each in (stage.root / "tmp").iterdir() if each != there),
                "bytecode": len([*(stage.root / "opt/harbor/lib").rglob("*.pyc")]),
                "packages": sorted(
                    each.name.partition("-")[0] for each in stage.root.glob("opt/harbor/lib/*/*/*.dist-info")
                ),
                "megabytes": _size_mb(stage.root / "opt/harbor"),
            }
            began = time.monotonic()
            service.terminate()
            seen["exit"] = service.wait(_PATIENCE_S)
            seen["seconds to end"] = round(time.monotonic() - began, 1)
        finally:
            service.kill()
            service.wait()
        log.seek(0)
        seen["log"] = log.read().splitlines()
    return seen


def main() -> None:
    """Build, try, and print what came of it."""
    url, socket_folder, *extras = sys.argv[1:]
    with scratch() as folder:
        image = build(folder, {"EXTRAS": " ".join(extras)})
        print(json.dumps(try_out(image, url, socket_folder)))


if __name__ == "__main__":
    main()
