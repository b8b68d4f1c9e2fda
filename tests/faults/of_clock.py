"""The clock of the service's machine jumps; those of trackers, PostgreSQL and Redis do not."""

import time
from pathlib import Path
from typing import Any

from tests.faults.fault import Fault
from tests.faults.stage import Stage
from tests.support.live_service import LiveService

_JUMP_S = 3_600
_FOR_S = 4.0
# It looks at the file once a second.
_NOTICED_S = 1.5


def _library() -> Path | None:
    """Return Debian's libfaketime, in the form for programs with threads."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


def _lacks() -> str | None:
    return None if _library() else "no clock can be set: on Debian or Ubuntu, apt install faketime"


class OtherClock(LiveService):
    """A service whose clock is set by a file; the one that only goes on is as it was."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._file = self._log.with_name("clock")
        self.set_clock(0)
        self.environ |= {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

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
        "Fixes are refused with 401 stale_timestamp and sent again; nobody is locked out afterwards",
        f"the service's clock goes ahead an hour for {_FOR_S:.0f} s, then back two, then is right again",
        _jump,
        allowed=frozenset({"401"}),
        kind=OtherClock,
        # Those that the service has by itself.
        settings={"tracker_requests_per_minute": 600, "failures_per_minute": 60},
        lacks=_lacks,
    ),
)
