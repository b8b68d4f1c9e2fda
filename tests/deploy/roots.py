"""Roots of this machine's own under an overlay, in a namespace of their own: for what needs a whole machine.

Whatever is written there, mounted or started is gone with the namespace. As root, on Linux.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root, and unshare"
)


def mount(*arguments: str) -> None:
    """Call mount."""
    subprocess.run(["mount", *arguments], check=True)


def run_apart(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a module of the tests in a namespace of mounts and processes, which end with it."""
    apart = ("unshare", "--mount-proc", "--propagation", "private", "--pid", "--fork", "--kill-child")
    command = [*apart, sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder for what is below, in memory."""
    with tempfile.TemporaryDirectory(prefix="harbor-root-", ignore_cleanup_errors=True) as folder:
        # An overlay cannot lie on another one, which the root of a container is.
        mount("-t", "tmpfs", "tmpfs", folder)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-R", "-l", folder], check=True)


def begin(folder: Path, name: str) -> Path:
    """Return a root that is this machine's, with a /tmp of its own, as somebody who changes root finds it."""
    upper, work, root = (folder / f"{name}-{part}" for part in ("upper", "work", "root"))
    for each in (upper, work, root):
        each.mkdir()
    mount("-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", str(root))
    mount("--rbind", "/dev", str(root / "dev"))
    mount("-t", "proc", "proc", str(root / "proc"))
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(root / "tmp"))
    return root


def copy_checkout(target: Path) -> Path:
    """Copy what .dockerignore lets in to a folder, and return that."""
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        source = ROOT / line.removeprefix("!")
        if line.startswith("!") and source.is_dir():
            shutil.copytree(source, target / line[1:], ignore=shutil.ignore_patterns("__pycache__"))
        elif line.startswith("!"):
            shutil.copy2(source, target)
    return target
