"""Two hosts as one service: what callers notice when a part of it breaks.

    make hosts
    python -m tests.hosts --only replica --per-second 200 --calm 10

Two services of two workers each, at two addresses, over PgBouncer, a PostgreSQL with a streaming replica, and
Redis; nginx in front. Trackers and partners go by way of nginx, as with ``make faults``; watchers ask the one
host and then the other, and compare. Exits with 1 where a promise was not kept.
"""

from tests.benchmarks import proxy
from tests.faults.command import command
from tests.hosts.acts import ACTS
from tests.hosts.playing import play
from tests.support import pgbouncer

main = command(
    ACTS,
    play,
    about="Break what two hosts stand on, and tell what callers met.",
    per_second=60,
    programs={"nginx": proxy.program(), "pgbouncer": pgbouncer.program()},
)

if __name__ == "__main__":
    main()
