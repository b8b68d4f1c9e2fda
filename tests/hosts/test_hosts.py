"""The short form of ``make hosts``: two hosts are one service, also while another PostgreSQL takes over."""

import pytest
from tests.benchmarks import proxy
from tests.faults.traffic import Order
from tests.hosts.acts import ACTS
from tests.hosts.playing import play
from tests.support import pgbouncer

_SHORT = ("failover",)
_LONG = [pytest.param(each, marks=pytest.mark.slow) for each in ACTS if each not in _SHORT]


@pytest.mark.skipif(proxy.program() is None, reason="nginx is not installed")
@pytest.mark.skipif(pgbouncer.program() is None, reason="PgBouncer is not installed")
@pytest.mark.parametrize("name", [*_SHORT, *_LONG])
def test_what_was_promised_holds(name: str):
    row = play(ACTS[name], Order(fixes_per_second=40, reads_per_second=10), calm_s=1)
    assert row.faults() == []
    assert row.at_replica > 0
    assert len(row.answered) > 1
