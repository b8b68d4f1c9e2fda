"""The ceiling: pgbench sends the service's own statement, without any service around it."""

import json
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from tests.benchmarks.fleet import FIRST_HOUR, VESSELS

from harbor_api.database import Database
from harbor_api.domain.positions import Fix, Motion, ReceivedFix
from harbor_api.postgres.tables import FLEET_ORDER_LOCK

# A number and an hour that stand for others in what the service sends.
_NUMBER, _HOUR = 1_999_999_991, datetime(1999, 9, 9, 9, tzinfo=UTC)
_FUNCTION = "benchmark_fixes"
_LOCK = f"pg_advisory_xact_lock({FLEET_ORDER_LOCK})"


@dataclass(frozen=True)
class Pgbench:
    """The statement for so many fixes, prepared in a database."""

    program: Path
    url: str
    statement: str
    fixes: int
    connections: int

    def run(self, seconds: float, *, first_turn: int) -> tuple[int, float, float]:
        """Return how many fixes were sent, how many a second, and the mean latency in milliseconds."""
        script = f"""
\\set number :turns * :clients + :client_id
\\set vessel 1 + :number % {VESSELS}
\\set turn {first_turn} + :number / {VESSELS}
\\set turns :turns + 1
{self.statement.strip()};
"""
        command = [
            *(str(self.program), "--no-vacuum", "--protocol=prepared", "--file=-"),
            *(f"--client={self.connections}", f"--jobs={min(2, self.connections)}"),
            *(f"--define=clients={self.connections}", "--define=turns=0", f"--time={max(1, round(seconds))}"),
            self.url,
        ]
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, check=False, timeout=seconds + 60
        )
        if done.returncode:
            raise RuntimeError(f"pgbench failed: {done.stderr}")
        return (
            round(_number("actually processed: ([0-9]+)", done.stdout)) * self.fixes,
            _number("tps = ([0-9.]+)", done.stdout) * self.fixes,
            _number("latency average = ([0-9.]+)", done.stdout),
        )


def prepare(program: Path, url: str, *, fixes: int, connections: int, lock: bool = True) -> Pgbench:
    """Take the statement from the service as it records fixes, and make it one for pgbench.

    Its JSON comes from a function that PostgreSQL folds into the statement and that puts a vessel and an
    hour into what the service sends; for a thousand fixes this takes about half a millisecond. Without
    ``lock``, numbers do not become visible in their own order; it shows what that order costs, and what
    commits in groups can win back.
    """
    statement, name, value = _as_sent(url, fixes)
    if not lock:
        statement = statement.replace(_LOCK, "NULL")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_function(value, fixes))
    call = f"{_FUNCTION}(:vessel, :turn)"
    return Pgbench(program, url, statement % {name: call}, fixes, connections)


def _as_sent(url: str, fixes: int) -> tuple[str, str, str]:
    """Return the statement that adds fixes, the name of its parameter and the parameter's value."""
    now = datetime.now(UTC)
    received_fixes = [
        ReceivedFix(
            vessel_id=_NUMBER,
            tracker_id=_NUMBER,
            received_at=now,
            fix=Fix(
                recorded_at=_HOUR + timedelta(seconds=second),
                motion=Motion(lat=59.9, lon=10.7, sog=8.4, cog=181.2, heading=180),
            ),
        )
        for second in range(fixes)
    ]
    database = Database(url, pool_size=1)
    try:
        with database.autocommit() as unit_of_work:
            statement = unit_of_work.positions.addition(received_fixes)
    finally:
        database.dispose()
    [(name, value)] = statement.values.items()
    return statement.text.decode(), name, value


def _function(value: str, fixes: int) -> str:
    # What differs from one request to the next is put together, so that replace() finds it.
    names = ("vessel_id", "tracker_id")
    rows = [{**{name: row[name] for name in names}, **row} for row in json.loads(value)]
    text = json.dumps(rows, separators=(",", ":")).replace("'", "''")
    ids, hour = f'"vessel_id":{_NUMBER},"tracker_id":{_NUMBER},', f'"recorded_at":"{_HOUR:%Y-%m-%dT%H}:'
    if (text.count(ids), text.count(hour)) != (1, fixes):
        raise LookupError(f"the service sends fixes in another form now: {value[:300]}")
    moment = f"timestamp '{FIRST_HOUR:%Y-%m-%d}' + turn * interval '1 hour'"
    actual_ids = f"""format('{ids.replace(str(_NUMBER), "%1$s")}', vessel)"""
    actual_hour = f"""'"recorded_at":"' || to_char({moment}, 'YYYY-MM-DD"T"HH24') || ':'"""
    return f"""
        CREATE OR REPLACE FUNCTION {_FUNCTION} (vessel integer, turn integer) RETURNS json
        IMMUTABLE LANGUAGE sql
        RETURN replace(replace('{text}', '{ids}', {actual_ids}), '{hour}', {actual_hour})::json
    """


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise LookupError(f"pgbench printed something else: {text}")
    return float(found[1])
