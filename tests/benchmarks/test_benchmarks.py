"""The benchmarks count what they claim to count. Nothing here is timed: that is for ``python -m``."""

import gzip
import json
import os
import sys
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tests.benchmarks import flames, fleet, layers, load, pgbench, sampled
from tests.benchmarks.candidates import PEER, SERVICE, UNORDERED, Run
from tests.benchmarks.comparing import verdict
from tests.benchmarks.machine import MOST_OTHERS, Watch
from tests.benchmarks.reads import cases, statements
from tests.benchmarks.reads import layers as read_layers
from tests.benchmarks.reads.candidates import ReadRun, readers
from tests.benchmarks.reads.cases import CONSTANT, Case, Judge
from tests.benchmarks.reads.report import lines_of
from tests.benchmarks.reads.seas import WHOLE, sea
from tests.benchmarks.report import goals_of, save
from tests.benchmarks.servers import Bench
from tests.support.live_service import LiveService
from tests.support.urls import POSITIONS


def test_load_counts_exactly_what_is_stored(live_service: LiveService):
    trackers = [live_service.world.tracker() for _ in range(3)]
    requests, again = (fleet.singles(trackers, POSITIONS, first_turn=0, count=50) for _ in range(2))
    outcome = load.replay(
        live_service.port,
        # The last fix is sent again, in a message of its own: the same one may be told what it was told.
        [*requests, again[-1]],
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
        prepared = pgbench.prepare(postgres, url, fixes=3, connections=2)
        sent = prepared.run(1, first_turn=0)
        unordered = pgbench.prepare(postgres, url, fixes=3, connections=2, lock=False)
        sent_unordered = unordered.run(1, first_turn=100)
        assert fleet.stored(url) == sent.fixes + sent_unordered.fixes > 0
        assert sent.watch.spent.keys() == sent.cpu_us.keys() == {"PostgreSQL", "load"}


_ARRAYS = {
    "vessel_id": "{1999999991}",
    "tracker_id": "{1999999991}",
    "recorded_at": '{"2026-01-01 00:00+00"}',
}
_TAKEN = "%(vessel_id)b::integer[], %(tracker_id)b::integer[], %(recorded_at)b::timestamptz[]"


@pytest.mark.parametrize(
    ("statement", "changes"),
    [
        (_TAKEN.replace("b::integer", "s::integer"), {}),
        (f"{_TAKEN}, %(accuracy_m)b::real[]", {}),
        (f"{_TAKEN}, %(offset)s", {}),
        (_TAKEN, {"accuracy_m": None}),
        (_TAKEN, {"tracker_id": "{7}"}),
    ],
    ids=("as text", "one more", "no array", "one less", "an id of its own"),
)
def test_pgbench_takes_no_statement_of_another_form(statement, changes):
    assert "%" not in pgbench.made(_TAKEN, _ARRAYS, 1)
    with pytest.raises(LookupError, match="the service"):
        pgbench.made(statement, {**_ARRAYS, **changes}, 1)


def test_pgbench_leaves_no_lock_out_that_is_not_there():
    with pytest.raises(LookupError, match="the lock of the order"):
        pgbench.unordered("SELECT pg_advisory_xact_lock(1)")


def _runs(others: float) -> list[Run]:
    return [
        Run(
            "single", name, rate, acknowledged=1, stored=1, cpu_us={"service": cpu, "load": 10}, others=others
        )
        for name, cpu, rates in (
            (SERVICE, 90, (30, 90, 60)),
            (PEER, 190, (40, 10, 20)),
            (UNORDERED, 40, (600, 600, 1)),
        )
        for rate in rates
    ]


def _goals(job: str, runs: list[Run]) -> list[tuple[str, ...]]:
    return [tuple(told.split("; the goal is ")) for told in goals_of(runs, job)]


def test_ratios_are_medians_of_rounds_and_goals_are_judged_by_rate_and_by_cpu():
    assert _goals("single", _runs(others=MOST_OTHERS)) == [
        ("service / peer: 3 (0.75 to 9) by rate, 2 (2 to 2) by CPU", "2.5: met by rate, missed by CPU"),
        ("service / pgbench, no lock: 0.15 (0.05 to 60) by rate, 0.5 (0.5 to 0.5) by CPU", "0.6: missed"),
    ]


def test_nothing_is_judged_on_a_busy_machine():
    told = _goals("single", [*_runs(others=0)[:-1], *_runs(others=0.06)[-1:]])
    assert [judged for _, judged in told] == [
        "2.5: met by rate, missed by CPU",
        "0.6: not judged, the machine was busy",
    ]


def test_growth_is_what_a_fix_costs_more():
    runs = [
        Run("growth", SERVICE, rate, 1, positions=positions, cpu_us={"service": cpu})
        for positions, rate, cpu in ((10, 100, 10), (1_000, 80, 12))
    ]
    what = "service, from 10 to 1,000 positions: 1.25 by rate, 1.2 by CPU"
    assert _goals("growth", runs) == [(what, "at most 1.2: missed by rate, met by CPU")]


def test_others_are_those_that_are_not_of_this_run():
    watch = Watch({"load": os.getpid()})
    watch.look()
    assert sum(range(10**6))
    watch.look()
    [mine] = watch.spent["load"]
    # All threads of this process count.
    assert 0 < mine <= watch.took_s * (os.cpu_count() or 1)
    assert 0 <= watch.others <= 1


# Without the time, which would be in the name of a test.
_PACKED = gzip.compress(b'{"features":[1,2]}', mtime=0)


def _case(**changes: Any) -> Case:
    asked = Case(
        "fleet", "of 2", ["/api/v1/vessels"], lambda answer: len(answer["features"]), 2, ("service",)
    )
    return replace(asked, **changes)


@pytest.mark.parametrize(
    ("case", "status", "body", "counts", "wrong"),
    [
        (_case(), 200, b'{"features":[1,2]}', 1, ""),
        (_case(), 200, b'{"features":[1]}', 1, "1 instead of 2"),
        (_case(), 503, b"{}", 0, ""),
        (_case(again=True), 304, b"", 1, ""),
        (_case(again=True), 200, b'{"features":[1,2]}', 0, ""),
        (_case(headers={"Accept-Encoding": "gzip"}), 200, _PACKED, 1, ""),
        (_case(headers={"Accept-Encoding": "gzip"}), 200, b'{"features":[1,2]}', 1, "not packed"),
    ],
    ids=("right", "too few", "refused", "unchanged", "changed", "packed", "not packed"),
)
def test_a_read_counts_only_where_it_is_as_meant(case, status, body, counts, wrong):
    judge = Judge(case)
    assert judge(status, memoryview(body)) == counts
    assert judge.wrong() == wrong


def test_goals_of_reads_are_judged_by_rate_and_by_cpu():
    runs = [
        ReadRun("fleet", "of 2", candidate, rate, cpu_us={"service": cpu, "PostgreSQL": 10}, goal=goal)
        for candidate, rate, cpu, goal in (
            ("service", 300, 10, None),
            ("peer", 100, 90, 4),
            ("peer", 50, 90, 4),
        )
    ]
    service, peer = lines_of([runs[0], runs[0], *runs[1:]], "fleet")
    assert service.by_rate(peer) == [3, 6]
    assert service.by_cpu(peer) == [5, 5]
    assert verdict(4, [3], [5]) == "4: missed by rate, met by CPU"
    assert verdict(4, [4], [5]) == "4: met"
    assert verdict(1.2, [1.3], [1.1, 1.3, 1.4], is_most=True) == "at most 1.2: missed"


@pytest.mark.process
@pytest.mark.parametrize("peer", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_reads_are_measured_and_come_back_right(tmp_path, peer):
    with (
        fleet.Postgres(vessels=0) as postgres,
        sea(postgres, vessels=3, fixes=20, every_s=30, peer=peer) as at_sea,
    ):
        bench = Bench(postgres, tmp_path, seconds=0.1, warmup_s=0)
        usual = (SERVICE, PEER, CONSTANT) if peer else (SERVICE, CONSTANT)
        asked = [
            replace(case, connections=2, candidates=usual)
            for case in (*cases.fleet(at_sea), cases.feed_page(at_sea, 5, usual))
        ]
        with readers(bench, at_sea, asked) as started:
            runs = [
                started.run(candidate, case, number)
                for number, case in enumerate(asked)
                for candidate in (case.candidates if peer or not case.writes_a_second else [SERVICE])
            ]
        url = at_sea.urls[fleet.SERVICE]
        scripts = statements.of(url, asked[0], at_sea.keys[WHOLE])
        assert statements.replay(bench, url, scripts, connections=1).transactions > 0
    assert all(run.is_honest and run.as_meant > 0 for run in runs), runs
    assert {run.case: run.statuses.keys() for run in runs} == {
        case.name: {304 if case.again else 200} for case in asked
    }
    assert all(run.written > 0 for run in runs if "writes" in run.case)


def test_results_and_chart_are_written(tmp_path):
    crowded = [replace(run, job="proxied", note="<b>") for run in _runs(others=0.5)]
    pictures = {"flame-single.svg": "<svg/>"}
    results, chart, flame = save(tmp_path, facts={}, runs=crowded, reads=[], layers={}, pictures=pictures)
    assert flame.read_text() == "<svg/>"
    assert json.loads(results.read_text())["runs"][0]["others"] == 0.5
    assert "proxied: fixes a second" in [*ET.fromstring(chart.read_text()).itertext()]


def test_each_layer_is_where_it_is_timed():
    with layers.timed(layers.Stopwatch(), {**layers.LAYERS, **read_layers.LAYERS}) as missing:
        assert missing == []


def test_a_layer_that_was_moved_is_told():
    places = {"moved": ("web.callers:_gone", "no_such:thing", "ingest.repeats:Gone.name")}
    with layers.timed(layers.Stopwatch(), places) as missing:
        assert missing == [*places["moved"]]


def test_a_flame_graph_names_what_was_seen_and_how_long_it_took():
    folded = "a:f;b:g<h> 3\na:f;c:<lambda> 1\na:f;thin:box 1\na:f 4995\n"
    picture = ET.fromstring(flames.drawn(folded, "a fix & more", 1_000))
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    told = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert told == ["all: 1,000.0 us (100.0%), 0.0 us its own", "a:f: 1,000.0 us (100.0%), 999.0 us its own"]
    picture = ET.fromstring(flames.drawn(folded.replace("4995", "5"), "a fix & more", 1_000))
    widths = {
        group[0].text.partition(": ")[0]: float(group[1].get("width"))
        for group in picture.iter("{http://www.w3.org/2000/svg}g")
    }
    assert widths["all"] == widths["a:f"] == 2 * (widths["b:g<h>"] + 2 * widths["c:<lambda>"])
    assert "a fix & more: 1,000 us of a worker's CPU, seen 10 times; blue is ours" in [*picture.itertext()]


def test_a_stack_is_folded_from_the_outermost_function_to_the_innermost(tmp_path):
    sampler = sampled.Sampler(tmp_path / "folded")
    for _ in range(2):
        sampler.note(0, sys._getframe())
    [line] = sampler.folded().splitlines()
    names, _, times = line.rpartition(" ")
    own = "test_a_stack_is_folded_from_the_outermost_function_to_the_innermost"
    assert names.split(";")[-1] == f"{__name__}:{own}"
    assert times == "2"
