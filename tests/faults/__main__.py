"""Faults: each states a promise, breaks what it is about, and reports what callers saw.

    make faults
    python -m tests.faults --only database --per-second 500 --calm 10

A real service with two workers on a PostgreSQL and a Redis of its own, behind nginx as it is shipped.
Trackers send fixes, each until it is acknowledged, and partners read. After each fault all that was
acknowledged is looked up. Exits with 1 where a promise was not kept.
"""

from tests.benchmarks import proxy
from tests.faults.command import command
from tests.faults.faults import FAULTS
from tests.faults.playing import play

main = command(
    FAULTS,
    play,
    about="Break what the service stands on, and tell what callers met.",
    per_second=100,
    programs={"nginx": proxy.program()},
)

if __name__ == "__main__":
    main()
