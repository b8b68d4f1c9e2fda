"""Writes beside the reads: so many fixes a second, one a transaction, straight into the database.

They do not go through the candidate, so that what a read costs is not what a write costs, and its own
connection is not counted either.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import PIPE, Popen

from tests.benchmarks import fleet
from tests.benchmarks.servers import ROOT

from harbor_api.postgres.tables import FLEET_ORDER_LOCK

_NAMES = "vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, heading"
_NEW = """
WITH new AS (
    INSERT INTO positions ({names}{seq})
    SELECT vessel_id, now(), tracker_id, now(), lat + 0.0001, lon, sog, cog, heading{number}
    FROM latest_positions WHERE vessel_id = %(vessel)s
    RETURNING {names}, seq
)
UPDATE latest_positions AS latest
SET ({names}, seq) = (SELECT {names}, seq FROM new)
WHERE latest.vessel_id = %(vessel)s
"""
# Numbers of the service become visible in their own order: under the lock, which is held to the commit.
_LOCK = f"SELECT pg_advisory_xact_lock({FLEET_ORDER_LOCK})"
_STATEMENTS = {
    fleet.SERVICE: [_LOCK, _NEW.format(names=_NAMES, seq=", seq", number=", nextval('fleet_order')")],
    fleet.PEER: [_NEW.format(names=_NAMES, seq="", number="")],
}


@dataclass
class Writer:
    """A process that writes, the server's process that does it, and how many fixes it has written."""

    backend: int
    written: int = 0


@contextmanager
def writing(url: str, tables: str, *, vessels: int, a_second: int) -> Iterator[Writer]:
    """Write for as long as this is open."""
    arguments = [url, str(a_second), str(vessels), *_STATEMENTS[tables]]
    command = [sys.executable, "-m", "tests.benchmarks.reads.writer", *arguments]
    with Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            writer = Writer(int(process.stdout.readline()))
            yield writer
            process.stdin.write("\n")
            process.stdin.close()
            writer.written = int(process.stdout.readline())
        finally:
            process.kill()
