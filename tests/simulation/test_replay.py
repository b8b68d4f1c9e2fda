import io
import os
import signal
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from tests.simulation.test_ais import AMERICAN, DANISH, american, danish, data
from tests.support.http_service import Answer, problem, secret_of

from harbor_api.domain.errors import Unavailable
from harbor_api.simulation.ais import AisRow, Reader, Refused, Ship, Skipped
from harbor_api.simulation.archives import UnreadableError
from harbor_api.simulation.replay import Credentials, Noted, Rejects, Report, examine, fix_of, replay

MIDNIGHT = datetime(2026, 4, 26, tzinfo=UTC)


def row(mmsi: int = 219_000_001, second: int = 0, *, line: int = 2, **fields) -> AisRow:
    values = {
        "line": line,
        "raw": b"raw\n",
        "ship": Ship(str(mmsi)),
        "recorded_at": MIDNIGHT + timedelta(seconds=second),
        "lat": 56.1,
        "lon": 11.2,
    }
    return AisRow(**{**values, **fields})


class Register:
    """Gives each ship the tracker trk_<MMSI> and notes who asked."""

    def __init__(self) -> None:
        self.calls: list[list[Ship]] = []
        self._busy = threading.Lock()

    def __call__(self, ships) -> list[Credentials]:
        assert self._busy.acquire(blocking=False), "called concurrently"
        try:
            self.calls.append(list(ships))
            return [
                Credentials(tracker_id, secret_of(tracker_id))
                for tracker_id in (f"trk_{ship.mmsi}" for ship in ships)
            ]
        finally:
            self._busy.release()

    @property
    def ships(self) -> list[Ship]:
        return [ship for call in self.calls for ship in call]


def test_every_verdict_is_counted_with_its_first_lines(service):
    def judge(attempt):
        return {
            55.0: Answer(422, {"code": "validation_failed", "errors": [{"pointer": "#/fixes/3/sog"}]}),
            0.0: Answer(202, {"verdict": "quarantined", "reason": "null_island"}),
            54.0: problem(422, "[red]what the service never says"),
        }.get(attempt.fix["lat"])

    service.judge = judge
    refused = Refused(4, b"raw", "no_fix", "lat")
    rows = [
        row(second=0, line=2),
        row(second=0, line=3),
        refused,
        *(row(second=second, line=second, lat=55.0) for second in range(10, 18)),
        Skipped(5, "base_station"),
        row(second=2, line=6, lat=0.0, lon=0.0),
        row(second=3, line=7, lat=54.0, left_out=("cog",)),
        Skipped(8, "base_station"),
    ]
    report = replay(rows, Register(), service.base_url, workers=2)
    assert report == Report(
        rows_read=15,
        ships=1,
        stored=1,
        duplicate=1,
        quarantined={"null_island": Noted(1, (6,))},
        refused={
            ("no_fix", "lat"): Noted(1, (4,)),
            ("validation_failed", "sog"): Noted(8, (10, 11, 12, 13, 14)),
            ("unknown", None): Noted(1, (7,)),
        },
        skipped={"base_station": Noted(2, (5, 8))},
        not_sent={},
        waiting=0,
        left_out={"cog": Noted(1, (7,))},
    )
    assert report.adds_up
    assert report.is_complete
    assert all(attempt.verified for attempt in service.attempts)


def test_report_that_lost_a_row_does_not_add_up():
    report = Report(3, 1, 1, 1, {}, {}, {}, {}, 0, {})
    assert not report.adds_up
    assert not report.is_complete


def test_rows_of_a_ship_go_in_batches_and_in_file_order(service):
    ships = range(219_000_001, 219_000_021)
    rows = [row(mmsi, second) for second in range(1_050) for mmsi in ships]
    register = Register()

    report = replay(rows, register, service.base_url, workers=7)

    assert (report.stored, report.ships, report.adds_up) == (21_000, 20, True)
    by_tracker = defaultdict(list)
    for attempt in service.attempts:
        by_tracker[attempt.tracker_id].append(attempt.fix["recorded_at"])
    assert len(by_tracker) == 20
    assert all(times == sorted(times) for times in by_tracker.values())
    assert sorted(ship.mmsi for ship in register.ships) == [str(mmsi) for mmsi in ships]
    assert len(register.calls) < 20
    assert max(service.batches) <= 1_000
    assert len(service.batches) < 100


def test_of_several_rows_of_one_time_the_first_is_sent_first(service):
    rows = [row(second=second // 3, lat=float(number)) for number, second in enumerate((0, 1, 3, 4, 5, 6))]
    report = replay(rows, Register(), service.base_url, workers=1)
    assert (report.stored, report.duplicate) == (3, 3)
    assert [attempt.fix["lat"] for attempt in service.attempts] == [0, 2, 5, 1, 3, 4]
    assert service.batches == [3, 3]


def test_batch_that_is_too_large_for_a_proxy_is_halved(service):
    service.largest_batch = 200
    rows = [row(second=second) for second in range(1_000)]
    report = replay(rows, Register(), service.base_url, workers=2)
    assert (report.stored, report.is_complete) == (1_000, True)
    assert {size for size in service.batches if size <= 200} == {125}


def test_no_answer_costs_only_its_batch(service):
    service.judge = lambda attempt: Answer(503) if attempt.tracker_id == "trk_219000001" else None
    rejects = io.BytesIO()
    reader = Reader([DANISH.encode()])
    rows = [row(second=0, line=2), row(second=1, line=3), row(219_000_002, line=4)]
    report = replay(
        rows,
        Register(),
        service.base_url,
        workers=2,
        rejects=Rejects(rejects, reader),
        deadline_s=0.3,
    )
    assert report.not_sent == {"no_answer": Noted(2, (2, 3))}
    assert (report.stored, report.adds_up, report.is_complete) == (1, True, False)
    assert rejects.getvalue().splitlines()[1:] == [b"2,no_answer,,raw", b"3,no_answer,,raw"]


def test_retry_after_of_a_limit_is_obeyed(service):
    service.script = [problem(429, "rate_limited", **{"retry-after": "1"})]
    assert replay([row()], Register(), service.base_url, workers=1).stored == 1
    first, second = service.attempts
    assert second.at - first.at >= 0.98


def test_ship_is_registered_by_all_that_is_known_and_told_again_what_was_missing(service):
    register = Register()
    first = danish(name="", imo="Unknown", call="Unknown", ship="Undefined")
    later = danish(time="26/04/2026 13:05:19")
    stream = io.BytesIO("\n".join((DANISH, first, later)).encode())
    report = replay(Reader(stream), register, service.base_url, workers=1)
    assert register.ships == [Ship("219000429", "NORDLYS", "9074729", "OWAB", "cargo")]
    assert (report.stored, report.adds_up) == (2, True)

    register = Register()
    full = [row(second=second) for second in range(1_000)]
    told = [row(second=1_000, ship=Ship("219000001", "NEW"))]

    def rows():
        yield from full
        while len(service.attempts) < 1_002:
            time.sleep(0.01)
        yield from told

    assert replay(rows(), register, service.base_url, workers=1).ships == 1
    assert register.ships == [Ship("219000001"), Ship("219000001", "NEW")]


def test_fix_leaves_out_what_is_not_known():
    def sent(row: AisRow) -> object:
        return orjson.loads(orjson.dumps(fix_of(row), option=orjson.OPT_UTC_Z))

    assert sent(row()) == {"recorded_at": "2026-04-26T00:00:00Z", "lat": 56.1, "lon": 11.2}
    assert sent(row(lat=-91.0, lon=0.0, sog=0.0, cog=0.0, heading=0.0, nav_status=0)) == {
        "recorded_at": "2026-04-26T00:00:00Z",
        "lat": -91.0,
        "lon": 0.0,
        "sog": 0.0,
        "cog": 0.0,
        "heading": 0.0,
        "nav_status": 0,
    }


def test_reading_waits_while_the_service_is_behind(service):
    # Memory stays flat: while the service hangs the source must not be read to its end.
    taken = 0
    release = threading.Event()
    service.judge = lambda attempt: release.wait(10) and None

    def rows():
        nonlocal taken
        # Raw lines of a megabyte fill the backlog, as half a million of the usual ones do.
        raw = b"x" * 1_000_000
        for second in range(2_000):
            taken += 1
            yield row(second=second, raw=raw)
        pytest.fail("the whole source was read before anything was sent")

    interrupt = threading.Timer(0.6, signal.raise_signal, (signal.SIGINT,))
    interrupt.start()
    rejects = Rejects(io.BytesIO(), Reader([DANISH.encode()]))
    report = replay(rows(), Register(), service.base_url, workers=1, rejects=rejects)
    release.set()
    interrupt.join()
    assert taken < 200
    assert (report.stopped, report.adds_up, report.waiting) == ("interrupted", True, taken)


def test_interruption_returns_the_report_so_far(service):
    service.judge = lambda attempt: (
        Answer(503, headers={"retry-after": "30"}) if attempt.tracker_id == "trk_219000002" else None
    )
    rows = [row(219_000_001 + second % 2, second) for second in range(100)]
    interrupt = threading.Timer(0.8, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    began = time.monotonic()
    report = replay(rows, Register(), service.base_url, workers=3)
    assert time.monotonic() - began < 4
    interrupt.join()
    assert (report.stopped, report.adds_up, report.is_complete) == ("interrupted", True, False)
    assert (report.rows_read, report.stored, report.waiting) == (100, 50, 50)
    for thread in threading.enumerate():
        if thread.name.startswith("replay-"):
            thread.join(5)
            assert not thread.is_alive()


def test_damage_ends_the_run_after_what_came_before(service):
    def rows():
        yield from (row(second=second) for second in range(10))
        raise UnreadableError("it is cut")

    report = replay(rows(), Register(), service.base_url)
    assert (report.stored, report.stopped, report.is_complete) == (10, "it is cut", False)
    assert examine(rows()).stopped == "it is cut"


def test_wrong_secret_ends_the_run_at_once(service):
    def wrong(ships):
        return [Credentials(f"trk_{ship.mmsi}", secret_of("trk_another")) for ship in ships]

    rows = [row(219_000_001 + number, line=number) for number in range(5_000)]
    report = replay(rows, wrong, service.base_url, workers=1)
    assert "signature_invalid" in str(report.stopped)
    assert report.not_sent["signature_invalid"].count == 1
    assert (report.adds_up, report.is_complete, report.stored) == (True, False, 0)
    assert len(service.batches) == 1


def test_disabled_tracker_costs_only_its_ship(service):
    service.script = [problem(401, "tracker_disabled")]
    report = replay([row(), row(219_000_002)], Register(), service.base_url, workers=1)
    assert (report.not_sent, report.stored) == ({"tracker_disabled": Noted(1, (2,))}, 1)
    assert not report.is_complete


def test_dying_worker_ends_the_run_with_its_exception(service):
    def forgetful(ships) -> list[Credentials]:
        return [Credentials(f"trk_{ship.mmsi}", "not a secret") for ship in ships]

    rows = (row(second=second) for second in range(100_000))
    with pytest.raises(ValueError, match="whsec_"):
        replay(rows, forgetful, service.base_url, workers=2)


def test_another_program_at_the_address_ends_the_run(service):
    service.judge = lambda attempt: Answer(302, {})
    service.script = [Answer(302)]
    report = replay([row()], Register(), service.base_url)
    assert "302" in str(report.stopped)
    assert report.waiting == 1


@pytest.mark.parametrize(
    "answer", [{"verdicts": []}, {"verdicts": [1]}, {"verdicts": [{"verdict": 1}]}, [], {"verdicts": {}}]
)
def test_answer_without_a_verdict_for_each_fix_ends_the_run(service, answer):
    service.script = [Answer(200, answer)]
    report = replay([row()], Register(), service.base_url)
    assert "no verdict" in str(report.stopped)
    assert report.waiting == 1


def test_failing_register_ends_the_run(service):
    def refuse(ships):
        raise LookupError(f"no room for {ships[0].mmsi}")

    def away(ships):
        raise Unavailable("The database does not answer")

    with pytest.raises(LookupError, match="219000001"):
        replay([row()], refuse, service.base_url)
    assert replay([row()], away, service.base_url).stopped == "The database does not answer"


def test_failing_source_ends_the_run(service):
    def rows():
        yield row()
        raise LookupError("what is this")

    with pytest.raises(LookupError):
        replay(rows(), Register(), service.base_url)


def test_progress_is_told_in_the_calling_thread_and_ends_with_the_report(service):
    seen = []

    def progress(report: Report) -> None:
        seen.append((report, threading.get_ident()))

    service.judge = lambda attempt: time.sleep(0.03)
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
    assert (report.rows_read, report.ships, report.is_complete) == (0, 0, True)


def test_american_file_adds_up(service):
    register = Register()
    rows = Reader(io.BytesIO(data("ais-us-2014-01-01.csv").read_bytes()))
    report = replay(rows, register, service.base_url)
    assert (report.rows_read, report.ships, report.is_complete) == (972, 4, True)
    assert report.stored + report.duplicate == 972
    assert len(register.ships) == 4


def test_ends_when_the_service_stays_away(service):
    service.judge = lambda attempt: Answer(503) if attempt.tracker_id > "trk_219000020" else None
    rows = [row(219_000_001 + number) for number in range(500)]
    report = replay(rows, Register(), service.base_url, workers=2, deadline_s=0.2)
    assert "does not answer" in str(report.stopped)
    assert report.adds_up
    assert 3 <= report.not_sent["no_answer"].count < 10


@pytest.mark.parametrize("header", [DANISH, AMERICAN, AMERICAN.replace(",", ";")])
def test_rejects_can_be_mended_and_played_again(header):
    separator = ";" if ";" in header else ","
    make = danish if header == DANISH else american
    bad = [make(lat="north"), make(name='"A, B"', lat="91"), make(mmsi="1"), make()[:20], make(name="A,B,C")]
    lines = [each.replace(",", separator) for each in (make(), *bad)]
    first, again = io.BytesIO(), io.BytesIO()

    reader = Reader([each.encode() + b"\r\n" for each in ("\ufeff" + header, *lines)])
    examine(reader, rejects=Rejects(first, reader))

    written = first.getvalue().splitlines(keepends=True)
    assert written[0].decode() == separator.join(("line", "reason", "member", header)) + "\n"
    assert written[1].decode() == separator.join(("3", "bad_number", "lat", lines[1])) + "\n"
    reader = Reader(written)
    report = examine(reader, rejects=Rejects(again, reader))
    assert again.getvalue().splitlines()[0] == written[0].rstrip()
    assert [line.split(separator.encode(), 3)[1:] for line in again.getvalue().splitlines()] == [
        line.rstrip().split(separator.encode(), 3)[1:] for line in written
    ]
    mended = [written[0], written[1].replace(b"north", b"42")]
    assert examine(Reader(mended)).not_sent == {"dry_run": Noted(1, (2,))}
    assert report.adds_up


def test_rejects_that_cannot_be_written_end_the_run(service):
    reader = Reader([DANISH.encode()])
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123 - without a buffer
        report = replay([row(), row(second=1)], Register(), service.base_url, rejects=Rejects(full, reader))
    assert "cannot be written" in str(report.stopped)


def test_examine_counts_and_sends_nothing():
    rows = [row(line=2), row(219_000_002, line=3, left_out=("sog",))]
    report = examine([*rows, Refused(4, b"raw", "no_fix", "lat"), Skipped(5, "base_station")])
    assert report == Report(
        rows_read=4,
        ships=2,
        stored=0,
        duplicate=0,
        quarantined={},
        refused={("no_fix", "lat"): Noted(1, (4,))},
        skipped={"base_station": Noted(1, (5,))},
        not_sent={"dry_run": Noted(2, (2, 3))},
        waiting=0,
        left_out={"sog": Noted(1, (3,))},
    )
    assert report.adds_up
