import threading
import time

import pytest

from harbor_api.simulation.backlog import Backlog, Waiting


def row(line: int) -> Waiting:
    return Waiting(line, b"{}", b"")


def taken(backlog: Backlog) -> tuple[str, list[int]] | None:
    batch = backlog.take(timeout=0)
    return batch and (batch[0], [each.line for each in batch[1]])


def test_full_batch_goes_at_once_and_in_order():
    backlog = Backlog(3)
    for line in range(4):
        assert backlog.put("a", row(line), timeout=0)
    assert taken(backlog) == ("a", [0, 1, 2])
    assert taken(backlog) is None


def test_the_fullest_ship_goes_first():
    backlog = Backlog(1_000)
    for line, ship in enumerate("abbbbccd"):
        backlog.put(ship, row(line), timeout=0)
    backlog.end()
    assert [taken(backlog) for _ in "bcad"] == [("b", [1, 2, 3, 4]), ("c", [5, 6]), ("a", [0]), ("d", [7])]
    assert backlog.is_over


def test_ship_that_is_under_way_is_not_taken_again_before_it_is_done():
    backlog = Backlog(2)
    for line in range(5):
        backlog.put("a", row(line), timeout=0)
    backlog.end()
    assert taken(backlog) == ("a", [0, 1])
    backlog.put("a", row(5), timeout=0)
    assert taken(backlog) is None
    assert not backlog.is_over
    backlog.done("a")
    assert taken(backlog) == ("a", [2, 3])
    backlog.done("a")
    assert taken(backlog) == ("a", [4, 5])
    assert backlog.is_over


def test_few_rows_go_when_they_have_waited():
    backlog = Backlog(1_000)
    backlog.put("a", row(1), timeout=0)
    assert taken(backlog) is None
    deadline = time.monotonic() + 10
    while (batch := taken(backlog)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert batch == ("a", [1])


def test_full_backlog_takes_no_more_and_gives_what_there_is():
    backlog = Backlog(1_000, most_bytes=1)
    assert backlog.put("a", row(1), timeout=0)
    assert not backlog.put("b", row(2), timeout=0)
    assert taken(backlog) == ("a", [1])
    assert backlog.put("b", row(2), timeout=0)


@pytest.mark.parametrize("workers", [1, 4])
def test_every_row_is_taken_once_and_each_ship_s_in_order(workers):
    backlog = Backlog(7, most_bytes=20_000)
    got: dict[str, list[int]] = {}

    def work() -> None:
        while not backlog.is_over:
            batch = backlog.take(timeout=0.05)
            if batch is not None:
                got.setdefault(batch[0], []).extend(each.line for each in batch[1])
                backlog.done(batch[0])

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for line in range(3_000):
        assert backlog.put(f"ship {line * line % 13}", row(line), timeout=10)
    backlog.end()
    for thread in threads:
        thread.join()
    assert sorted(line for lines in got.values() for line in lines) == list(range(3_000))
    assert all(lines == sorted(lines) for lines in got.values())
