"""The ceiling: pgbench sends the service's own statement, without any service around it."""

import math
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from tests.benchmarks.fleet import FIRST_HOUR, VESSELS, Postgres
from tests.benchmarks.machine import Watch

from harbor_api.database import Database
from harbor_api.domain.positions import Fix, Motion, ReceivedFix
from harbor_api.domain.received_columns import ReceivedColumns
from harbor_api.postgres import arrays
from harbor_api.postgres.statements import Statement
from harbor_api.postgres.tables import FLEET_ORDER_LOCK

# A number that stands for others in what the service sends.
_NUMBER = 1_999_999_991
_LOCK = f"pg_advisory_xact_lock({FLEET_ORDER_LOCK})"
# What differs from one request to the next; all else is sent as it is.
_IDS, _TIMES = frozenset({"vessel_id", "tracker_id"}), "recorded_at"
# By then its connections are open, and the others of a run that ends are not yet closed.
_CONNECTED_S = 0.3
_PARAMETER = re.compile(r"%\((?P<name>\w+)\)b::(?P<type>\w+)\[\]")


@dataclass(frozen=True)
class Sent:
    """What pgbench sent: fixes, how many a second, and the mean latency."""

    fixes: int
    rate: float
    mean_ms: float
    watch: Watch

    @property
    def cpu_us(self) -> dict[str, float]:
        """Microseconds of CPU a fix of each part."""
        many = self.rate * self.watch.took_s
        return {part: sum(each) / many * 1e6 for part, each in self.watch.spent.items()} if many else {}


@dataclass(frozen=True)
class Pgbench:
    """The statement for so many fixes, made for pgbench."""

    postgres: Postgres
    url: str
    statement: str
    fixes: int
    connections: int

    def run(self, seconds: float, *, first_turn: int) -> Sent:
        """Send it for so long."""
        script = f"""
\\set number :turns * :clients + :client_id
\\set vessel 1 + :number % {VESSELS}
\\set turn {first_turn} + :number / {VESSELS}
\\set turns :turns + 1
{self.statement.strip()};
"""
        command = [
            *(str(self.postgres.programs / "pgbench"), "--no-vacuum", "--protocol=prepared", "--file=-"),
            *(f"--client={self.connections}", f"--jobs={min(2, self.connections)}"),
            *(f"--define=clients={self.connections}", "--define=turns=0", f"--time={math.ceil(seconds)}"),
            self.url,
        ]
        with tempfile.TemporaryFile("w+") as file:
            file.write(script)
            file.seek(0)
            pgbench = subprocess.Popen(
                command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        with pgbench:
            # What its connections have used is forgotten when they end with it.
            watch = Watch({"PostgreSQL": self.postgres.pid, "load": pgbench.pid})
            time.sleep(_CONNECTED_S)
            watch.look()
            time.sleep(max(0.2, seconds - 2 * _CONNECTED_S))
            watch.look()
            said, failed = pgbench.communicate(timeout=seconds + 60)
        if pgbench.returncode:
            raise RuntimeError(f"pgbench failed: {failed}")
        return Sent(
            round(_number("actually processed: ([0-9]+)", said)) * self.fixes,
            _number("tps = ([0-9.]+)", said) * self.fixes,
            _number("latency average = ([0-9.]+)", said),
            watch,
        )


def prepare(postgres: Postgres, url: str, *, fixes: int, connections: int, lock: bool = True) -> Pgbench:
    """Take the statement from the service as it records fixes, and make it one for pgbench.

    pgbench sends text only, and to read an array's text costs more than to read its binary form. So each
    array that is always the same stands in the statement, which is read once a connection; ids are filled
    in, and times are moved by an hour each turn. This costs PostgreSQL 0.25 ms of CPU for a thousand fixes,
    where to read the service's binary arrays costs it 0.37 ms; for one fix 15 us instead of 5 (medians of six
    times 2,000 statements). LookupError where the service sends fixes in another form. Without ``lock``,
    numbers do not become visible in their own order; it shows what that order costs, and what commits in
    groups can win back.
    """
    addition = _as_sent(url, fixes)
    statement = made(addition.text.decode(), _read(url, addition), fixes)
    return Pgbench(postgres, url, statement if lock else unordered(statement), fixes, connections)


def made(text: str, arrays_sent: Mapping[str, str | None], fixes: int) -> str:
    """Return the service's statement with something for pgbench in place of its parameters.

    ``arrays_sent`` are the arrays that it was sent with, as PostgreSQL writes them. LookupError where these
    are not what they were.
    """
    found = [each["name"] for each in _PARAMETER.finditer(text)]
    if sorted(found) != sorted(arrays_sent) or text.count("%") != len(found):
        raise LookupError(f"the service's statement takes other parameters now: {text}")
    actual = dict.fromkeys(_IDS, f"array_fill(:vessel::integer, ARRAY[{fixes}])")
    actual[_TIMES] = (
        f"ARRAY(SELECT moment + :turn * interval '1 hour'"
        f" FROM unnest({_literal(arrays_sent[_TIMES])}::timestamptz[]) AS moment)"
    )
    for name in _IDS:
        if arrays_sent[name] != "{" + ",".join([str(_NUMBER)] * fixes) + "}":
            raise LookupError(f"the service sends {name} in another form now: {arrays_sent[name][:300]}")
    return _PARAMETER.sub(
        lambda each: actual.get(each["name"]) or f"{_literal(arrays_sent[each['name']])}::{each['type']}[]",
        text,
    )


def unordered(statement: str) -> str:
    """Return the statement without the lock of the order."""
    if _LOCK not in statement:
        raise LookupError(f"the service takes the lock of the order in another way now: {statement}")
    return statement.replace(_LOCK, "NULL")


def _as_sent(url: str, fixes: int) -> Statement:
    """Return the statement that adds fixes of one vessel, one second apart from the first hour on."""
    now = datetime.now(UTC)
    received_fixes = [
        ReceivedFix(
            vessel_id=_NUMBER,
            tracker_id=_NUMBER,
            received_at=now,
            fix=Fix(
                recorded_at=FIRST_HOUR + timedelta(seconds=second),
                motion=Motion(lat=59.9, lon=10.7, sog=8.4, cog=181.2, heading=180),
            ),
        )
        for second in range(fixes)
    ]
    database = Database(url, pool_size=2)
    try:
        with database.autocommit() as unit_of_work:
            return unit_of_work.positions.addition(ReceivedColumns.of(received_fixes))
    finally:
        database.dispose()


def _read(url: str, statement: Statement) -> dict[str, str | None]:
    """Return a statement's arrays as PostgreSQL writes what the service sends."""
    parameters = [*_PARAMETER.finditer(statement.text.decode())]
    columns = ", ".join(f"({each[0]})::text" for each in parameters)
    with psycopg.connect(url) as connection:
        arrays.register(connection)
        row = connection.execute(f"SELECT {columns}".encode(), statement.values).fetchone()
    assert row is not None
    return dict(zip((each["name"] for each in parameters), row, strict=True))


def _literal(array: str | None) -> str:
    # pgbench takes what follows a colon for a variable, in quotes too; a time is read without them as well.
    return "NULL" if array is None else "'" + array.replace(":", "") + "'"


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise LookupError(f"pgbench printed something else: {text}")
    return float(found[1])
