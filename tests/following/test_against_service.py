"""Both clients follow a service that is killed, again and again, with its database or without.

Trackers report all the while. In the end each client has been told what the table says, in its order:
nothing lost, nothing twice. follow.py is killed, too, and its file holds each fix once.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from tests.conftest import NewDatabase
from tests.following.conftest import CLIENTS, node
from tests.support import sql
from tests.support.factories import SigningTracker
from tests.support.live_service import LiveService, OwnPostgres
from tests.support.signed_posts import send

_DRIVE = Path(__file__).parent / "drive.mjs"
_PATIENCE_S = 60
_STREAM = "/api/v1/positions/stream"
Told = tuple[int, str]
Events = Callable[..., Iterator[list[Any]]]
_TABLE = "SELECT vessel_id, recorded_at FROM positions ORDER BY seq"
_REMOVE = """
INSERT INTO feed_floor (id, number, at) SELECT 1, max(seq), now() FROM positions
ON CONFLICT (id) DO UPDATE SET number = excluded.number, at = excluded.at
"""


class _Reporter(threading.Thread):
    """A tracker that reports for as long as it runs; each third fix is an older one."""

    def __init__(self, base_url: str, tracker: SigningTracker) -> None:
        super().__init__()
        self._base_url, self._tracker = base_url, tracker
        self._ends = threading.Event()
        self.stored = 0

    def run(self) -> None:
        begun = datetime.now(UTC) - timedelta(hours=3)
        with httpx.Client(base_url=self._base_url, verify=False, timeout=5) as http:
            while not self._ends.wait(0.05):
                seconds = 2 * self.stored - (601 if self.stored % 3 == 2 else 0)
                recorded_at = (begun + timedelta(seconds=seconds)).isoformat()
                signed = self._tracker.signed({"recorded_at": recorded_at, "lat": 59.9, "lon": 10.7})
                while not self._is_stored(http, signed):
                    time.sleep(0.1)
                self.stored += 1

    def _is_stored(self, http: httpx.Client, signed: dict[str, Any]) -> bool:
        try:
            answer = http.post("/api/v1/positions", content=signed["data"], headers=signed["headers"])
        except httpx.TransportError:
            return False
        return answer.status_code in {200, 201}

    def end(self) -> None:
        self._ends.set()
        self.join()


class _Program:
    """A client in a process of its own; ``told`` are the fixes in what it has written."""

    def __init__(self, command: list[str | Path], output: Path, read: Callable[[Any], Any], key: str) -> None:
        self._command, self._output, self._read = command, output, read
        self._environ = {"PATH": os.environ["PATH"], "HARBOR_KEY": key}
        self.start()

    def start(self) -> None:
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, env=self._environ, stdin=subprocess.DEVNULL, stdout=output
            )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def told(self) -> list[Told]:
        *lines, _ = self._output.read_text().split("\n")
        items = filter(None, (self._read(json.loads(line)) for line in lines))
        return [(item["vessel_id"], item["recorded_at"]) for item in items]


@contextmanager
def _programs(service: LiveService, folder: Path, begin: str) -> Iterator[dict[str, _Program]]:
    _, key = service.world.key()
    options = json.dumps({"url": service.base_url, "key": key, "from": begin})
    written = folder / "positions.jsonl"
    python: list[str | Path] = [sys.executable, CLIENTS / "follow.py", service.base_url]
    python += ["--from", begin, "--output", written]
    programs = {
        "follow.js": _Program(
            [node(), _DRIVE, CLIENTS / "follow.js", options],
            folder / "javascript.jsonl",
            lambda told: told[1] if told[0] == "position" else None,
            key,
        ),
        "follow.py": _Program(python, written, lambda item: item, key),
    }
    try:
        yield programs
    finally:
        for program in programs.values():
            program.kill()


def _follow(service: LiveService, folder: Path, *, kills: int, crash: Callable[[int], None]) -> None:
    begin = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    reporters = [_Reporter(service.base_url, service.world.tracker()) for _ in range(3)]
    with ExitStack() as stack:
        programs = stack.enter_context(_programs(service, folder, begin))
        for reporter in reporters:
            reporter.start()
            stack.callback(reporter.end)
        for turn in range(kills):
            _until(lambda: min(len(each.told) for each in programs.values()) > 20 * turn)  # noqa: B023 - at once
            if turn % 2:
                programs["follow.py"].kill()
            crash(turn)
            if turn % 2:
                programs["follow.py"].start()
        for reporter in reporters:
            reporter.end()
        expected = [
            (vessel, f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}")
            for vessel, moment in sql.run(service.world.database, _TABLE)
        ]
        assert len(expected) == sum(reporter.stored for reporter in reporters)
        _until(lambda: min(len(each.told) for each in programs.values()) >= len(expected))
        for name, program in programs.items():
            assert program.told == expected, name


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def service(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """Return a service whose streams end each other second."""
    log = tmp_path_factory.mktemp("live") / "service.log"
    with LiveService(new_database(), log=log, stream_s=2, streams_per_key=3) as service:
        yield service


@pytest.fixture(params=["follow.js", "follow.py"])
def events(request: pytest.FixtureRequest, follow_py: ModuleType, service: LiveService) -> Iterator[Events]:
    """Return what a client is told as it comes, [name, data, cursor] each, up to what it ends with."""
    with ExitStack() as stack:

        def javascript(**options: Any) -> Iterator[list[Any]]:
            given = json.dumps({"url": service.base_url, **options})
            command = [node(), _DRIVE, CLIENTS / "follow.js", given]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            assert process.stdout is not None
            yield from map(json.loads, process.stdout)

        def python(*, key: str, **options: Any) -> Iterator[list[Any]]:
            try:
                yield from map(list, follow_py.follow(service.base_url, key, **options))
            except follow_py.FollowError as error:
                yield ["raised", {"message": str(error), "status": error.status, "code": error.code}, ""]

        yield javascript if request.param == "follow.js" else python


def test_clients_are_told_of_each_fix_once_while_the_service_ends_and_is_killed(
    service: LiveService, tmp_path: Path
):
    def end(turn: int) -> None:
        if turn:
            service.kill()
        else:
            service.stop()
        service.start()

    _follow(service, tmp_path, kills=2, crash=end)


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"key": "hbr_none"}, 401, "key_invalid"),
        ({"cursor": "nonsense"}, 400, "invalid_parameter"),
        ({"filters": {"colour": "red"}}, 400, "invalid_parameter"),
    ],
)
def test_a_refusal_of_the_service_ends_a_client(service: LiveService, events: Events, options, status, code):
    _, key = service.world.key()
    *_, (name, told, _) = events(**{"key": key, **options})
    assert (name, told["status"], told["code"]) == ("raised", status, code)


def test_a_client_ends_when_its_key_is_revoked(service: LiveService, events: Events):
    issued, key = service.world.key()
    seen = []
    for name, told, _ in events(key=key):  # noqa: B007 - the last one is looked at
        seen.append(name)
        if name == "hello":
            service.world.revoke(issued)
    assert "bye" in seen
    assert (name, told["status"], told["code"]) == ("raised", 401, "key_revoked")


def test_a_client_is_told_in_the_stream_what_was_removed_while_it_was_away(
    service: LiveService, events: Events
):
    tracker = service.world.tracker()
    _, key = service.world.key()
    for name, told, _ in events(key=key):  # noqa: B007 - the last one is looked at
        if name == "bye":
            # It may be back before this is done, and is told of it the next time.
            signed = tracker.signed({"recorded_at": datetime.now(UTC).isoformat(), "lat": 1, "lon": 1})
            assert send(service.http, signed).status_code == 201
            sql.run(service.world.database, _REMOVE)
    assert (name, told["status"], told["code"]) == ("raised", 410, "cursor_expired")
    assert told["message"].startswith("what was before 2")


def test_a_client_waits_where_its_key_has_as_many_streams_as_it_may_have(
    service: LiveService, follow_py: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    _, key = service.world.key()
    waits: list[float] = []
    headers = {"Authorization": f"Bearer {key}"}
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(
                httpx.stream("GET", f"{service.base_url}{_STREAM}", headers=headers, verify=False)
            )

        def wait(delay_s: float) -> None:
            waits.append(delay_s)
            held.close()

        monkeypatch.setattr(time, "sleep", wait)
        events = follow_py.follow(service.base_url, key)
        assert next(events).type == "hello"
        events.close()
    assert waits[0] >= 1


@pytest.mark.slow
def test_ten_kills_of_service_database_and_client(tmp_path: Path):
    with OwnPostgres() as postgres, LiveService(postgres.url, log=tmp_path / "service.log") as service:

        def crash(turn: int) -> None:
            if turn % 3 != 1:
                service.kill()
            if turn % 3:
                postgres.crash()
                postgres.start()
            if turn % 3 != 1:
                service.start()

        _follow(service, tmp_path, kills=10, crash=crash)
