"""Processes that count together: what one has counted stays when it is gone, and there is no end of them."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

# Each ends without a word, as kill -9 would have it.
_COUNT = """
import os, sys
from harbor_api.telemetry import processes
processes.become(int(sys.argv[1]))
from harbor_api.telemetry import metrics
metrics.WORKER_STARTS.inc()
metrics.GROUP_SIZE.labels("fixes").observe(int(sys.argv[2]))
metrics.POOL_IN_USE.set(int(sys.argv[2]))
os._exit(9)
"""
_BEGIN = """
from harbor_api.telemetry.processes import SharedDirectory
print(SharedDirectory().path, flush=True)
input()
"""


def _counted(directory: Path, number: int, size: int = 3) -> None:
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(directory)}
    done = subprocess.run([sys.executable, "-c", _COUNT, str(number), str(size)], env=environ, check=False)
    assert done.returncode == 9


def _told(directory: Path, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(MultiProcessCollector(None, path=str(directory)))
    return registry.get_sample_value(name, labels)


def test_what_was_counted_stays_and_files_do_not_pile_up(tmp_path: Path):
    for many in range(1, 6):
        _counted(tmp_path, 1)
        assert _told(tmp_path, "harbor_worker_starts_total") == many
        assert _told(tmp_path, "harbor_group_size_bucket", queue="fixes", le="5.0") == many
        assert _told(tmp_path, "harbor_group_size_count", queue="fixes") == many
    files = {each.name for each in tmp_path.iterdir()}
    assert len(files) == len({each for each in files if each.endswith("_1.db")})


def test_gauges_are_of_those_who_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from harbor_api.telemetry import processes

    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    _counted(tmp_path, 1, 3)
    _counted(tmp_path, 2, 4)
    assert _told(tmp_path, "harbor_database_pool_in_use") == 7
    processes.forget_gauges(1)
    assert _told(tmp_path, "harbor_database_pool_in_use") == 4
    assert _told(tmp_path, "harbor_worker_starts_total") == 2


def test_a_directory_is_made_anew_and_what_was_killed_leaves_none():
    def begun() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    first, left = begun()
    with first:
        second, other = begun()
        with second:
            # Nobody's who lives is taken away.
            assert left != other
            assert left.is_dir()
            first.kill()
            first.wait()
            third, _ = begun()
            with third:
                assert not left.exists()
                assert other.is_dir()
                third.communicate("\n")
            second.communicate("\n")
