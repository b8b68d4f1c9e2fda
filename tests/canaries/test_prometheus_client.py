"""prometheus_client: what telemetry/ takes for granted."""

import functools
import subprocess
import sys
from pathlib import Path

from tests.canaries.relied_on import relied_on

relied = functools.partial(relied_on, "prometheus-client")

_COUNTED = """
import os, sys
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
from prometheus_client import Counter, Gauge, values
here = [0]
values.ValueClass = values.MultiProcessValue(lambda: here[0])
counter, gauge = Counter("c", "c"), Gauge("g", "g", multiprocess_mode="livesum")
counter.inc(2)
gauge.set(5)
here[0] = 1
counter.inc(3)
gauge.set(7)
here[0] = 0
counter.inc(1)
print(counter._value.get(), *sorted(os.listdir(sys.argv[1])))
"""


@relied(
    "values.ValueClass is what all metrics count in, and MultiProcessValue(number) names files by a number",
    by="telemetry/metrics.py lets a worker go on with the files of the one before it",
)
def test_files_go_by_the_number_that_is_given(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", _COUNTED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [
        "3.0",
        *(f"{kind}_{number}.db" for kind in ("counter", "gauge_livesum") for number in (0, 1)),
    ]
