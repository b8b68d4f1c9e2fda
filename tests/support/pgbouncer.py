"""A PgBouncer in transaction mode before a test's PostgreSQL: Debian's, with the file that we ship."""

import configparser
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.support.live_service import free_port

from harbor_api.postgres import server_account

_SHIPPED = Path(__file__).parents[2] / "deploy" / "pgbouncer.ini"
_PATIENCE_S = 30.0


def program() -> str | None:
    """Return where PgBouncer is, None where it is not installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class PgBouncer:
    """A pooler before a server; few connections are shared by all, so that each serves whoever comes."""

    def __init__(self, server_url: str, *, connections: int | None = 3) -> None:
        """Stand before a server that listens on a Unix socket; the test is skipped where there is none.

        Without ``connections`` there are as many as we ship.
        """
        if program() is None:
            pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
        named = conninfo_to_dict(server_url)
        self._directory = Path(tempfile.mkdtemp(prefix="harbor-pgbouncer-"))
        account = server_account.of(Path(str(named["host"])))
        self._port = free_port()
        self._configuration = parser = configparser.ConfigParser()
        parser.read(_SHIPPED)
        parser["pgbouncer"].update(
            {
                "listen_addr": "127.0.0.1",
                "listen_port": str(self._port),
                "unix_socket_dir": "",
                "auth_type": "trust",
                "auth_file": str(self._directory / "userlist.txt"),
                "admin_users": "postgres",
                "logfile": str(self._directory / "log"),
            }
        )
        if connections is not None:
            parser["pgbouncer"]["default_pool_size"] = str(connections)
        (self._directory / "userlist.txt").write_text('"postgres" ""\n')
        self._lead_to(server_url)
        self._account = account
        if account is not None:
            for path in (self._directory, *self._directory.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
        self.start()

    def start(self) -> None:
        """Start it, always at the same port."""
        found, account = program(), self._account
        assert found is not None
        self._process = subprocess.Popen(
            [found, "-q", self._directory / "pgbouncer.ini"],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=None if account is None else account.pw_uid,
            group=None if account is None else account.pw_gid,
            extra_groups=None if account is None else [],
        )
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self._port)).close()
            except ConnectionRefusedError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError((self._directory / "log").read_text())

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(_PATIENCE_S)

    def point_to(self, server_url: str) -> None:
        """Lead to another server from now on, as who changes the file and reloads it does."""
        self._lead_to(server_url)
        self.admin("RELOAD")

    def _lead_to(self, server_url: str) -> None:
        named = conninfo_to_dict(server_url)
        database = str(named["dbname"])
        self._configuration["databases"] = {
            database: f"host={named['host']} port={named['port']} dbname={database}"
        }
        with (self._directory / "pgbouncer.ini").open("w") as file:
            self._configuration.write(file)

    def url(self, server_url: str) -> str:
        """Return the URL of a database of the server by way of the pooler."""
        database = conninfo_to_dict(server_url)["dbname"]
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    def admin(self, command: str) -> list[tuple[object, ...]]:
        """Have a command of the pooler's own console done, and return its rows."""
        url = f"postgresql://postgres@127.0.0.1:{self._port}/pgbouncer"
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = psycopg.ClientCursor(connection)
            cursor.execute(command.encode())
            return cursor.fetchall() if cursor.description is not None else []

    def __enter__(self) -> "PgBouncer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(_PATIENCE_S)
        shutil.rmtree(self._directory, ignore_errors=True)
