"""A program of these tests in a process of its own, with which lines are exchanged."""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

_ROOT = Path(__file__).parents[2]
_PATIENCE_S = 120.0


class Helper:
    """A module that is run, told its order in the first line, and says ``ready`` once it has begun.

    A context manager that leaves no process behind.
    """

    def __init__(self, module: str, order: str) -> None:
        self._module = module
        self._order = order

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self.say(self._order)
            assert self.line() == b"ready\n"
        except BaseException:
            self.__exit__()
            raise
        return self

    def say(self, line: str) -> None:
        """Tell it a line."""
        pipe = self._process.stdin
        assert pipe is not None
        pipe.write(line.encode() + b"\n")
        pipe.flush()

    def line(self) -> bytes:
        """Return the line that it says next."""
        pipe = self._process.stdout
        assert pipe is not None
        assert select.select([pipe], [], [], _PATIENCE_S)[0], f"{self._module} says nothing"
        return pipe.readline()

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
