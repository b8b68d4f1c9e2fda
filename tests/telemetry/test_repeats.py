"""What says the same again and again is said now and then."""

from harbor_api.telemetry import repeats
from harbor_api.telemetry.repeats import Repeats


def test_the_same_is_said_once_and_how_often_with_the_next(monkeypatch):
    now = 1_000.0
    monkeypatch.setattr(repeats.time, "monotonic", lambda: now)
    found = Repeats()
    assert [found.left_out("away") for _ in range(5)] == [0, None, None, None, None]
    assert found.left_out("full") == 0
    now += 11
    assert [found.left_out("away"), found.left_out("away")] == [4, None]


def test_what_is_kept_is_bounded(monkeypatch):
    now = 1_000.0
    monkeypatch.setattr(repeats.time, "monotonic", lambda: now)
    found = Repeats()
    # The first of them is not the case any more, the last is all the time.
    for number in range(1_000):
        found.left_out(number)
        found.left_out("away")
    assert len(found._said) <= 64
    assert found.left_out("away") is None
    assert found.left_out(0) == 0
