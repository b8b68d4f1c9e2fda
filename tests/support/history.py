"""Code of before, as git remembers it: put into a folder, so that it can be run beside today's."""

import re
import subprocess
from pathlib import Path

import pytest
from tests.support.nginx import program

_ROOT = Path(__file__).parents[2]
_MIGRATIONS = "alembic/versions"


def last_release() -> str:
    """Return the commit that the last release was cut at: no other one changes the version."""
    return _first(_git("log", "--format=%H", "-G^__version__", "--", "src/harbor_api/__init__.py"))


def before_the_newest_migrations(many: int) -> str:
    """Return the newest commit that lacks so many migrations, whatever they are called by now."""
    most = len([each for each in (_ROOT / _MIGRATIONS).iterdir() if _is_migration(each.name)]) - many
    # One that is not committed yet comes after all that is.
    if len(_revisions("HEAD")) <= most:
        return _first(_git("rev-parse", "HEAD"))
    changed = _git("log", "--format=%P", "--", _MIGRATIONS).splitlines()
    before = (parents.split()[0] for parents in changed if parents)
    return next(each for each in before if len(_revisions(each)) <= most)


def revision_of(commit: str) -> str:
    """Return the revision of the schema that a commit's code needs."""
    return max(_revisions(commit))


def put(commit: str, folder: Path) -> Path:
    """Put a commit's code into a new folder, and return where Python finds it."""
    archive = folder.with_suffix(".tar")
    _git("archive", "--format=tar", "-o", str(archive), commit, "src", "alembic", "openapi")
    folder.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
    return folder / "src"


def _revisions(commit: str) -> list[str]:
    names = _git("ls-tree", "--name-only", f"{commit}:{_MIGRATIONS}").split()
    return [name[:4] for name in names if _is_migration(name)]


def _is_migration(name: str) -> bool:
    return re.fullmatch(r"\d{4}_\w+\.py", name) is not None


def _first(commits: str) -> str:
    return commits.split(maxsplit=1)[0]


def _git(*arguments: str) -> str:
    """Return what git says; the test is skipped in a copy without its whole history."""
    git = [program("git"), "-c", f"safe.directory={_ROOT}", "-C", str(_ROOT)]
    shallow = subprocess.run(
        [*git, "rev-parse", "--is-shallow-repository"], capture_output=True, text=True, check=False
    )
    if shallow.stdout.strip() != "false":
        pytest.skip("this is no checkout of git, or one without its whole history")
    return subprocess.run([*git, *arguments], capture_output=True, text=True, check=True).stdout
