"""The database's own ceiling: pgbench sends what the service sends for a read, with nothing around it."""

import math
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
from tests.benchmarks.machine import Watch
from tests.benchmarks.reads.cases import Case
from tests.benchmarks.servers import Bench
from tests.support.factories import MASTER_KEY

from harbor_api.app import create_app
from harbor_api.settings import Settings
from harbor_api.telemetry import logs
from harbor_api.web import runtime

# Of a case: each path is a script, of which pgbench takes one after the other at random.
_PATHS = 20
_LITERAL = re.compile(r"\bE'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'", re.DOTALL)


@dataclass(frozen=True)
class Replayed:
    """What pgbench did: a transaction is all statements of one read, CPU is PostgreSQL's for each."""

    rate: float
    mean_ms: float
    transactions: int
    cpu_us: float
    others: float
    load_average: float


def of(url: str, case: Case, secret: str) -> list[str]:
    """Return the statements of some of a case's reads, parameters and all; none where one is not answered."""
    settings = Settings(database_url=url, tracker_master_key=MASTER_KEY)
    logs.configure("error")
    app = create_app(settings)
    client = app.test_client()
    headers = {"Authorization": f"Bearer {secret}", **case.headers}
    scripts: list[str] = []
    try:
        with psycopg.connect(url) as connection, _noted() as sent:
            # The first one also does what is done once.
            for path in islice([case.paths[0], *case.paths], _PATHS + 1):
                sent.clear()
                if client.get(path, headers=headers).status_code != case.status:
                    return []
                literal = psycopg.ClientCursor(connection)
                texts = [literal.mogrify(*each).strip().rstrip(";") for each in sent]
                scripts.append(";\n".join(_LITERAL.sub(_without_colons, text) for text in texts))
    finally:
        runtime.of(app).database.dispose()
    return [f"{script};\n" for script in scripts[1:] if script]


def replay(bench: Bench, url: str, scripts: Sequence[str], *, connections: int) -> Replayed:
    """Let pgbench send them."""
    with tempfile.TemporaryDirectory(prefix="harbor-") as folder:
        files = [Path(folder) / f"{number}.sql" for number, _ in enumerate(scripts)]
        for file, script in zip(files, scripts, strict=True):
            file.write_text(script)
        command = [
            *(str(bench.postgres.programs / "pgbench"), "--no-vacuum", "--protocol=prepared"),
            *(f"--client={connections}", f"--jobs={min(2, connections)}"),
            *(f"--file={file}" for file in files),
        ]

        command.append(f"--time={math.ceil(bench.warmup_s + bench.seconds)}")
        with subprocess.Popen(
            [*command, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as pgbench:
            time.sleep(bench.warmup_s)
            # What its connections have used is forgotten when they end with it.
            watch = Watch({"PostgreSQL": bench.postgres.pid})
            watch.look()
            time.sleep(max(0.5, bench.seconds - 0.5))
            watch.look()
            said, failed = pgbench.communicate(timeout=bench.seconds + 60)
    if pgbench.returncode:
        raise RuntimeError(f"pgbench failed: {failed}")
    rate = _number("tps = ([0-9.]+)", said)
    return Replayed(
        rate,
        _number("latency average = ([0-9.]+)", said),
        round(_number("actually processed: ([0-9]+)", said)),
        sum(watch.spent["PostgreSQL"]) / (rate * watch.took_s) * 1e6,
        watch.others,
        watch.load_average,
    )


def _without_colons(literal: re.Match[str]) -> str:
    """Return a literal in which pgbench sees no variable: it takes any :name for one, in quotes too."""
    text = literal[0]
    if ":" not in text:
        return text
    if text.startswith("E"):
        return text.replace(":", r"\x3a")
    return "U&" + text.replace("\\", r"\\").replace(":", r"\003a")


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise LookupError(f"pgbench printed something else: {text}")
    return float(found[1])


@contextmanager
def _noted() -> Iterator[list[tuple[Any, ...]]]:
    """Note what this process sends to PostgreSQL."""
    sent: list[tuple[Any, ...]] = []
    execute = psycopg.Cursor.execute

    def noting(self: Any, query: Any, params: Any = None, **rest: Any) -> Any:
        sent.append((query, params))
        return execute(self, query, params, **rest)

    with patch.object(psycopg.Cursor, "execute", noting):
        yield sent
