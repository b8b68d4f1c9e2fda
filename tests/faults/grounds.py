"""What the service stands on: PostgreSQL, each kind of ground with the means to break it in its way."""

import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import psycopg
from psycopg.conninfo import conninfo_to_dict
from tests.faults.helper import Helper
from tests.support.live_service import OwnPostgres, free_port
from tests.support.standby import Standby

from harbor_api.postgres import server_account

# An empty database takes 70 MB with its log of changes.
_DISK = "256m"


class Ground:
    """A PostgreSQL of its own; a context manager. The service reaches it at ``url``."""

    postgres: OwnPostgres
    url: str

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._begin(stack)
            self._stack = stack.pop_all()
        return self

    def _begin(self, stack: ExitStack) -> None:
        self.postgres = stack.enter_context(OwnPostgres())
        self.url = self.postgres.url

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class Restarted(Ground):
    """One that may be stopped in good order: its socket is at the same place when it is started again."""

    def _begin(self, stack: ExitStack) -> None:
        folder = Path(tempfile.mkdtemp(prefix="harbor-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self._prepare(folder, stack)
        # With the server's own user as the owner of the folder the socket is beside the files.
        account = server_account.of(folder)
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        self.postgres = stack.enter_context(OwnPostgres(folder))
        self.url = self.postgres.url

    def _prepare(self, folder: Path, stack: ExitStack) -> None:
        """Make the folder ready in which the files will be."""


class SmallDisk(Restarted):
    """One whose files are on a disk of their own, in memory, that may be filled."""

    @staticmethod
    def lacks() -> str | None:
        """Return why there can be no such disk here, None where there can."""
        if os.geteuid() != 0:
            return "a small disk can be made by root only"
        with tempfile.TemporaryDirectory() as folder:
            mounted = _mount(Path(folder))
            if mounted.returncode:
                return f"no small disk can be made: {mounted.stderr.decode().strip()}"
            _unmount(Path(folder))
        return None

    def _prepare(self, folder: Path, stack: ExitStack) -> None:
        _mount(folder).check_returncode()
        stack.callback(_unmount, folder)
        folder.chmod(0o700)
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Take all the room that there is."""
        with self._ballast.open("ab", buffering=0) as file, suppress(OSError):
            for many in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while True:
                        file.write(bytes(many))

    def free(self) -> None:
        """Give it back."""
        self._ballast.unlink()


class Replicated(Ground):
    """A primary that tells nobody of a commit before its standby has it on disk."""

    standby: Standby

    def _begin(self, stack: ExitStack) -> None:
        super()._begin(stack)
        self.standby = stack.enter_context(Standby(self.postgres))
        self.url = Standby.either(self.postgres, self.standby)
        # Only now: the standby, which has a copy of the settings, is to wait for nobody once it takes over.
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")


class Far(Ground):
    """One that is reached by a road on which answers may be late."""

    road: Helper

    def _begin(self, stack: ExitStack) -> None:
        super()._begin(stack)
        named = conninfo_to_dict(self.postgres.url)
        port = free_port()
        self.road = stack.enter_context(
            Helper("tests.faults.slow_road", f"{port} {named['host']}/.s.PGSQL.{named['port']}")
        )
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"


def _mount(folder: Path) -> subprocess.CompletedProcess[bytes]:
    asked = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "harbor-faults", str(folder)]
    return subprocess.run(asked, capture_output=True, check=False)


def _unmount(folder: Path) -> None:
    # Lazily: somebody may look into it at this moment.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
