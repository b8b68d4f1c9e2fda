"""``harbor-api serve`` in a process of its own, for tests in which processes matter."""

import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import psutil
from tests.support.factories import MASTER_KEY, World
from tests.support.openapi_check import Contract, contract_of

from harbor_api.database import Database
from harbor_api.postgres import embedded, migrations

# Two seconds where nothing else runs.
_START_S = 60
_ROOT = Path(__file__).parents[2]


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on."""
    with socket.create_server((address, 0)) as free:
        port: int = free.getsockname()[1]
        return port


class OwnPostgres:
    """A PostgreSQL server for one test, migrated, which may be crashed and started again."""

    def __init__(self, directory: Path | None = None) -> None:
        """Let its files be in a folder, which goes with it; in one of its own where none is named."""
        self._directory = directory or Path(tempfile.mkdtemp(prefix="harbor-"))
        self._membership: embedded.Membership | None = None

    def start(self) -> None:
        """Start it; after a crash it recovers what was committed."""
        self._leave()
        self._membership = embedded.join(self._directory)
        self.url = self._membership.url

    def crash(self) -> None:
        """Stop it at once, as a power cut would: what was not on disk is lost."""
        family = self.processes()
        for process in reversed(family):
            # Its workers come and go by themselves.
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=10)

    def stop(self) -> None:
        """Stop it as its service manager does: at once, and everything is on disk (SIGINT)."""
        self._leave()

    def is_running(self) -> bool:
        """Return whether there is a postmaster, whatever state it is in."""
        try:
            return bool(self.processes())
        except (FileNotFoundError, psutil.NoSuchProcess):
            return False

    @property
    def programs(self) -> Path:
        """Return the folder of PostgreSQL's own programs."""
        return embedded.programs()

    @property
    def cluster(self) -> Path:
        """Return the folder of its files."""
        return self._directory / embedded.CLUSTER

    def processes(self) -> list[psutil.Process]:
        """Return the postmaster and all that it has started."""
        first = psutil.Process(int((self.cluster / "postmaster.pid").read_text().split()[0]))
        return [first, *first.children(recursive=True)]

    def _leave(self) -> None:
        if self._membership is not None:
            self._membership.leave()
            self._membership = None

    def __enter__(self) -> "OwnPostgres":
        self.start()
        database = Database(self.url)
        migrations.upgrade(database.engine)
        database.dispose()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        shutil.rmtree(self._directory, ignore_errors=True)


class LiveService:
    """A running service; a context manager that leaves no process behind."""

    def __init__(
        self,
        database_url: str,
        *,
        log: Path,
        module: str = "harbor_api.cli",
        address: str = "127.0.0.1",
        **settings: Any,
    ) -> None:
        self._database = Database(database_url, pool_size=2)
        self.world = World(self._database)
        self.port = free_port(address)
        self.address = f"{address}:{self.port}"
        self.base_url = f"http://{self.address}"
        self._log = log
        self._module = module
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HARBOR_")},
            "HARBOR_DATABASE_URL": database_url,
            "HARBOR_TRACKER_MASTER_KEY": base64.b64encode(MASTER_KEY).decode(),
            "HARBOR_BIND": self.address,
            "HARBOR_DATABASE_POOL": "4",
            "HARBOR_TRACKER_REQUESTS_PER_MINUTE": "1000000",
            "HARBOR_FAILURES_PER_MINUTE": "1000000",
            **{f"HARBOR_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._contract: Contract | None = None
        # No connection is kept: tests kill what is at its other end. It is the header that says so:
        # without it a connection rests for a moment after each answer, and of two threads that share
        # this client one may be handed it while the other closes it (EBADF in one of a hundred requests).
        self.http = httpx.Client(
            base_url=self.base_url,
            timeout=30,
            # Else each client reads all authorities of the machine first, for a tenth of a second.
            verify=False,
            headers={"Connection": "close"},
            event_hooks={"response": [self._check]},
        )

    def command(self) -> list[str]:
        """Return how it is started."""
        return [sys.executable, "-m", self._module, "serve"]

    def handed_over(self) -> tuple[int, ...]:
        """Return the descriptors that it gets when it is started."""
        return ()

    def start(self) -> None:
        """Start the service and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                env=self.environ,
                cwd=_ROOT,
                pass_fds=self.handed_over(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_S
        with httpx.Client(base_url=self.base_url, timeout=2, verify=False) as http:
            while True:
                try:
                    http.get("/health/live")
                    return
                except httpx.TransportError:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        # Nothing else would: what raises here is no context that is left.
                        self._end(signal.SIGKILL)
                        raise AssertionError(f"did not start: {self.log()}") from None
                    time.sleep(0.05)

    def check(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Raise Lie where a response is not what the service's own document says."""
        if self._contract is None:
            self._contract = contract_of(httpx.get(f"{self.base_url}/openapi.json", verify=False).content)
        self._contract.check(method, path, status, headers, body)

    def _check(self, response: httpx.Response) -> None:
        request = response.request
        self.check(request.method, request.url.path, response.status_code, response.headers, response.read())

    def kill(self) -> None:
        """End all its processes at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end, as an operator would, and return its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(_START_S)

    @property
    def pid(self) -> int:
        """Return the id of the process that was started, the first of the service's."""
        assert self._process is not None
        return self._process.pid

    def processes(self) -> list[psutil.Process]:
        """Return the first process and all that it has started."""
        first = psutil.Process(self.pid)
        return [first, *first.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        """Return the processes that answer requests."""
        return [each for each in psutil.Process(self.pid).children() if not _is_exporter(each)]

    def exporter(self) -> psutil.Process:
        """Return the process that answers Prometheus."""
        [exporter] = [each for each in psutil.Process(self.pid).children() if _is_exporter(each)]
        return exporter

    def worker(self) -> psutil.Process:
        """Return the only process that answers requests."""
        [worker] = self.workers()
        return worker

    def log(self) -> str:
        """Return all that it has logged."""
        return self._log.read_text()

    def add_tracker(self) -> tuple[str, str]:
        """Register a vessel with a tracker and return the tracker's id and secret."""
        signing = self.world.tracker()
        return signing.tracker.id, signing.secret

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, how)
        except ProcessLookupError:
            pass
        self._process.wait(_START_S)

    def __enter__(self) -> "LiveService":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(signal.SIGTERM)
        self._end(signal.SIGKILL)
        self.http.close()
        self._database.dispose()


def _is_exporter(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return "harbor_api.server.exporter" in process.cmdline()
    return False
