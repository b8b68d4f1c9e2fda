"""The service with its workers' stacks looked at a thousand times a second: ``python -m`` this, ``serve``.

A worker begins when it gets SIGPROF, and ends when it gets it again: then it writes how often it was seen in
which stack, as folded stacks (``a;b;c 12``), to the file that SAMPLED_STACKS names. Only what a worker does
is seen, not what it waits for.
"""

import os
import signal
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from harbor_api.cli.main import main

_EVERY_S = 0.001
# What a worker without anything to do is seen in.
_IDLE = "gevent.hub:Hub.run"


class Sampler:
    """Counts stacks. What C code takes is its caller's: a signal is handled when it comes back."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: Counter[tuple[CodeType, ...]] = Counter()
        self._names: dict[CodeType, str] = {}
        self._runs = False

    def install(self) -> None:
        """Wait for the signal, in a worker that was just forked."""
        signal.signal(signal.SIGALRM, self.note)
        signal.signal(signal.SIGPROF, self.turn)

    def turn(self, *_: Any) -> None:
        """Begin, or end and write."""
        self._runs = not self._runs
        every_s = _EVERY_S if self._runs else 0
        signal.setitimer(signal.ITIMER_REAL, every_s, every_s)
        if not self._runs:
            self._file.write_text(self.folded())

    def note(self, _: int, frame: FrameType | None) -> None:
        """Count the stack that ends in a frame."""
        stack = []
        while frame is not None:
            code = frame.f_code
            if code not in self._names:
                self._names[code] = f"{frame.f_globals.get('__name__', '?')}:{code.co_qualname}"
            stack.append(code)
            frame = frame.f_back
        self._seen[*stack] += 1

    def folded(self) -> str:
        """Return what was seen, outermost first."""
        lines = []
        for stack, times in self._seen.items():
            names = [self._names[code] for code in reversed(stack)]
            if names[-1] != _IDLE:
                lines.append(f"{';'.join(names)} {times}\n")
        return "".join(lines)


if __name__ == "__main__":
    os.register_at_fork(after_in_child=Sampler(Path(os.environ["SAMPLED_STACKS"])).install)
    main()
