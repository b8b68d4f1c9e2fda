"""The benchmarks count what they claim to count. Nothing here is timed: that is for ``python -m``."""

import pytest
from tests.benchmarks import fleet, load, pgbench
from tests.benchmarks.candidates import PEER, SERVICE, UNORDERED, Run
from tests.benchmarks.report import goals_of
from tests.support.live_service import LiveService
from tests.support.urls import POSITIONS


def test_load_counts_exactly_what_is_stored(live_service: LiveService):
    trackers = [live_service.world.tracker() for _ in range(3)]
    requests = fleet.singles(trackers, POSITIONS, first_turn=0, count=50)
    outcome = load.replay(
        live_service.port,
        # The last one is sent again.
        [*requests, requests[-1]],
        connections=4,
        warmup_s=0,
        seconds=60,
        counted_in=fleet.stored_of_single,
    )
    assert outcome.statuses == {201: 50, 200: 1}
    assert outcome.counted == fleet.stored(live_service.environ["HARBOR_DATABASE_URL"]) == 50
    assert len(outcome.latencies_ms) == 51
    assert outcome.rate > 0


@pytest.mark.process
def test_pgbench_stores_each_fix_once_with_the_statement_of_the_service():
    with fleet.Postgres(vessels=1) as postgres, postgres.database() as url:
        assert postgres.facts()["fsync"] == "on"
        program = postgres.programs / "pgbench"
        prepared = pgbench.prepare(program, url, fixes=3, connections=2)
        sent, _, _ = prepared.run(1, first_turn=0)
        unordered = pgbench.prepare(program, url, fixes=3, connections=2, lock=False)
        sent_unordered, _, _ = unordered.run(1, first_turn=100)
        assert fleet.stored(url) == sent + sent_unordered > 0


def test_ratios_are_medians_of_rounds():
    runs = [
        Run("single", name, rate, acknowledged=1, stored=1)
        for name, rates in ((SERVICE, (30, 90, 60)), (PEER, (40, 10, 20)), (UNORDERED, (600, 600, 1)))
        for rate in rates
    ]
    assert goals_of(runs, "single") == [
        "service / peer: 3.00 (0.75 to 9.00); the goal is 1.6",
        "service / pgbench, no lock: 0.15 (0.05 to 60.00); the goal is 0.35",
    ]
