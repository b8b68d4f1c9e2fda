"""The tools of ``node/package.json``, installed from its lock once a machine."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
import pytest

FILES = Path(__file__).parent / "node"
_MANIFEST = ("package.json", "package-lock.json", ".npmrc")
_OLDEST_NODE = (20, 19)
_INSTALL_S = 120
# How npm names a registry that cannot be reached; anything else that goes wrong is a fault to be seen.
_NO_ANSWER = re.compile(
    r"code (ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT"
    r"|ERR_SOCKET_TIMEOUT|E429|E5\d\d)\b"
)


class NodeTools:
    """The installed tools; what they start says nothing to anyone outside this machine."""

    def __init__(self, modules: Path) -> None:
        self._modules = modules

    def lend_to(self, folder: Path) -> None:
        """Let programs in a folder import what is installed."""
        (folder / "node_modules").symlink_to(self._modules)

    def run(self, tool: str, *arguments: str | Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
        """Run a tool to its end."""
        environ = {
            **os.environ,
            "NO_COLOR": "1",
            "REDOCLY_TELEMETRY": "off",
            "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
        }
        return _run([self._modules / ".bin" / tool, *arguments], cwd=cwd, env=environ, timeout=120)


def installed() -> NodeTools:
    """Return the tools, installing them first where this lock never was; skip where that cannot be."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("no node and npm on this machine")
    version = _run([node, "--version"]).stdout.strip()
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < _OLDEST_NODE:
        pytest.skip(f"node {version} is too old for the tools: they need {_OLDEST_NODE[0]}.{_OLDEST_NODE[1]}")
    key = hashlib.sha256(b"".join((FILES / name).read_bytes() for name in _MANIFEST)).hexdigest()[:16]
    # Outside the checkout: nothing that walks the project meets a thousand foreign files.
    home = platformdirs.user_cache_path("harbor-api-tests") / f"node-{key}"
    home.mkdir(parents=True, exist_ok=True)
    modules = home / "node_modules"
    with _alone(home / "lock"):
        if not modules.is_dir():
            _install(npm, modules)
    return NodeTools(modules)


def _install(npm: str, modules: Path) -> None:
    with tempfile.TemporaryDirectory(dir=modules.parent) as folder:
        for name in _MANIFEST:
            shutil.copy(FILES / name, folder)
        patience = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=20000"]
        try:
            done = _run([npm, "ci", *patience], cwd=Path(folder), timeout=_INSTALL_S)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm ci took more than {_INSTALL_S} s: the registry is too slow or silent")
        if done.returncode != 0:
            if answer := _NO_ANSWER.search(done.stderr):
                pytest.skip(f"npm ci cannot reach the registry: {answer[1]}")
            raise AssertionError(f"npm ci failed:\n{done.stderr}")
        # Whoever sees the folder sees all of it.
        (Path(folder) / "node_modules").rename(modules)


def _run(
    command: list[str | Path],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    timeout: float = 30,
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keep the workers of pytest-xdist from installing at the same time."""
    with lock.open("w") as file:
        # Closing the file, or dying, lets go of it.
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
