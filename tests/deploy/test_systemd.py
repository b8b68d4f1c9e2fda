"""The units of systemd, as far as it says without running them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
# What is left is what a network service needs: sockets, a network, and setrlimit() for its open files.
MOST_EXPOSED = 1.4

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def _analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def test_systemd_understands_every_line(tmp_path: Path):
    here = Path(sys.executable).with_name("harbor-api")
    units = [each for each in sorted(UNITS.iterdir()) if each.suffix in {".service", ".socket", ".timer"}]
    assert len(units) == 4
    for each in units:
        (tmp_path / each.name).write_text(
            each.read_text().replace("/opt/harbor-api/bin/harbor-api", str(here))
        )
    done = _analyze("verify", *(str(tmp_path / each.name) for each in units))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["harbor-api.service", "harbor-api-maintain.service"])
def test_a_unit_is_exposed_to_little(name):
    threshold = f"--threshold={MOST_EXPOSED * 10:.0f}"
    done = _analyze("security", "--offline=yes", "--no-pager", threshold, str(UNITS / name))
    assert done.returncode == 0, done.stdout
