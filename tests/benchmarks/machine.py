"""What the machine does meanwhile: what each part spends of its CPUs, and what others take.

Others are whoever is not started by this process: all the time that CPUs were not idle, without what our
own had. What the host of a virtual machine takes away is theirs, threads of the kernel are nobody's. Whether
interrupts count for the process that they interrupt is a matter of the kernel; where they do not, they are
counted as others', which is the strict way.
"""

import os
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import NamedTuple

import psutil

# Of all CPUs. Where others take more while something is measured, its numbers are no ground for a verdict.
MOST_OTHERS = 0.05


class _Seen(NamedTuple):
    at: float
    parts: Mapping[str, Mapping[int, float]]
    busy_s: float
    ours_s: float


class Watch:
    """What parts of a measurement, each a process with its descendants, spend from one look to the next.

    What the processes of ``strangers`` spend is no part's, but not others' either.
    """

    def __init__(self, parts: Mapping[str, int], *, strangers: Collection[int] = ()) -> None:
        """Get the first process of each part."""
        self.load_average = os.getloadavg()[0]
        self._pids = parts
        self._strangers = strangers
        self._seen: list[_Seen] = []

    def look(self) -> None:
        """Look where the measured time begins, and where it is over."""
        at = time.perf_counter()
        parts = {part: cpu_seconds(pid, self._strangers) for part, pid in self._pids.items()}
        first = (os.getpid(), *self._pids.values(), *_threads_of_kernel())
        ours = {process.pid: process for pid in first for process in family(pid)}
        ours_s = sum(_whole(process) for process in ours.values())
        self._seen.append(_Seen(at, parts, _busy_seconds(), ours_s))

    @property
    def took_s(self) -> float:
        return self._seen[-1].at - self._seen[0].at

    @property
    def spent(self) -> dict[str, list[float]]:
        """The seconds of CPU of each process of each part, the most first."""
        before, after = self._seen[0].parts, self._seen[-1].parts
        return {
            part: sorted((used - before[part].get(pid, 0) for pid, used in each.items()), reverse=True)
            for part, each in after.items()
        }

    @property
    def others(self) -> float:
        """The share of all CPUs that others had."""
        before, after = self._seen[0], self._seen[-1]
        theirs_s = (after.busy_s - before.busy_s) - (after.ours_s - before.ours_s)
        # The kernel counts in hundredths of a second, which is more than a short look takes.
        return min(1.0, max(0.0, theirs_s / (self.took_s * (psutil.cpu_count() or 1))))


def at_rest(seconds: float = 1) -> dict[str, str]:
    """Tell how busy the machine is while nothing is measured."""
    watch = Watch({})
    watch.look()
    time.sleep(seconds)
    watch.look()
    return {
        "load average": f"{watch.load_average:.2f}",
        "others at rest": f"{watch.others:.0%} of the CPUs",
        "busy": f"where others take more than {MOST_OTHERS:.0%}",
    }


def cpu_seconds(pid: int, strangers: Collection[int] = ()) -> dict[int, float]:
    """Return what a process and its descendants have used so far, without those that are strangers."""
    if pid == os.getpid():
        # Its descendants are other parts.
        return {pid: time.process_time()}
    used = {}
    for process in family(pid):
        # PostgreSQL's helpers come and go by themselves.
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            if process.pid not in strangers:
                used[process.pid] = times.user + times.system
    return used


def family(pid: int) -> list[psutil.Process]:
    """Return a process and its descendants."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _whole(process: psutil.Process) -> float:
    """Return what a process has used, with those of its children that have ended."""
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def _threads_of_kernel() -> list[int]:
    """Return the process that has started them, where it can be seen."""
    with suppress(psutil.NoSuchProcess):
        return [2] if psutil.Process(2).name() == "kthreadd" else []
    return []


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(
        times.user + times.nice + times.system + times.irq + times.softirq + getattr(times, "steal", 0)
    )
