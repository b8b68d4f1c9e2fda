import io
import os
import signal
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from tests.simulation.test_ais import DANISH, danish, data
from tests.support.http_service import Answer, problem, secret_of

from harbor_api.simulation import ais
from harbor_api.simulation.ais import AisRow, Skipped
from harbor_api.simulation.replay import Credentials, Report, Ship, fix_of, gather_ships, replay

MIDNIGHT = datetime(2026, 4, 26, tzinfo=UTC)


def row(mmsi: int = 219_000_001, second: int = 0, **fields) -> AisRow:
    values = {
        "line": 2,
        "mmsi": str(mmsi),
        "recorded_at": MIDNIGHT + timedelta(seconds=second),
        "lat": 56.1,
        "lon": 11.2,
        "sog": None,
        "cog": None,
        "heading": None,
        "nav_status": None,
        "name": None,
        "imo": None,
        "call_sign": None,
        "ship_type": None,
        "mobile_type": "Class A",
        "kind": None,
    }
    return AisRow(**{**values, **fields})


class Register:
    """Gives each ship the tracker trk_<MMSI> and notes who asked, and from where."""

    def __init__(self) -> None:
        self.ships: list[Ship] = []
        self.threads: set[int] = set()

    def __call__(self, ship: Ship) -> Credentials:
        self.ships.append(ship)
        self.threads.add(threading.get_ident())
        tracker_id = f"trk_{ship.mmsi}"
        return Credentials(tracker_id, secret_of(tracker_id))


def test_every_verdict_is_counted(service):
    def judge(attempt):
        return {
            91.0: problem(422, "no_fix"),
            0.0: Answer(202, {"verdict": "quarantined", "reason": "null_island"}),
            99.0: Answer(404, b"gone"),
        }.get(attempt.fix["lat"])

    service.judge = judge
    rows = [
        row(second=0),
        row(second=0),
        row(second=1, lat=91.0),
        Skipped(5, "base_station"),
        row(second=2, lat=0.0, lon=0.0),
        row(second=3, lat=99.0),
        Skipped(8, "base_station"),
    ]
    report = replay(rows, Register(), service.base_url, workers=2)
    assert report == Report(
        rows_read=7,
        ships=1,
        stored=1,
        duplicate=1,
        quarantined=1,
        invalid={"no_fix": 1, "http_404": 1},
        skipped={"base_station": 2},
        failed=0,
        unsent=0,
        interrupted=False,
    )
    assert report.adds_up
    assert all(attempt.verified for attempt in service.attempts)


def test_report_that_lost_a_row_does_not_add_up():
    report = Report(3, 1, 1, 1, 0, {}, {}, 0, 0, interrupted=False)
    assert not report.adds_up


def test_rows_of_a_ship_stay_in_file_order(service):
    ships = range(219_000_001, 219_000_021)
    rows = [row(mmsi, second) for second in range(15) for mmsi in ships]
    register = Register()

    report = replay(rows, register, service.base_url, workers=7)

    assert (report.stored, report.ships, report.adds_up) == (300, 20, True)
    by_tracker = defaultdict(list)
    for attempt in service.attempts:
        by_tracker[attempt.tracker_id].append(attempt.fix["recorded_at"])
    assert len(by_tracker) == 20
    assert all(times == sorted(times) for times in by_tracker.values())
    assert sorted(ship.mmsi for ship in register.ships) == [str(mmsi) for mmsi in ships]
    assert register.threads == {threading.get_ident()}


def test_one_failing_row_does_not_stop_the_others(service):
    service.judge = lambda attempt: Answer(503) if attempt.fix["lat"] == 1.0 else None
    rows = [row(second=0, lat=1.0), row(second=1), row(219_000_002)]
    report = replay(rows, Register(), service.base_url, workers=2, deadline_s=0.3)
    assert (report.failed, report.stored, report.adds_up) == (1, 2, True)


def test_file_registers_ships_by_all_that_it_says(service, tmp_path):
    path = tmp_path / "ais.csv"
    first = danish(name="", imo="Unknown", call="Unknown", ship="Undefined")
    later = danish(time="26/04/2026 13:05:19")
    path.write_text("\n".join((DANISH, first, later)) + "\n")
    register = Register()

    report = replay(path, register, service.base_url, workers=1)

    assert register.ships == [Ship("219000429", "NORDLYS", "9074729", "OWAB", "cargo")]
    assert (report.stored, report.adds_up) == (2, True)


def test_rows_that_come_once_register_by_the_first(service):
    register = Register()
    first = danish(name="")
    stream = io.BytesIO("\n".join((DANISH, first, danish())).encode())
    replay(ais.read(stream), register, service.base_url, workers=1)
    assert register.ships == [Ship("219000429", None, "9074729", "OWAB", "cargo")]


def test_same_imo_on_two_ships_reaches_register_twice(service):
    register = Register()
    rows = [row(219_000_001, imo="9074729"), row(219_000_002, imo="9074729")]
    assert replay(rows, register, service.base_url).stored == 2
    assert [ship.imo for ship in register.ships] == ["9074729", "9074729"]


def test_gather_ships_keeps_the_latest_value_that_was_given():
    rows = [
        row(name="OLD", call_sign="OWAB"),
        Skipped(3, "bad_time"),
        row(name="NEW"),
        row(kind="tug"),
    ]
    assert gather_ships(rows) == {"219000001": Ship("219000001", "NEW", None, "OWAB", "tug")}


def test_fix_leaves_out_what_is_not_known():
    assert fix_of(row()) == {"recorded_at": "2026-04-26T00:00:00Z", "lat": 56.1, "lon": 11.2}
    assert fix_of(row(lat=91.0, lon=0.0, sog=0.0, nav_status=0)) == {
        "recorded_at": "2026-04-26T00:00:00Z",
        "lat": 91.0,
        "lon": 0.0,
        "sog": 0.0,
        "nav_status": 0,
    }


def test_reading_waits_while_the_service_is_behind(service):
    # Memory stays flat: with one slow worker the source must not be read to its end at once.
    taken = 0
    release = threading.Event()

    def judge(attempt):
        release.wait(10)

    def rows():
        nonlocal taken
        for second in range(2000):
            taken += 1
            yield row(second=second)
            if taken == 2000:
                pytest.fail("the whole source was read before anything was sent")

    service.judge = judge
    interrupt = threading.Timer(0.6, signal.raise_signal, (signal.SIGINT,))
    interrupt.start()
    report = replay(rows(), Register(), service.base_url, workers=1)
    release.set()
    interrupt.join()
    assert 200 < taken < 400
    assert (report.interrupted, report.adds_up, report.unsent) == (True, True, taken)


def test_interruption_returns_the_report_so_far(service):
    service.judge = lambda attempt: (
        Answer(503, headers={"retry-after": "30"}) if attempt.fix["lat"] == 1.0 else None
    )
    rows = [row(second=second, lat=56.0 if second < 50 else 1.0) for second in range(100)]
    interrupt = threading.Timer(0.8, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    began = time.monotonic()
    report = replay(rows, Register(), service.base_url, workers=3)
    assert time.monotonic() - began < 4
    interrupt.join()
    assert (report.interrupted, report.adds_up) == (True, True)
    assert (report.rows_read, report.stored, report.unsent) == (100, 50, 50)
    for thread in threading.enumerate():
        if thread.name.startswith("replay-"):
            thread.join(5)
            assert not thread.is_alive()


def test_dying_worker_ends_the_run_with_its_exception(service):
    def forgetful(ship: Ship) -> Credentials:
        return Credentials(f"trk_{ship.mmsi}", "not a secret")

    rows = (row(second=second) for second in range(100_000))
    with pytest.raises(ValueError, match="whsec_"):
        replay(rows, forgetful, service.base_url, workers=2)


def test_worker_that_meets_another_program_ends_the_run(service):
    service.judge = lambda attempt: Answer(302)
    with pytest.raises(Exception, match="302"):
        replay([row()], Register(), service.base_url)


def test_failing_register_ends_the_run(service):
    def refuse(ship: Ship) -> Credentials:
        raise LookupError(f"no room for {ship.mmsi}")

    with pytest.raises(LookupError, match="219000001"):
        replay([row()], refuse, service.base_url)


def test_failing_source_ends_the_run(service):
    with pytest.raises(ais.UnknownLayoutError):
        replay(ais.read(io.BytesIO(b"what,is,this\n")), Register(), service.base_url)
    with pytest.raises(FileNotFoundError):
        replay("no such file.csv", Register(), service.base_url)


def test_progress_is_told_in_the_calling_thread_and_ends_with_the_report(service):
    seen = []

    def progress(report: Report) -> None:
        seen.append((report, threading.get_ident()))

    service.judge = lambda attempt: time.sleep(0.02)
    rows = [row(second=second) for second in range(30)]
    report = replay(rows, Register(), service.base_url, workers=1, progress=progress)
    assert len(seen) >= 2
    assert seen[-1][0] == report
    assert all(told.adds_up for told, _ in seen)
    assert {thread for _, thread in seen} == {threading.get_ident()}


def test_no_workers_are_refused(service):
    with pytest.raises(ValueError, match="worker"):
        replay([], Register(), service.base_url, workers=0)


def test_empty_run_adds_up(service):
    report = replay([], Register(), service.base_url)
    assert (report.rows_read, report.ships, report.adds_up) == (0, 0, True)


def test_american_file_adds_up(service):
    register = Register()
    report = replay(data("ais-us-2014-01-01.csv"), register, service.base_url, workers=4)
    assert (report.rows_read, report.ships, report.adds_up) == (972, 4, True)
    assert report.stored + report.duplicate == 972
    assert len(register.ships) == 4


def test_ends_when_the_service_stays_away(service):
    service.judge = lambda attempt: Answer(503) if attempt.fix["lat"] == 1.0 else None
    rows = [row(second=second, lat=56.0 if second < 20 else 1.0) for second in range(500)]
    report = replay(rows, Register(), service.base_url, workers=2, deadline_s=0.2)
    assert (report.interrupted, report.adds_up) == (True, True)
    assert report.stored == 20
    assert 3 <= report.failed < 10
