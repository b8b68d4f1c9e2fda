"""A streaming replica of a test's own PostgreSQL, which may stop, lag, and take over."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict
from tests.support import under_account
from tests.support.live_service import OwnPostgres

from harbor_api.postgres import embedded, server_account

_PATIENCE_S = 60.0


class Standby:
    """A replica that follows by streaming, not waited for by anybody; made of the wheel's own programs."""

    def __init__(self, primary: OwnPostgres) -> None:
        self._account = server_account.of(primary.cluster)
        self._programs = embedded.programs()
        if self._account is not None:
            self._programs = server_account.copied(self._programs)
        self._directory = Path(tempfile.mkdtemp(prefix="harbor-standby-"))
        self.cluster, self._sockets = self._directory / "postgres", self._directory / "sockets"
        self._sockets.mkdir()
        if self._account is not None:
            for folder in (self._directory, self._sockets):
                os.chown(folder, self._account.pw_uid, self._account.pw_gid)
        named = conninfo_to_dict(primary.url)
        self._run(
            "pg_basebackup",
            *("-D", str(self.cluster), "-h", str(named["host"]), "-p", str(named["port"])),
            *("-U", "postgres", "-R", "-X", "stream", "-c", "fast"),
        )
        self._server: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://postgres@/postgres?host={quote(str(self._sockets))}&port=5432"

    @staticmethod
    def either(primary: OwnPostgres, standby: "Standby") -> str:
        """Return the URL that leads to whichever of the two takes changes."""
        hosts = [str(conninfo_to_dict(each.url)["host"]) for each in (primary, standby)]
        named = "&".join(f"host={quote(host)}:5432" for host in hosts)
        return f"postgresql://postgres@/postgres?{named}&target_session_attrs=read-write"

    def start(self, *, follows: bool = True) -> None:
        """Start it where it stands; one that does not follow has what it had."""
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "port": "5432",
            "hot_standby": "on",
            **({} if follows else {"primary_conninfo": ""}),
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self._directory / "log").open("ab") as log:
            self._server = self._begin("postgres", "-D", str(self.cluster), *settings, log=log)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and self._server.poll() is None:
            try:
                self.value("SELECT 1")
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError((self._directory / "log").read_text())

    def stop(self) -> None:
        """Stop it; whoever reads from it is sent away."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(_PATIENCE_S)
            self._server = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Let it lie still meanwhile: it takes what it is asked, and says nothing."""
        assert self._server is not None
        first = psutil.Process(self._server.pid)
        family = [first, *first.children(recursive=True)]
        for each in family:
            each.suspend()
        try:
            yield
        finally:
            for each in family:
                each.resume()

    def promote(self) -> None:
        """Let it take over with what it has."""
        assert self.value("SELECT pg_promote(true, 60)")

    def catch_up(self, primary: OwnPostgres) -> None:
        """Wait until it has all that the primary has committed."""
        with psycopg.connect(primary.url) as connection:
            [[end]] = connection.execute("SELECT pg_current_wal_flush_lsn()").fetchall()
        deadline = time.monotonic() + _PATIENCE_S
        while not self.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", end):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def value(self, statement: str, *values: Any) -> Any:
        """Return the only thing that a statement finds there."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            [[found]] = connection.execute(statement, values).fetchall()
        return found

    def _run(self, program: str, *arguments: str) -> None:
        with (self._directory / "log").open("ab") as log:
            status = self._begin(program, *arguments, log=log).wait(_PATIENCE_S)
        assert status == 0, (self._directory / "log").read_text()

    def _begin(self, program: str, *arguments: str, log: Any) -> subprocess.Popen[bytes]:
        return under_account.begin(self._programs / program, *arguments, account=self._account, log=log)

    def __enter__(self) -> "Standby":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)
