"""Where it is soaked: PostgreSQL, Redis, a service of two workers with an exporter, and nginx if there is."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from tests.benchmarks import proxy
from tests.benchmarks.machine import family
from tests.faults.grounds import Ground
from tests.faults.helper import Helper
from tests.soak import callers, streams
from tests.support.live_service import LiveService, free_port
from tests.support.nginx import Nginx
from tests.support.redis_server import RedisServer
from tests.support.signed_posts import register_fleet

from harbor_api.database import Database
from harbor_api.settings import Settings

_IN_MEMORY = Path("/dev/shm")
_OF_A_KEY = 50


@dataclass(frozen=True)
class Scale:
    """How much there is of each."""

    trackers: int = 1_000
    streams: int = 1_000
    stream_s: int = Settings().stream_s


@dataclass(frozen=True)
class Stage:
    """All that runs."""

    folder: Path
    service: LiveService
    database_url: str
    parts: dict[str, int]
    port: int
    certificate: str
    keys: list[str]

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the processes of each part; of the service each by what it is."""
        found = {part: family(pid) for part, pid in self.parts.items() if part != "service"}
        exporter = self.service.exporter()
        workers = sorted(self.service.workers(), key=lambda each: each.pid)
        return {
            "arbiter": [psutil.Process(self.service.pid)],
            **{f"worker {number}": [each] for number, each in enumerate(workers, 1)},
            "exporter": [exporter],
            **found,
        }

    def files(self) -> set[Path]:
        """Return the files that the service has made for the time that it runs, in memory, too."""
        mapped = Path(f"/proc/{self.service.workers()[0].pid}/maps").read_text().split()
        in_memory = {Path(each).parent for each in mapped if each.startswith(f"{_IN_MEMORY}/harbor")}
        return {each for folder in (self.temporary, *in_memory) for each in folder.rglob("*")}

    @property
    def temporary(self) -> Path:
        """The folder for temporary files that the service is given."""
        return self.folder / "tmp"


@contextmanager
def set_up(scale: Scale) -> Iterator[Stage]:
    """Start everything."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harbor-soak-")))
        (folder / "tmp").mkdir()
        ground = stack.enter_context(Ground())
        redis = stack.enter_context(RedisServer())
        database = Database(ground.url, pool_size=1)
        register_fleet(database, scale.trackers)
        database.dispose()
        is_behind = proxy.program() is not None
        service = LiveService(
            ground.url,
            log=folder / "service.log",
            workers=2,
            redis_url=redis.url,
            trusted_proxies=int(is_behind),
            metrics_bind=f"127.0.0.1:{free_port()}",
            database_pool=Settings().database_pool,
            stream_s=scale.stream_s,
        )
        service.environ["TMPDIR"] = str(folder / "tmp")
        stack.enter_context(service)
        parts = {
            "service": service.pid,
            "PostgreSQL": ground.postgres.processes()[0].pid,
            "Redis": redis.pid,
        }
        port, certificate = service.port, ""
        if is_behind:
            nginx = stack.enter_context(Nginx(f"127.0.0.1:{service.port}"))
            parts["nginx"] = nginx.pid
            port, certificate = nginx.port, str(nginx.certificate)
        keys = [service.world.key()[1] for _ in range(-(-scale.streams // _OF_A_KEY))]
        yield Stage(folder, service, ground.url, parts, port, certificate, keys)


class Load(Helper):
    """One of the processes that ask; each line that it is told is answered by one."""

    @classmethod
    def of_streams(cls, stage: Stage, scale: Scale) -> "Load":
        """Return who follow."""
        order = streams.Order(
            port=stage.port,
            certificate=stage.certificate,
            keys=stage.keys,
            streams=scale.streams,
            looked_at=min(20, scale.streams),
        )
        return cls("tests.soak.streams", json.dumps(asdict(order)))

    @classmethod
    def of_callers(cls, stage: Stage, scale: Scale) -> "Load":
        """Return trackers, partners and the named consumer."""
        order = callers.Order(
            port=stage.port, certificate=stage.certificate, keys=stage.keys, trackers=scale.trackers
        )
        return cls("tests.soak.callers", json.dumps(asdict(order)))

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, line: str) -> dict[str, Any]:
        """Tell it a line, and return what it answers."""
        self.say(line)
        told: dict[str, Any] = json.loads(self.line())
        return told


def still_alive(processes: dict[int, float]) -> list[str]:
    """Return those of some processes, by id and when they began, that have not ended."""
    left = []
    for pid, began in processes.items():
        if pid != os.getpid() and psutil.pid_exists(pid):
            try:
                process = psutil.Process(pid)
                if process.create_time() == began:
                    left.append(" ".join(process.cmdline()) or process.name())
            except psutil.NoSuchProcess:
                continue
    return left
