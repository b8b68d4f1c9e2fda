"""What make says on a machine that lacks something, before it does anything."""

import shutil
import subprocess
from pathlib import Path

import pytest

MAKE, SHELL = shutil.which("make") or "", shutil.which("sh")
ROOT = Path(__file__).parents[1]
OLD = "case $* in *version_info*) exit 1;; esac"
BARE = "case $* in *ensurepip*) exit 1;; *print*) echo python3.12-venv;; esac"
# What it would do next; nothing here is to be installed.
WHOLE = "case $* in *-m*) echo made with $0 >&2; exit 9;; esac"


def _make(folder: Path, **pythons: str) -> subprocess.CompletedProcess[str]:
    """Run make in a folder of its own, where nothing but these programs can be found."""
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements-dev.txt").touch()
    (folder / "pyproject.toml").touch()
    found = folder / "found"
    found.mkdir()
    for name, body in pythons.items():
        program = found / name.replace("_", ".")
        program.write_text(f"#!{SHELL}\n{body}\n")
        program.chmod(0o755)
    return subprocess.run(
        [MAKE, "demo"], cwd=folder, env={"PATH": str(found)}, capture_output=True, text=True, check=False
    )


pytestmark = pytest.mark.skipif(not MAKE, reason="make is not installed")


def test_an_old_python_is_one_line_that_says_which_were_looked_for(tmp_path: Path):
    done = _make(tmp_path, python3=OLD, python3_11="exit 127")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        "Harbor API needs Python 3.11 or newer. "
        "Looked for: python3 python3.14 python3.13 python3.12 python3.11."
    )


def test_no_python_is_the_same_line(tmp_path: Path):
    assert _make(tmp_path).stderr.startswith("Harbor API needs Python 3.11 or newer. Looked for: ")


def test_a_newer_python_beside_an_old_one_is_found(tmp_path: Path):
    done = _make(tmp_path, python3=OLD, python3_13=WHOLE, python3_12=WHOLE)
    assert "Making .venv with python3.13." in done.stdout
    assert "made with" in done.stderr


def test_a_python_without_venv_names_the_package(tmp_path: Path):
    done = _make(tmp_path, python3=BARE)
    assert done.stderr.splitlines()[0] == (
        "python3 has no venv module. On Debian or Ubuntu: apt install python3.12-venv"
    )
    assert not (tmp_path / ".venv").exists()


def test_it_says_first_what_will_take_long(tmp_path: Path):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "pip"):
        program = tmp_path / ".venv" / "bin" / name
        program.write_text(f"#!{SHELL}\n{WHOLE}\n")
        program.chmod(0o755)
    said = _make(tmp_path).stdout.splitlines()
    assert said[0].startswith("Installing what requirements-dev.txt names into .venv: a minute or two")
