"""What workers tell each other of their connections."""

import subprocess
import sys
import time

import pytest

from harbor_api.server.shares import Board

FORKED = """
import os
from harbor_api.server.shares import Board

board = Board()
child = os.fork()
if not child:
    board.place(2).beat()
    board.place(2).note(7)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert board.place(1).others() == [7]
"""


@pytest.mark.parametrize(
    ("mine", "others", "is_crowded"),
    [
        (0, [], False),
        (500, [], False),
        (1, [0], False),
        (2, [0], True),
        (16, [16, 16], False),
        (18, [16, 20], False),
        (20, [16, 30], True),
        (1000, [920], False),
        (1000, [900], True),
    ],
)
def test_who_holds_more_than_another_is_crowded(mine: int, others: list[int], is_crowded: bool):
    board = Board()
    place = board.place(1)
    place.beat()
    place.note(mine)
    for age, held in enumerate(others, 2):
        board.place(age).beat()
        board.place(age).note(held)
    assert place.others() == others
    assert place.is_crowded() is is_crowded


def test_who_has_ended_or_fallen_silent_is_no_other(monkeypatch):
    board = Board()
    one, other = board.place(1), board.place(2)
    other.beat()
    assert one.others() == [0]
    other.end()
    assert one.others() == []
    other.beat()
    now = time.monotonic()
    monkeypatch.setattr("harbor_api.server.shares.time.monotonic", lambda: now + 4)
    assert one.others() == []


def test_what_is_told_is_told_to_other_processes():
    # In a process of its own: one that has threads is not to be forked.
    subprocess.run([sys.executable, "-c", FORKED], check=True, timeout=60)
