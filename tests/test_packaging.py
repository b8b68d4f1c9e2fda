"""What an image is built from: whatever the wheel takes has to reach the builder."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_all_that_the_wheel_takes_reaches_the_image():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, wheel = pyproject["project"], pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]
    taken = {"pyproject.toml", project["readme"], *project["license-files"], *wheel["packages"]}
    taken |= wheel["force-include"].keys()
    copied = {
        source
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }
    let_in = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for known in (copied, let_in):
        assert {each for each in taken if not _lies_in(each, known)} == set()
    assert {each for each in copied if not (ROOT / each).exists()} == set()


def _lies_in(path: str, known: set[str]) -> bool:
    return any(str(each) in known for each in (Path(path), *Path(path).parents))
