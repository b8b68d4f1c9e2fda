"""What the processes hold, looked at while all goes on: memory, connections, open files, CPU."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
from tests.soak.stage import Load, Stage

_MB = 1e6
_SETTLED = (
    "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@dataclass
class Sample:
    """What was at a moment, and what was met since the sample before; memory in MB, times in ms."""

    at_s: float
    figures: dict[str, float]
    unexpected: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)


class Watcher:
    """Looks at the stage and asks the loads; a context manager."""

    def __init__(self, stage: Stage, callers: Load, streams: Load) -> None:
        self._stage = stage
        self._loads = {"callers": callers, "streams": streams}
        self._began = self._last = time.monotonic()
        self._acknowledged = 0
        self._of_service: list[int] | None = None
        self._used = self._cpu(stage.processes())
        # All that were ever seen, with when each began: none may be left in the end.
        self.met: dict[int, float] = {}
        self.files: set[Path] = set()

    def __enter__(self) -> Self:
        self._database = psycopg.connect(self._stage.database_url, autocommit=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def sample(self) -> Sample:
        """Look once."""
        stage = self._stage
        now, processes = time.monotonic(), stage.processes()
        unexpected = self._strangers(processes)
        figures: dict[str, float] = {}
        for part, each in processes.items():
            figures |= _held(part, each)
        used = self._cpu(processes)
        for part, seconds in used.items():
            figures[f"{part} CPU %"] = 100 * (seconds - self._used.get(part, 0)) / (now - self._last)
        self._used = used
        figures["files in use"] = len(self._files())
        figures["database connections"] = self._connections()
        told = {name: load.ask("tell") for name, load in self._loads.items()}
        statuses = told["callers"]["statuses"]
        for answer in told.values():
            unexpected |= answer["unexpected"]
        many = told["callers"]["acknowledged_so_far"]
        figures["fixes/s"] = (many - self._acknowledged) / (now - self._last)
        self._acknowledged = many
        figures["told/s"] = told["streams"]["told"] / (now - self._last)
        figures["backlog"] = told["callers"]["backlog"]
        taken = {"post": told["callers"]["posts"], "read": told["callers"]["reads"]}
        for name, took in (taken | {"stream": told["streams"]["delay"]}).items():
            figures |= {f"{name} {which} ms": took[which] for which in ("p50", "p99", "max") if which in took}
        self._last = now
        return Sample(now - self._began, figures, unexpected, statuses)

    def _strangers(self, processes: dict[str, list[psutil.Process]]) -> dict[str, int]:
        """Return which of the service's processes have ended or come since the look before."""
        of_service = [each[0].pid for part, each in processes.items() if part not in self._stage.parts]
        before, self._of_service = self._of_service or of_service, of_service
        for each in processes.values():
            for process in each:
                with suppress(psutil.NoSuchProcess):
                    self.met[process.pid] = process.create_time()
        return {} if before == of_service else {f"processes {before} became {of_service}": 1}

    def _files(self) -> set[Path]:
        found = self._stage.files()
        self.files |= found
        return found

    def _connections(self) -> int:
        [many] = self._database.execute(_SETTLED).fetchone() or [0]
        return int(many)

    def _cpu(self, processes: dict[str, list[psutil.Process]]) -> dict[str, float]:
        loads = {name: [psutil.Process(load.pid)] for name, load in self._loads.items()}
        return {part: sum(map(_seconds, each)) for part, each in (processes | loads).items()}


def _held(part: str, processes: list[psutil.Process]) -> dict[str, float]:
    pss = rss = files = many = 0
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            memory = each.memory_full_info()
            pss, rss, files, many = pss + memory.pss, rss + memory.rss, files + each.num_fds(), many + 1
    figures: dict[str, Any] = {f"{part} PSS MB": pss / _MB, f"{part} files": files}
    if part == "PostgreSQL":
        figures["PostgreSQL processes"] = many
    elif part.startswith("worker"):
        # Pages that are shared with who has forked it count whole here.
        figures[f"{part} RSS MB"] = rss / _MB
    return figures


def _seconds(process: psutil.Process) -> float:
    """Return the CPU that a process has used, with its children that have ended."""
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0
