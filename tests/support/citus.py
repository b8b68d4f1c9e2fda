"""A coordinator and workers of a real Citus, where it is installed beside a PostgreSQL of this machine."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
from tests.support import under_account
from tests.support.live_service import free_port

from harbor_api.database import Database
from harbor_api.postgres import migrations, server_account

# Names the pg_config of a PostgreSQL that has Citus, where that is not the first one on the PATH.
PG_CONFIG = "HARBOR_TEST_CITUS_PG_CONFIG"
_PATIENCE_S = 60.0
_CONF = """
shared_preload_libraries = 'citus'
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
shared_buffers = '32MB'
max_connections = 200
max_prepared_transactions = 200
TimeZone = 'UTC'
"""


def programs() -> Path | None:
    """Return the folder of the programs of a PostgreSQL that has Citus, None where there is none."""
    pg_config = os.environ.get(PG_CONFIG) or shutil.which("pg_config")
    if pg_config is None:
        return None
    told = [
        subprocess.run([pg_config, name], capture_output=True, check=True, text=True).stdout.strip()
        for name in ("--sharedir", "--bindir")
    ]
    return Path(told[1]) if Path(told[0], "extension", "citus.control").exists() else None


class Citus:
    """Servers on loopback; each database of them has the first for its coordinator."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.ports = ports

    def url(self, database: str, *, worker: int = 0) -> str:
        """Return where a database is: at the coordinator, or at one of the workers, the first of them 1."""
        return f"postgresql://postgres@127.0.0.1:{self.ports[worker]}/{database}"

    def make(self, name: str, *, shards: int | None = 4, is_migrated: bool = True) -> str:
        """Make a database on each server and return its URL: migrated, and distributed where it has
        ``shards``."""
        for number, port in enumerate(self.ports):
            with psycopg.connect(self.url("postgres", worker=number), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            with psycopg.connect(self.url(name, worker=number), autocommit=True) as connection:
                connection.execute("SET client_min_messages = error")
                connection.execute("CREATE EXTENSION citus")
            with psycopg.connect(self.url(name), autocommit=True) as connection:
                asked = "citus_add_node" if number else "citus_set_coordinator_host"
                connection.execute(f"SELECT {asked}('127.0.0.1', {port})")
        if is_migrated:
            database = Database(self.url(name))
            migrations.upgrade(database.engine)
            if shards is not None:
                database.distribute(database.undistributed(shards=shards))
            database.dispose()
        return self.url(name)

    def drop(self, name: str) -> None:
        """Drop a database on each server."""
        for number in range(len(self.ports)):
            with psycopg.connect(self.url("postgres", worker=number), autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class CitusServers(Citus):
    """A coordinator and two workers that run until they are stopped."""

    def __init__(self) -> None:
        super().__init__([free_port() for _ in range(3)])
        found = programs()
        assert found is not None
        self._programs = found
        self._directory = Path(tempfile.mkdtemp(prefix="harbor-citus-"))
        self._account = server_account.of(self._directory / "none")
        if self._account is not None:
            os.chown(self._directory, self._account.pw_uid, self._account.pw_gid)
        self._servers: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start all of them; when this returns they answer."""
        for port in self.ports:
            cluster = str(self._directory / str(port))
            made = self._begin(
                *("initdb", "-D", cluster, "-A", "trust", "-U", "postgres", "-N"),
                *("-E", "UTF8", "--locale=C.UTF-8"),
            )
            assert made.wait(_PATIENCE_S) == 0, (self._directory / "log").read_text()
            with (Path(cluster) / "postgresql.conf").open("a") as conf:
                conf.write(f"{_CONF}port = {port}\n")
            self._servers.append(self._begin("postgres", "-D", cluster))
        for number in range(len(self.ports)):
            self._wait(number)

    def stop(self) -> None:
        """Stop all of them."""
        for server in self._servers:
            server.send_signal(signal.SIGINT)
        for server in self._servers:
            server.wait(_PATIENCE_S)
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> "CitusServers":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self, number: int) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                psycopg.connect(self.url("postgres", worker=number)).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self._directory / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def _begin(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._directory / "log").open("ab") as log:
            return under_account.begin(self._programs / program, *arguments, account=self._account, log=log)
