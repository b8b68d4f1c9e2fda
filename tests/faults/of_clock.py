"""The clock of the service's machine jumps; those of trackers, PostgreSQL and Redis do not."""

import shutil
import subprocess
import time
from typing import Any

from tests.faults.fault import Fault
from tests.faults.stage import Stage
from tests.support.live_service import LiveService

_JUMP_S = 3_600
_FOR_S = 4.0
# It looks at the file once a second.
_NOTICED_S = 1.5
# With Debian's libfaketime, time.sleep of Python 3.11 ends with EINVAL: this is what is needed of it.
_SOURCE = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long ahead(long now) {
    static long looked, offset;
    if (looked != now) {
        looked = now;
        FILE *file = fopen(getenv("CLOCK_FILE"), "re");
        if (file) {
            long read;
            if (fscanf(file, "%ld", &read) == 1) offset = read;
            fclose(file);
        }
    }
    return offset;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = syscall(SYS_clock_gettime, clock, at);
    if (!failed && clock == CLOCK_REALTIME) at->tv_sec += ahead(at->tv_sec);
    return failed;
}

time_t time(time_t *to) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (to) *to = at.tv_sec;
    return at.tv_sec;
}

int gettimeofday(struct timeval *to, void *zone) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    to->tv_sec = at.tv_sec;
    to->tv_usec = at.tv_nsec / 1000;
    return 0;
}
"""


def _lacks() -> str | None:
    return (
        None if shutil.which("cc") else "no clock can be set: on Debian or Ubuntu, apt install gcc libc6-dev"
    )


class OtherClock(LiveService):
    """A service whose clock is set by a file; the one that only goes on is as it was."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._file = self._log.with_name("clock")
        self.set_clock(0)
        library = self._log.with_name("clock.so")
        compiler = shutil.which("cc")
        assert compiler is not None
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", library],
            input=_SOURCE.encode(),
            check=True,
        )
        self.environ |= {"LD_PRELOAD": str(library), "CLOCK_FILE": str(self._file)}

    def set_clock(self, ahead_s: int) -> None:
        """Set it ahead of, or behind, what it is everywhere else."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead_s:+d}\n")
        # Nobody reads half of it.
        new.rename(self._file)


def _jump(stage: Stage) -> None:
    service = stage.service
    assert isinstance(service, OtherClock)
    for ahead_s in (_JUMP_S, -_JUMP_S, 0):
        service.set_clock(ahead_s)
        time.sleep(_FOR_S if ahead_s else _NOTICED_S)


OF_CLOCK = (
    Fault(
        "clock-jumps",
        "Fixes are refused with 401 and sent again; nobody is locked out afterwards",
        f"the service's clock goes ahead an hour for {_FOR_S:.0f} s, then back two, then is right again",
        _jump,
        allowed=frozenset({"401"}),
        kind=OtherClock,
        # Those that the service has by itself.
        settings={"tracker_requests_per_minute": 600, "failures_per_minute": 60},
        lacks=_lacks,
    ),
)
