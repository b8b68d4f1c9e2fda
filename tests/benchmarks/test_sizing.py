"""The README's table of what to run is the one that is reckoned from the figures."""

import json
from pathlib import Path

from tests.benchmarks import sizing, sizing_figures
from tests.benchmarks.sizing import Fleet, need, rows

_FIGURES = {
    "single: service us": [300, 290, 310],
    "single: PostgreSQL us": [100, 90, 110],
    "single: bytes logged": [1_000, 900, 1_100],
    "stream: worker us an event": [2, 2, 2],
    "stream: kB once it has been told": [3, 3, 3],
    "worker: MB, 1,000 vessels not read yet": 100,
    "worker: bytes a vessel of 1,000": 2_000,
    "bytes a position at 20,000,000: table": 110,
    "bytes a position at 20,000,000: indexes": 90,
}


def test_the_readme_has_the_table():
    figures = json.loads(sizing_figures.FILE.read_text())
    assert "\n".join(rows(figures)) in (Path(__file__).parents[2] / "README.md").read_text()


def test_what_a_fleet_takes():
    found = need(Fleet(10_000, 10, followers=100), _FIGURES | {"worker: bytes a vessel of 10,000": 2_000})
    assert found.fixes_a_second == 1_000
    # 300 us of a fix and 200 us to tell a hundred of it, half of the time.
    assert found.service_cores == 1.0
    assert found.postgres_cores == 0.2
    assert found.workers == 2
    assert found.worker_mb == 100 + 20 + 50 * 0.003 + 32
    assert found.connections == 2 * (sizing.POOL + 1)
    assert round(found.gb_a_day, 2) == 17.28
