"""Programs of PostgreSQL, which does not run as root: begun as another account."""

import os
import subprocess
from pathlib import Path
from pwd import struct_passwd
from typing import Any


def begin(
    program: Path, *arguments: str, account: struct_passwd | None, log: Any
) -> "subprocess.Popen[bytes]":
    """Begin a program as an account, as this one where there is none; what it says goes to ``log``."""
    return subprocess.Popen(
        [program, *arguments],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        user=None if account is None else account.pw_uid,
        group=None if account is None else account.pw_gid,
        extra_groups=None if account is None else [],
    )
