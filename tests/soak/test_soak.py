"""The short form of ``make soak``: nothing unexpected while trackers, partners and followers are at work."""

import pytest
from rich.console import Console
from tests.soak.__main__ import show
from tests.soak.soaking import soak
from tests.soak.stage import Scale
from tests.soak.timing import slope

_TRACKERS, _STREAMS = 40, 20


def test_nothing_unexpected_is_met(capsys: pytest.CaptureFixture[str]):
    told: list[str] = []
    scale = Scale(_TRACKERS, _STREAMS, stream_s=5)
    result = soak(scale, seconds=12, each_s=1, fixes_per_second=40, tell=told.append)
    show(Console(width=150), result)
    assert not result.unexpected
    assert result.statuses["post: 201"] > 100
    assert result.statuses["vessel, if changed: 304"] > 0
    # Each was sent on, and has missed nothing.
    assert int(result.proofs["streams that came again"]) >= _STREAMS
    assert "lost" in capsys.readouterr().out


def test_a_trend_is_told_with_its_error():
    assert slope([0, 1, 2, 3], [5, 7, 9, 11]) == (2, 0)
    grows, error = slope([0, 1, 2, 3], [0, 1, 0, 1])
    assert (round(grows, 2), round(error, 2)) == (0.2, 0.28)
