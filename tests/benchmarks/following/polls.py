"""Long polls beside what is done without them: asking each second whether there is something new."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle

import psutil
from tests.benchmarks import servers
from tests.benchmarks.following.job import (
    SETTINGS,
    FanOut,
    groups,
    heard,
    judge,
    pss,
    say,
    write_beside,
)
from tests.benchmarks.servers import Bench
from tests.support.live_service import LiveService

from harbor_api.live.hub import WAITS_OF_A_KEY

_CLIENTS = 400
# For how many seconds each waits for an answer, and pauses before it asks again.
_WAYS = (("wait for an answer", 60, 0), ("ask each second", 0, 1))


def polls(bench: Bench, rounds: int, *, many: int = _CLIENTS) -> Iterator[FanOut]:
    """Clients of ten vessels each, by both ways, on a worker and a database of their own."""
    for _ in range(rounds):
        for name, wait_s, pause_s in _WAYS:
            with bench.postgres.database() as url:
                yield _measured(bench, url, f"{many:,} that {name}", many, wait_s, pause_s)


def _measured(bench: Bench, url: str, crowd: str, many: int, wait_s: int, pause_s: int) -> FanOut:
    vessels = len(bench.postgres.trackers)
    with LiveService(url, log=bench.logs / "following.log", workers=1, **SETTINGS) as service:
        secrets = [service.world.key()[1] for _ in range(-(-many // WAITS_OF_A_KEY))]
        worker = psutil.Process(service.pid).children()[0]
        wanted = [each for each, _ in zip(cycle(groups(vessels, 10)), range(many), strict=False)]
        queries = [f"vessel_id={','.join(map(str, sorted(each)))}" for each in wanted]
        arguments = [str(service.port), str(wait_s), str(pause_s), ",".join(secrets), *queries]
        before = pss(worker)
        with subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.following.pollers", *arguments],
            cwd=servers.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as clients:
            began = time.monotonic()
            heard(clients)
            opened_s = time.monotonic() - began
            time.sleep(1)
            held = pss(worker)
            writing = write_beside(bench, url, worker, clients)
            grown = pss(worker)
            say(clients)
            seen = json.loads(heard(clients))
    result = FanOut(
        crowd,
        many,
        fixes=len(writing.committed),
        opened_s=opened_s,
        kb=(held - before) / many / 1e3,
        grown_kb=(grown - before) / many / 1e3,
        cpu=writing.cpu,
    )
    judge(result, writing.committed, zip(wanted, seen["arrivals"], strict=True))
    return result
