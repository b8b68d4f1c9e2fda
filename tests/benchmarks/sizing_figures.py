"""What a machine is sized by, measured anew: what a fix, a read and a follower cost, and what they take.

    python -m tests.benchmarks.sizing --measure

Costs are CPU, not times: they hold on a machine that others use as well, about.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from tests.benchmarks import fleet, proxy
from tests.benchmarks.candidates import (
    BATCH,
    BATCHES,
    PROXIED_SINGLES,
    SINGLE,
    SINGLES,
    Candidate,
    Job,
    Run,
)
from tests.benchmarks.following import job as following
from tests.benchmarks.reads import cases, seas
from tests.benchmarks.reads.candidates import readers
from tests.benchmarks.servers import Bench
from tests.support.live_service import LiveService
from tests.support.urls import VESSELS

FILE = Path(__file__).with_name("sizing.json")
_SERVICE = 2
_ROWS = (1_000_000, 20_000_000)
_FLEETS = (1_000, 10_000, 100_000)
_FOLLOWERS = following.Crowd("1,000 of the whole fleet", 1_000)
# As they come in: with the indexes in place, vessel after vessel, a minute after the other.
_FILL = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, heading, seq)
SELECT v, at, v, at, 50 + v / 100.0, n %% 3600 / 100.0, 8.4, 181.2, 180, nextval('fleet_order')
FROM generate_series(%(first)s::integer, %(last)s::integer) AS n,
     LATERAL generate_series(1, %(vessels)s + 0 * n) AS v,
     LATERAL (SELECT '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 min' AS at) AS moment
"""
_SIZE = """
SELECT sum(pg_table_size(inhrelid)), sum(pg_indexes_size(inhrelid))
FROM pg_inherits WHERE inhparent = 'positions'::regclass
"""
_LOGGED = "SELECT pg_current_wal_lsn() - '0/0'"

Figures = dict[str, Any]
Tell = Callable[[str], None]


def measure(bench: Bench, rounds: int, tell: Tell, chosen: Sequence[str] = ()) -> Figures:
    """Return all figures, some parts of them anew, and write them where the table is made from."""
    figures: Figures = json.loads(FILE.read_text()) if FILE.exists() else {}
    for part in chosen or PARTS:
        found = PARTS[part](bench, rounds)
        figures |= found
        tell(json.dumps(found, indent=1))
        FILE.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def _fixes(bench: Bench, rounds: int) -> Figures:
    """CPU of a fix in microseconds by part, and the most that came in a second."""
    asked: list[tuple[str, Job, Candidate]] = [
        ("single", SINGLE, SINGLES[_SERVICE]),
        ("batch", BATCH, BATCHES[_SERVICE]),
    ]
    if proxy.program():
        asked.append(("proxied", SINGLE, PROXIED_SINGLES[0]))
    figures: Figures = {}
    for name, job, candidate in asked:
        runs: list[Run] = []
        logged: list[float] = []
        for _ in range(rounds):
            with bench.postgres.database() as url:
                before = _logged(bench)
                runs.append(candidate.run(bench, job, url, 0))
                # With whole pages after a checkpoint, which was just made.
                logged.append((_logged(bench) - before) / runs[-1].acknowledged)
        for part in runs[0].cpu_us:
            values = [run.cpu_us[part] for run in runs]
            figures[f"{name}: {part} us"] = _with_spread(values)
        figures[f"{name}: fixes/s"] = _with_spread([run.rate for run in runs])
        figures[f"{name}: bytes logged"] = _with_spread(logged)
        figures[f"{name}: others had"] = max(run.others or 0 for run in runs)
    return figures


def _logged(bench: Bench) -> float:
    with psycopg.connect(bench.postgres.url) as connection:
        [(many,)] = connection.execute(_LOGGED).fetchall()
    return float(many)


def _bytes_a_position(bench: Bench, _: int) -> Figures:
    """What a stored position takes, in the table and in its indexes."""
    figures: Figures = {}
    with bench.postgres.database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        filled = 0
        for rows in _ROWS:
            turns = rows // fleet.VESSELS
            values = {"first": filled, "last": turns - 1, "vessels": fleet.VESSELS}
            connection.execute(_FILL, values)
            filled = turns
            [(table, indexes)] = connection.execute(_SIZE).fetchall()
            figures[f"bytes a position at {rows:,}: table"] = float(table) / rows
            figures[f"bytes a position at {rows:,}: indexes"] = float(indexes) / rows
    return figures


def _followers(bench: Bench, rounds: int) -> Figures:
    """What a stream of everything takes and what an event costs."""
    found = [*following.fan_out(bench, rounds, crowds=[_FOLLOWERS])]
    told = following.FIXES_A_SECOND * _FOLLOWERS.followers
    return {
        "stream: kB in the worker": _with_spread([each.kb for each in found]),
        "stream: kB once it has been told": _with_spread([each.grown_kb for each in found]),
        "stream: worker us an event": _with_spread([each.cpu["worker"] / told * 1e6 for each in found]),
        "stream: bytes an event": _with_spread([each.megabytes_a_second / told * 1e6 for each in found]),
    }


def _memory(bench: Bench, _: int) -> Figures:
    """What a worker holds: at first, and for each vessel once the fleet was read, by its size."""
    figures: Figures = {}
    for vessels in _FLEETS:
        with (
            _sea(bench, vessels) as sea,
            LiveService(sea.urls[fleet.SERVICE], log=bench.logs / "memory.log", workers=1) as service,
        ):
            time.sleep(2)
            worker = service.worker()
            before = following.pss(worker)
            headers = {"Authorization": f"Bearer {sea.keys[seas.WHOLE]}", "Accept-Encoding": "gzip"}
            began = time.monotonic()
            answer = httpx.get(f"{service.base_url}{VESSELS}", headers=headers, timeout=120, verify=False)
            answer.raise_for_status()
            took_s = time.monotonic() - began
            held = following.pss(worker)
            figures[f"worker: MB, {vessels:,} vessels not read yet"] = before / 1e6
            figures[f"worker: bytes a vessel of {vessels:,}"] = (held - before) / vessels
            figures[f"worker: s until the first of {vessels:,} is read"] = took_s
            figures["arbiter: MB"] = following.pss(psutil.Process(service.pid)) / 1e6
    return figures


def _reads(bench: Bench, rounds: int) -> Figures:
    """CPU of a read of the whole fleet in microseconds: as it is, and where nothing has changed."""
    figures: Figures = {}
    bench = replace(bench, warmup_s=0.5)
    for vessels in _FLEETS[:2]:
        with _sea(bench, vessels) as sea:
            asked = [
                replace(each, candidates=(cases.SERVICE,))
                for each in cases.fleet(sea)
                if not each.writes_a_second and each.key == seas.WHOLE
            ]
            with readers(bench, sea, asked) as started:
                for number, case in enumerate(asked):
                    runs = [started.run(cases.SERVICE, case, number) for _ in range(rounds)]
                    figures[f"read: {case.name}, us"] = _with_spread([run.cpu for run in runs])
    return figures


@contextmanager
def _sea(bench: Bench, vessels: int) -> Iterator[seas.Sea]:
    with seas.sea(bench.postgres, vessels=vessels, fixes=3, every_s=30.0, peer=False, silent=True) as filled:
        yield filled


def _with_spread(values: list[float]) -> list[float]:
    """Return the median, the least and the most."""
    return [statistics.median(values), min(values), max(values)]


PARTS: Mapping[str, Callable[[Bench, int], Figures]] = {
    "fixes": _fixes,
    "positions": _bytes_a_position,
    "followers": _followers,
    "memory": _memory,
    "reads": _reads,
}
