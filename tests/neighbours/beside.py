"""Honest clients beside one odd neighbour: what they meet, what it gets, and what it costs the worker."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import psutil
from tests.neighbours import honest
from tests.neighbours.callers import PATIENCE_S
from tests.neighbours.scene import CHECKING, Outcome, Scene
from tests.neighbours.troubles import TROUBLES
from tests.neighbours.world import ROOT, World

ALONE = "alone"
_WARM_UP_S = 1
_START_S = 30
_LOOK_EACH_S = 0.2
_WELL_WITHIN_S = 60
_WELL_MS = 1_000
# What a worker may have open more than before, once all is over: connections to PostgreSQL, and a few more.
_MORE_OPEN = 16


class Part:
    """A process that plays a part; a context manager that leaves none behind."""

    def __init__(self, module: str, scene: Scene, **part: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.neighbours.{module}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._name = module
        self._received = b""
        self._say(json.dumps({**part, "scene": asdict(scene)}))

    def wait(self) -> None:
        """Wait until it is ready: a trouble to begin, honest clients while they ask already."""
        line = self._line(_START_S)
        assert line == b"ready", line

    def go_on(self) -> None:
        """Let the next trouble begin, or honest clients end."""
        self._say("go on")

    def seen(self, patience_s: float) -> Any:
        """Wait for what it tells in the end."""
        return json.loads(self._line(patience_s))

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def _line(self, patience_s: float) -> bytes:
        assert self._process.stdout is not None
        number = self._process.stdout.fileno()
        until = time.monotonic() + patience_s
        while b"\n" not in self._received:
            if not select.select([number], [], [], max(0, until - time.monotonic()))[0]:
                raise TimeoutError(f"{self._name} says nothing for {patience_s:.0f} s")
            data = os.read(number, 1 << 20)
            if not data:
                raise RuntimeError(f"{self._name} has ended")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def __enter__(self) -> "Part":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            # What it was told last may not have been read.
            with suppress(BrokenPipeError):
                pipe.close()


@dataclass(frozen=True)
class Met:
    """What one honest client met; latencies are those of all its requests, failures included."""

    asked: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    failures: dict[str, int]
    reopened: int


@dataclass(frozen=True)
class Span:
    """A quantity before, at its most, and once all was over."""

    before: float
    peak: float
    after: float


@dataclass(frozen=True)
class Row:
    """One trouble. ``well_after_s`` is None where the service did not recover."""

    trouble: str
    outcome: Outcome | None
    met: Mapping[str, Met]
    memory_mib: Span
    descriptors: Span
    cpu_share: float
    load: tuple[float, float]
    well_after_s: float | None
    worker_lost: bool
    errors_logged: dict[str, int]

    def faults(self, most_ms: float | None) -> list[str]:
        """Return what an honest client cannot be asked to bear."""
        found = [f"{client}: failed {each.failures}" for client, each in self.met.items() if each.failures]
        found += [f"{client}: was never answered" for client, each in self.met.items() if not each.asked]
        if most_ms is not None:
            found += [
                f"{client}: p99 is {each.p99_ms:.0f} ms"
                for client, each in self.met.items()
                if each.p99_ms > most_ms
            ]
        if self.worker_lost:
            found.append("the worker died")
        if self.well_after_s is None:
            found.append(f"all is not well again within {_WELL_WITHIN_S} s")
        return [f"beside {self.trouble}, {each}" for each in found]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Watch:
    """Looks at a worker until it is told to stop."""

    def __init__(self, worker: psutil.Process) -> None:
        self._worker = worker
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self.seen = [_look(worker)]
        self._cpu_s, self._began = _cpu_s(worker), time.monotonic()

    def stop(self) -> float:
        """Stop looking, and return the share of a core that the worker has used meanwhile."""
        self._ended.set()
        self._thread.join()
        if not self._worker.is_running():
            return 0
        return (_cpu_s(self._worker) - self._cpu_s) / (time.monotonic() - self._began)

    def spans(self, after: tuple[float, int]) -> tuple[Span, Span]:
        """Return the spans of memory and of descriptors."""
        memory, descriptors = zip(*self.seen, strict=True)
        return (
            Span(memory[0], max(memory), after[0]),
            Span(descriptors[0], max(descriptors), after[1]),
        )

    def _look_on(self) -> None:
        while not self._ended.wait(_LOOK_EACH_S):
            with suppress(psutil.NoSuchProcess):
                self.seen.append(_look(self._worker))

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()


def run(world: World, name: str, scene: Scene) -> Row:
    """Measure honest clients beside a trouble, or alone."""
    trouble = None if name == ALONE else TROUBLES[name]
    if trouble:
        world.execute(trouble.past(scene))
    worker = world.worker()
    logged = len(world.service.log())
    load_before = os.getloadavg()[0]
    outcome = None
    with Part("honest", scene) as clients:
        clients.wait()
        time.sleep(_WARM_UP_S)
        with Watch(worker) as watch:
            began = time.monotonic()
            if trouble:
                with (
                    Part("troubles", scene, troubles=[name]) as odd,
                    _Undoing(world, trouble.each_second),
                ):
                    odd.wait()
                    began = time.monotonic()
                    odd.go_on()
                    outcome = Outcome(**odd.seen(scene.seconds + PATIENCE_S + _START_S))
            else:
                time.sleep(scene.seconds)
            cpu_share = watch.stop()
        clients.go_on()
        samples = clients.seen(honest.LAST_ANSWERS * scene.patience_s + _START_S)
    well_after_s = wait_until_well(world, scene, open_before=int(watch.seen[0][1]))
    worker_lost = not worker.is_running()
    after = (0.0, 0) if worker_lost else _look(worker)
    memory, descriptors = watch.spans(after)
    return Row(
        trouble=name,
        outcome=outcome,
        met={client: _met(samples[client], began, began + scene.seconds) for client in honest.CLIENTS},
        memory_mib=memory,
        descriptors=descriptors,
        cpu_share=cpu_share,
        load=(load_before, os.getloadavg()[0]),
        well_after_s=well_after_s,
        worker_lost=worker_lost,
        errors_logged=errors_in(world.service.log()[logged:]),
    )


def wait_until_well(world: World, scene: Scene, *, open_before: int) -> float | None:
    """Return after how many seconds new clients were served as usual and nothing was left open."""
    began = time.monotonic()
    clients = [honest.Tracker(scene, CHECKING), honest.Partner(scene)]
    while (now := time.monotonic()) < began + _WELL_WITHIN_S:
        samples = [client.ask() for client in clients]
        if all(each.outcome == honest.OK and each.waited_s * 1000 < _WELL_MS for each in samples):
            with suppress(psutil.NoSuchProcess, ValueError):
                if world.worker().num_fds() <= open_before + _MORE_OPEN:
                    return now - began
        time.sleep(_LOOK_EACH_S)
    return None


def errors_in(log: str) -> dict[str, int]:
    """Return the events that the service has logged as errors, and how often."""
    found: Counter[str] = Counter()
    for line in log.splitlines():
        with suppress(ValueError):
            entry = json.loads(line)
            if entry.get("level") in {"error", "critical"}:
                found[str(entry.get("event"))[:100]] += 1
    return dict(found)


class _Undoing:
    """Runs a statement each second, where there is one."""

    def __init__(self, world: World, statement: str | None) -> None:
        self._world = world
        self._statements = [statement] if statement else []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        while not self._ended.wait(1):
            self._world.execute(self._statements)

    def __enter__(self) -> None:
        if self._statements:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._statements:
            self._thread.join()


def _look(worker: psutil.Process) -> tuple[float, int]:
    return worker.memory_info().rss / 2**20, worker.num_fds()


def _cpu_s(worker: psutil.Process) -> float:
    times = worker.cpu_times()
    return float(times.user + times.system)


def _met(samples: Sequence[Sequence[Any]], since: float, until: float) -> Met:
    """Count the requests that were under way within a span of time."""
    counted = [honest.Sample(*each) for each in samples]
    counted = [each for each in counted if each.began < until and each.ended > since]
    took = sorted(each.waited_s * 1000 for each in counted) or [0.0]
    failures = Counter(each.outcome for each in counted if each.outcome != honest.OK)
    return Met(
        asked=len(counted),
        p50_ms=took[len(took) // 2],
        p99_ms=took[len(took) * 99 // 100],
        max_ms=took[-1],
        failures=dict(failures),
        reopened=sum(each.reopened for each in counted),
    )
