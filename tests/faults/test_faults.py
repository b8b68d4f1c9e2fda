"""The short form of ``make faults``: what operators do costs no request, and what breaks loses no fix."""

import pytest
from tests.benchmarks import proxy
from tests.faults.faults import FAULTS
from tests.faults.playing import play
from tests.faults.traffic import Order

# Those that are over in a moment; all are played by ``make faults``.
_SHORT = ("reload", "restart", "worker-killed")


_LONG = [pytest.param(each, marks=pytest.mark.slow) for each in FAULTS if each not in _SHORT]


@pytest.mark.skipif(proxy.program() is None, reason="nginx is not installed")
@pytest.mark.parametrize("name", [*_SHORT, *_LONG])
def test_what_was_promised_holds(name: str):
    fault = FAULTS[name]
    if why := fault.lacks():
        pytest.skip(why)
    row = play(fault, Order(), calm_s=1)
    assert row.faults() == []
    assert row.asked > 100
