"""Plays a file of AIS positions to a running service, as if each ship had a tracker on board.

All rows of one ship go through one worker in file order: a later fix that overtook an earlier one
would turn the earlier one into a late fix, and the run would no longer show what the file holds.
"""

import contextlib
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from harbor_api.simulation import ais, tracker
from harbor_api.simulation.tracker import Credentials

__all__ = ["Credentials", "Report", "Ship", "fix_of", "gather_ships", "replay"]

# Rows that may wait for one worker. It bounds memory: reading stops while the service is behind.
_QUEUE_LENGTH = 256
# How often a blocked thread looks whether the run has ended.
_LOOK_UP_S = 0.1
# A worker cannot leave a request in flight; the run waits this long for it after an interruption.
_LEAVE_S = 2.0
_PROGRESS_S = 0.2
# Rows without a verdict one after another, each for its whole deadline: the service is away for long,
# and going on would take the deadline again for every row that is left.
_AWAY_AFTER = 3


class _ServiceAwayError(Exception):
    """No row got a verdict for so long that the run had better end."""


@dataclass(frozen=True)
class Ship:
    """A ship as her own AIS messages describe her; None where they did not say.

    ``imo`` has a right check digit but may stand under two MMSIs, for instance after a change of
    flag. ``kind`` is one of ``ais.KINDS``.
    """

    mmsi: str
    name: str | None
    imo: str | None
    call_sign: str | None
    kind: str | None


@dataclass(frozen=True)
class Report:
    """What became of every row.

    ``invalid`` counts by the problem's code (``http_<status>`` where it named none), ``skipped`` by
    the reason of ``ais.Skipped``. ``failed`` rows got no verdict before the deadline. ``unsent``
    rows were read and have no verdict yet: none after a complete run, and after an interrupted one
    those that were queued or in flight.
    """

    rows_read: int
    ships: int
    stored: int
    duplicate: int
    quarantined: int
    invalid: Mapping[str, int]
    skipped: Mapping[str, int]
    failed: int
    unsent: int
    interrupted: bool

    @property
    def adds_up(self) -> bool:
        """Return whether every row that was read is counted exactly once."""
        return self.rows_read == (
            self.stored
            + self.duplicate
            + self.quarantined
            + sum(self.invalid.values())
            + sum(self.skipped.values())
            + self.failed
            + self.unsent
        )


def gather_ships(rows: Iterable[ais.AisRow | ais.Skipped]) -> dict[str, Ship]:
    """Return each MMSI's ship with the last value that the rows give for each member.

    AIS sends name, IMO number, call sign and type apart from positions, every six minutes, so that
    the first row of a ship often lacks them. Memory grows with the ships, not with the rows.
    """
    ships: dict[str, Ship] = {}
    for row in rows:
        if isinstance(row, ais.AisRow):
            known = ships.get(row.mmsi)
            seen = _ship_of(row, known)
            if seen != known:
                ships[row.mmsi] = seen
    return ships


def replay(
    source: str | os.PathLike[str] | Iterable[ais.AisRow | ais.Skipped],
    register: Callable[[Ship], Credentials],
    base_url: str,
    *,
    workers: int = 8,
    progress: Callable[[Report], None] | None = None,
    deadline_s: float = tracker.DEADLINE_S,
) -> Report:
    """Post every row of ``source`` to the service at ``base_url`` and count the verdicts.

    ``source`` is a path, or rows as ``ais.read`` yields them. A regular file is read twice: the
    first pass gathers what is known of each ship for its registration, which costs a small part of
    the time that posting takes. Rows that can be read only once register with what the ship's first
    row says.

    ``register`` is called at most once for an MMSI, never concurrently and always in the calling
    thread, before the ship's first row is sent. ``progress`` is called in the calling thread too, a
    few times a second. ``deadline_s`` bounds the retries of one row, which is then counted as
    failed.

    KeyboardInterrupt, and a service that gave no verdict for several rows on end, end the run within
    a few seconds and return the report so far, with ``interrupted`` true. Any other exception, from
    the source, from ``register`` or from a worker, ends the run and is raised. ValueError if
    ``workers`` is less than 1.
    """
    if workers < 1:
        raise ValueError("a replay needs at least one worker")
    known: dict[str, Ship] = {}
    rows: Iterable[ais.AisRow | ais.Skipped]
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_file():
            known = gather_ships(ais.read(path))
        rows = ais.read(path)
    else:
        rows = source
    run = _Run(register, base_url, workers=workers, progress=progress, deadline_s=deadline_s, known=known)
    return run.play(rows)


def fix_of(row: ais.AisRow) -> dict[str, object]:
    """Return the request body of a row, without the members that it does not know."""
    members = {
        "lat": row.lat,
        "lon": row.lon,
        "sog": row.sog,
        "cog": row.cog,
        "heading": row.heading,
        "nav_status": row.nav_status,
    }
    fix: dict[str, object] = {"recorded_at": tracker.rfc3339(row.recorded_at)}
    fix.update((name, value) for name, value in members.items() if value is not None)
    return fix


def _ship_of(row: ais.AisRow, known: Ship | None = None) -> Ship:
    older = known or Ship(row.mmsi, None, None, None, None)
    return Ship(
        mmsi=row.mmsi,
        name=row.name or older.name,
        imo=row.imo or older.imo,
        call_sign=row.call_sign or older.call_sign,
        kind=row.kind or older.kind,
    )


class _Tally:
    """The counts of a run, which all its threads write."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows_read = 0
        self._ships = 0
        self._routed = 0
        self._failed = 0
        self._failed_in_a_row = 0
        self._verdicts: Counter[str] = Counter()
        self._invalid: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()

    def skip(self, reason: str) -> None:
        with self._lock:
            self._rows_read += 1
            self._skipped[reason] += 1

    def meet(self) -> None:
        with self._lock:
            self._ships += 1

    def route(self) -> None:
        with self._lock:
            self._rows_read += 1
            self._routed += 1

    def judge(self, verdict: tracker.Verdict) -> None:
        with self._lock:
            if verdict.verdict == "invalid":
                self._invalid[verdict.code or f"http_{verdict.status}"] += 1
            else:
                self._verdicts[verdict.verdict] += 1
            self._failed_in_a_row = 0

    def fail(self) -> int:
        """Count a row without a verdict; return how many there were since the last verdict."""
        with self._lock:
            self._failed += 1
            self._failed_in_a_row += 1
            return self._failed_in_a_row

    def report(self, *, interrupted: bool = False) -> Report:
        with self._lock:
            settled = self._verdicts.total() + self._invalid.total() + self._failed
            return Report(
                rows_read=self._rows_read,
                ships=self._ships,
                stored=self._verdicts["stored"],
                duplicate=self._verdicts["duplicate"],
                quarantined=self._verdicts["quarantined"],
                invalid=dict(self._invalid),
                skipped=dict(self._skipped),
                failed=self._failed,
                unsent=self._routed - settled,
                interrupted=interrupted,
            )


@dataclass(frozen=True)
class _Job:
    credentials: Credentials
    row: ais.AisRow


class _Run:
    def __init__(
        self,
        register: Callable[[Ship], Credentials],
        base_url: str,
        *,
        workers: int,
        progress: Callable[[Report], None] | None,
        deadline_s: float,
        known: Mapping[str, Ship],
    ) -> None:
        self._register = register
        self._base_url = base_url
        self._progress = progress
        self._deadline_s = deadline_s
        self._known = known
        self._credentials: dict[str, Credentials] = {}
        self._tally = _Tally()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._last_progress = time.monotonic()
        # None ends a worker.
        self._queues: list[queue.Queue[_Job | None]] = [queue.Queue(_QUEUE_LENGTH) for _ in range(workers)]
        self._ended = [threading.Event() for _ in range(workers)]
        # Daemons: a request that nobody answers must not hold the program after an interruption.
        self._threads = [
            threading.Thread(target=self._work, args=work, name=f"replay-{n}", daemon=True)
            for n, work in enumerate(zip(self._queues, self._ended, strict=True))
        ]

    def play(self, rows: Iterable[ais.AisRow | ais.Skipped]) -> Report:
        interrupted = False
        for thread in self._threads:
            thread.start()
        try:
            with _closing(rows) as items:
                for item in items:
                    self._take(item)
            for jobs in self._queues:
                self._put(jobs, None)
            # Not by joining the threads: a join that Ctrl-C interrupts marks a living thread as
            # stopped in Python before 3.13, and nobody could wait for it any more.
            for ended in self._ended:
                while not ended.wait(_LOOK_UP_S):
                    self._look_up()
            self._look_up()
        except (KeyboardInterrupt, _ServiceAwayError):
            interrupted = True
        finally:
            self._stop.set()
            leave_at = time.monotonic() + _LEAVE_S
            for thread in self._threads:
                thread.join(max(0.0, leave_at - time.monotonic()))
        report = self._tally.report(interrupted=interrupted)
        if self._progress is not None:
            self._progress(report)
        return report

    def _take(self, item: ais.AisRow | ais.Skipped) -> None:
        self._look_up()
        if isinstance(item, ais.Skipped):
            self._tally.skip(item.reason)
            return
        credentials = self._credentials.get(item.mmsi)
        if credentials is None:
            credentials = self._register(self._known.get(item.mmsi) or _ship_of(item))
            self._credentials[item.mmsi] = credentials
            self._tally.meet()
        # Counted before it waits for a place in the queue, so that an interruption while it waits
        # finds it among the unsent.
        self._tally.route()
        self._put(self._queues[int(item.mmsi) % len(self._queues)], _Job(credentials, item))

    def _put(self, jobs: "queue.Queue[_Job | None]", job: _Job | None) -> None:
        while True:
            try:
                jobs.put(job, timeout=_LOOK_UP_S)
            except queue.Full:
                # The worker may have died, and then nobody would ever make room.
                self._look_up()
            else:
                return

    def _look_up(self) -> None:
        if self._failure is not None:
            raise self._failure
        now = time.monotonic()
        if self._progress is not None and now - self._last_progress >= _PROGRESS_S:
            self._last_progress = now
            self._progress(self._tally.report())

    def _work(self, jobs: "queue.Queue[_Job | None]", ended: threading.Event) -> None:
        try:
            # One client a worker keeps one connection alive without any lock between workers.
            with httpx.Client() as http:
                self._post_all(jobs, http)
        except tracker.StoppedError:
            pass
        except BaseException as error:
            # Raised again in the calling thread, which is the only one that anybody watches.
            self._failure = error
            self._stop.set()
        finally:
            ended.set()

    def _post_all(self, jobs: "queue.Queue[_Job | None]", http: httpx.Client) -> None:
        clients: dict[str, tracker.TrackerClient] = {}
        while not self._stop.is_set():
            try:
                job = jobs.get(timeout=_LOOK_UP_S)
            except queue.Empty:
                continue
            if job is None:
                return
            client = clients.get(job.credentials.tracker_id)
            if client is None:
                client = tracker.TrackerClient(
                    self._base_url,
                    job.credentials.tracker_id,
                    job.credentials.secret,
                    http=http,
                    deadline_s=self._deadline_s,
                    stop=self._stop,
                )
                clients[job.credentials.tracker_id] = client
            try:
                verdict = client.post(fix_of(job.row))
            except tracker.GaveUpError:
                if self._tally.fail() >= _AWAY_AFTER:
                    raise _ServiceAwayError from None
            else:
                self._tally.judge(verdict)


@contextlib.contextmanager
def _closing(
    rows: Iterable[ais.AisRow | ais.Skipped],
) -> Iterator[Iterable[ais.AisRow | ais.Skipped]]:
    """Close a generator, and with it the file that it reads, as soon as the run leaves it."""
    try:
        yield rows
    finally:
        close = getattr(rows, "close", None)
        if close is not None:
            close()
