"""Plays a file of AIS positions to a running service, as if each ship had a tracker on board.

All rows of one ship are sent in file order, one batch after the other: a later fix that overtook an earlier
one would turn the earlier one into a late fix, and the run would no longer show what the file holds.
"""

import bisect
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import httpx
import orjson

from harbor_api.domain.errors import HarborError
from harbor_api.simulation import ais, tracker
from harbor_api.simulation.archives import UnreadableError
from harbor_api.simulation.backlog import Backlog, Waiting
from harbor_api.simulation.tracker import Credentials

__all__ = ["Credentials", "Noted", "Rejects", "Report", "examine", "fix_of", "replay"]

# How often a blocked thread looks whether the run has ended.
_LOOK_UP_S = 0.1
# A worker cannot leave a request in flight; the run waits this long for it after an interruption.
_LEAVE_S = 2.0
_PROGRESS_S = 0.2
# One batch is tried for so long: a service that is started again, or a limit by the minute, takes its time.
DEADLINE_S = 120.0
# Batches without an answer one after another, each for its whole deadline: the service is away for long, and
# going on would take the deadline again for every batch that is left.
_AWAY_AFTER = 3
# Ships that are registered together: alone each takes three times as long, and while they are, whoever
# stores a fix waits.
_REGISTERED_TOGETHER = 25
_TOLD_LINES = 5

Item = ais.AisRow | ais.Skipped | ais.Refused
Register = Callable[[Sequence[ais.Ship]], Sequence[Credentials]]


@dataclass(frozen=True)
class Noted:
    """How many rows, and the first of their lines in the file."""

    count: int
    lines: tuple[int, ...]


@dataclass(frozen=True)
class Report:
    """What became of every row.

    ``quarantined`` is by the reason that the service gave, ``skipped`` by the reason of ``ais.Skipped``,
    ``refused`` by a code and the member that is to blame, None where none is: those of ``ais.Refused``, and
    the service's. ``not_sent`` rows were read and have no verdict: by ``no_answer`` (before the deadline) or
    the code for which the service refused whoever signed them. ``waiting`` ones are on their way: none after
    a complete run. ``left_out`` counts rows, sent ones, of which a measure meant nothing, by the measure.
    ``stopped`` says why the run ended before the file did, None where it did not.
    """

    rows_read: int
    ships: int
    stored: int
    duplicate: int
    quarantined: Mapping[str, Noted]
    refused: Mapping[tuple[str, str | None], Noted]
    skipped: Mapping[str, Noted]
    not_sent: Mapping[str, Noted]
    waiting: int
    left_out: Mapping[str, Noted]
    stopped: str | None = None

    @property
    def adds_up(self) -> bool:
        """Return whether every row that was read is counted exactly once."""
        return self.rows_read == self.stored + self.duplicate + self.waiting + sum(
            noted.count
            for reasons in (self.quarantined, self.refused, self.skipped, self.not_sent)
            for noted in reasons.values()
        )

    @property
    def is_complete(self) -> bool:
        """Return whether the file was read to its end, and every row was told what became of it."""
        return self.stopped is None and not self.not_sent and not self.waiting and self.adds_up


class Rejects:
    """A CSV file of refused rows, as they were, behind their line, a reason and a member.

    The columns in front do not trouble ``ais.Reader``: the file can be mended and played again. ``error`` is
    why no more can be written, None while it can.
    """

    _COLUMNS = (b"line", b"reason", b"member")

    def __init__(self, file: BinaryIO, reader: ais.Reader) -> None:
        self.error: OSError | None = None
        self._file = file
        self._separator = reader.separator.encode()
        own = self._separator.join((*self._COLUMNS, b""))
        # One that is played again does not grow such columns each time.
        self._has_own = reader.header.startswith(own)
        self._lock = threading.Lock()
        self._write(reader.header if self._has_own else own + reader.header)

    def add(self, line: int, raw: bytes, reason: str, member: str | None) -> None:
        if self._has_own:
            raw = raw.split(self._separator, len(self._COLUMNS))[-1]
        front = (str(line).encode(), reason.encode(), (member or "").encode(), b"")
        self._write(self._separator.join(front) + raw.rstrip(b"\r\n"))

    def _write(self, line: bytes) -> None:
        with self._lock:
            if self.error is None:
                try:
                    self._file.write(line + b"\n")
                except OSError as error:
                    self.error = error


def examine(rows: Iterable[Item], *, rejects: Rejects | None = None) -> Report:
    """Read a file and count what would be sent, as ``not_sent`` for ``dry_run``; nothing is sent.

    ``ships`` is how many have a row to send.
    """
    tally = _Tally(rejects)
    ships = set()
    stopped = None
    try:
        for item in rows:
            row = tally.read(item)
            if row is not None:
                ships.add(row.ship.mmsi)
                tally.not_sent("dry_run", (Waiting(row.line, b"", b""),))
    except UnreadableError as error:
        stopped = str(error)
    except KeyboardInterrupt:
        stopped = "interrupted"
    tally.ships = len(ships)
    return tally.report(stopped=stopped)


def replay(
    rows: Iterable[Item],
    register: Register,
    base_url: str,
    *,
    workers: int = 4,
    rejects: Rejects | None = None,
    progress: Callable[[Report], None] | None = None,
    deadline_s: float = DEADLINE_S,
) -> Report:
    """Post every row to the service at ``base_url`` and count the verdicts.

    ``register`` gets ships that were not registered before, by what their first rows say, and returns what
    each signs with. It is called again with a ship of which later rows tell what was missing. It is never
    called concurrently, but from any thread. ``progress`` is called in the calling thread, a few times a
    second. ``deadline_s`` bounds the retries of one batch.

    KeyboardInterrupt, an ``UnreadableError`` of the source, a ``HarborError`` of ``register``, rejects that
    cannot be written, a service that gave no answer for several batches on end or that does not know our
    signatures: all end the run within a few seconds, and the report, which says so, tells how far it came.
    Any other exception, from the source, from ``register`` or from a worker, ends the run and is raised.
    ValueError if ``workers`` is less than 1.
    """
    if workers < 1:
        raise ValueError("a replay needs at least one worker")
    run = _Run(register, base_url, workers=workers, rejects=rejects, progress=progress, deadline_s=deadline_s)
    return run.play(rows)


def fix_of(row: ais.AisRow) -> dict[str, object]:
    """Return the request body of a row, without the members that it does not know."""
    fix: dict[str, object] = {"recorded_at": row.recorded_at, "lat": row.lat, "lon": row.lon}
    if row.sog is not None:
        fix["sog"] = row.sog
    if row.cog is not None:
        fix["cog"] = row.cog
    if row.heading is not None:
        fix["heading"] = row.heading
    if row.nav_status is not None:
        fix["nav_status"] = row.nav_status
    return fix


class _Notes:
    """Counts by a key, with the lowest lines of each."""

    def __init__(self) -> None:
        self._counts: dict[Any, int] = {}
        self._lines: dict[Any, list[int]] = {}

    def add(self, key: Any, line: int) -> None:
        self._counts[key] = self._counts.get(key, 0) + 1
        lines = self._lines.setdefault(key, [])
        if len(lines) < _TOLD_LINES or line < lines[-1]:
            bisect.insort(lines, line)
            del lines[_TOLD_LINES:]

    def told(self) -> dict[Any, Noted]:
        return {key: Noted(count, tuple(self._lines[key])) for key, count in self._counts.items()}


class _Tally:
    """The counts of a run, which all its threads write."""

    def __init__(self, rejects: Rejects | None) -> None:
        self.ships = 0
        self._rejects = rejects
        self._lock = threading.Lock()
        self._rows_read = 0
        self._verdicts = {"stored": 0, "duplicate": 0}
        self._quarantined = _Notes()
        self._refused = _Notes()
        self._skipped = _Notes()
        self._not_sent = _Notes()
        self._left_out = _Notes()
        self._waiting = 0

    def read(self, item: Item) -> ais.AisRow | None:
        """Count what was read; return it if it is a row to send."""
        with self._lock:
            self._rows_read += 1
            if isinstance(item, ais.AisRow):
                for member in item.left_out:
                    self._left_out.add(member, item.line)
                self._waiting += 1
                return item
            if isinstance(item, ais.Skipped):
                self._skipped.add(item.reason, item.line)
            else:
                self._refuse(item.line, item.raw, item.reason, item.member)
        return None

    def judge(self, rows: Sequence[Waiting], verdicts: Sequence[Mapping[str, Any]]) -> None:
        """Count the service's verdicts on rows that were sent."""
        with self._lock:
            self._waiting -= len(rows)
            for row, verdict in zip(rows, verdicts, strict=True):
                word = verdict["verdict"]
                if word in self._verdicts:
                    self._verdicts[word] += 1
                elif word == "quarantined":
                    self._quarantined.add(_word(verdict.get("reason")), row.line)
                else:
                    self._refuse(row.line, row.raw, _word(verdict.get("code")), _member_of(verdict))

    def not_sent(self, reason: str, rows: Sequence[Waiting]) -> None:
        """Count rows that have no verdict, for a reason that is not their own."""
        with self._lock:
            self._waiting -= len(rows)
            for row in rows:
                self._not_sent.add(reason, row.line)
                if self._rejects is not None and row.raw:
                    self._rejects.add(row.line, row.raw, reason, None)

    def report(self, *, stopped: str | None = None) -> Report:
        with self._lock:
            return Report(
                rows_read=self._rows_read,
                ships=self.ships,
                stored=self._verdicts["stored"],
                duplicate=self._verdicts["duplicate"],
                quarantined=self._quarantined.told(),
                refused=self._refused.told(),
                skipped=self._skipped.told(),
                not_sent=self._not_sent.told(),
                waiting=self._waiting,
                left_out=self._left_out.told(),
                stopped=stopped,
            )

    def _refuse(self, line: int, raw: bytes, reason: str, member: str | None) -> None:
        self._refused.add((reason, member), line)
        if self._rejects is not None:
            self._rejects.add(line, raw, reason, member)


def _apart(rows: Sequence[Waiting]) -> Iterator[Sequence[Waiting]]:
    """Yield the first row of each time, then the others of the same times.

    Files repeat a time with another position. Of two in one batch the service may keep either; a tracker
    aboard would have sent the first one first, which then stays.
    """
    firsts: dict[bytes, Waiting] = {}
    others = []
    for row in rows:
        time_member = row.fix[: row.fix.index(b",")]
        if time_member in firsts:
            others.append(row)
        else:
            firsts[time_member] = row
    yield list(firsts.values())
    if others:
        yield others


def _word(text: object) -> str:
    """Return a code of the service; what else may stand there is not to be shown."""
    return text if isinstance(text, str) and re.fullmatch(r"[a-z0-9_]{1,64}", text) else "unknown"


def _member_of(verdict: Mapping[str, Any]) -> str | None:
    """Return the member of the fix that the service names in ``errors``: /fixes/0/lat."""
    errors = verdict.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    pointer = first.get("pointer") if isinstance(first, dict) else None
    member = pointer.rpartition("/")[2] if isinstance(pointer, str) else ""
    return member if re.fullmatch(r"[a-z_]{1,64}", member) else None


@dataclass
class _Registry:
    """What is known of the ships of a run; ``lock`` is held while any are registered."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    ships: dict[str, ais.Ship] = field(default_factory=dict)
    credentials: dict[str, Credentials] = field(default_factory=dict)
    # Ships of which more is known than was registered, the new ones among them.
    changed: dict[str, None] = field(default_factory=dict)


class _StoppedError(Exception):
    """The run had better end, for the reason that the message says."""


class _Run:
    def __init__(
        self,
        register: Register,
        base_url: str,
        *,
        workers: int,
        rejects: Rejects | None,
        progress: Callable[[Report], None] | None,
        deadline_s: float,
    ) -> None:
        self._register = register
        self._base_url = base_url
        self._rejects = rejects
        self._progress = progress
        self._deadline_s = deadline_s
        self._registry = _Registry()
        self._tally = _Tally(rejects)
        self._backlog = Backlog(tracker.LARGEST_BATCH)
        self._clock = tracker.Clock()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._unanswered = 0
        self._last_progress = time.monotonic()
        self._ended = [threading.Event() for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._work, args=(ended,), name=f"replay-{number}", daemon=True)
            for number, ended in enumerate(self._ended)
        ]

    def play(self, rows: Iterable[Item]) -> Report:
        stopped = None
        for thread in self._threads:
            thread.start()
        try:
            try:
                for item in rows:
                    self._take(item)
            except UnreadableError as error:
                # What came before the damage is good, and is sent.
                stopped = str(error)
            self._backlog.end()
            # Not by joining the threads: a join that Ctrl-C interrupts marks a living thread as
            # stopped in Python before 3.13, and nobody could wait for it any more.
            for ended in self._ended:
                while not ended.wait(_LOOK_UP_S):
                    self._look_up()
            self._look_up()
            self._register_changed()
        except KeyboardInterrupt:
            stopped = "interrupted"
        except (_StoppedError, tracker.TrackerError, HarborError) as error:
            stopped = error.detail if isinstance(error, HarborError) else str(error)
        finally:
            self._stop.set()
            leave_at = time.monotonic() + _LEAVE_S
            for thread in self._threads:
                thread.join(max(0.0, leave_at - time.monotonic()))
        report = self._report(stopped)
        if self._progress is not None:
            self._progress(report)
        return report

    def _report(self, stopped: str | None = None) -> Report:
        self._tally.ships = len(self._registry.credentials)
        return self._tally.report(stopped=stopped)

    def _take(self, item: Item) -> None:
        self._look_up()
        # Counted before it waits for room, so that an interruption while it waits finds it unsent.
        row = self._tally.read(item)
        if row is None:
            return
        mmsi = row.ship.mmsi
        known = self._registry.ships.get(mmsi)
        ship = row.ship if known is None else known.with_missing_of(row.ship)
        if ship != known:
            self._registry.ships[mmsi] = ship
            self._registry.changed[mmsi] = None
            if known is not None and len(self._registry.changed) >= _REGISTERED_TOGETHER:
                self._register_changed()
        fix = orjson.dumps(fix_of(row), option=orjson.OPT_UTC_Z)
        waiting = Waiting(row.line, fix, row.raw if self._rejects is not None else b"")
        while not self._backlog.put(mmsi, waiting, timeout=_LOOK_UP_S):
            # The workers may have died, and then nobody would ever make room.
            self._look_up()

    def _look_up(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._rejects is not None and self._rejects.error is not None:
            raise _StoppedError(f"the refused rows cannot be written: {self._rejects.error.strerror}")
        now = time.monotonic()
        if self._progress is not None and now - self._last_progress >= _PROGRESS_S:
            self._last_progress = now
            self._progress(self._report())

    def _credentials_of(self, mmsi: str) -> Credentials:
        registry = self._registry
        if mmsi not in registry.credentials:
            self._register_changed(first=mmsi)
        return registry.credentials[mmsi]

    def _register_changed(self, first: str | None = None) -> None:
        """Register ships of which more is known than before: some with the ``first``, or all of them."""
        registry = self._registry
        with registry.lock:
            if first is not None and first in registry.credentials:
                return
            while registry.changed or first is not None:
                chosen = dict.fromkeys(() if first is None else (first,))
                chosen.update(dict.fromkeys(list(registry.changed)[: _REGISTERED_TOGETHER - len(chosen)]))
                for mmsi in chosen:
                    registry.changed.pop(mmsi, None)
                ships = [registry.ships[mmsi] for mmsi in chosen]
                registry.credentials.update(zip(chosen, self._register(ships), strict=True))
                if first is not None:
                    return

    def _work(self, ended: threading.Event) -> None:
        try:
            # One client a worker keeps one connection alive without any lock between workers. A proxy of the
            # environment is for what lies beyond this machine.
            with httpx.Client(trust_env=False) as http:
                while not self._stop.is_set() and not self._backlog.is_over:
                    taken = self._backlog.take(timeout=_LOOK_UP_S)
                    if taken is not None:
                        ship, batch = taken
                        credentials = self._credentials_of(ship)
                        for rows in _apart(batch):
                            self._post(http, credentials, rows)
                        self._backlog.done(ship)
        except tracker.StoppedError:
            pass
        except BaseException as error:
            # Raised again in the calling thread, which is the only one that anybody watches.
            self._failure = error
            self._stop.set()
        finally:
            ended.set()

    def _post(self, http: httpx.Client, credentials: Credentials, rows: Sequence[Waiting]) -> None:
        client = tracker.TrackerClient(
            self._base_url,
            credentials.tracker_id,
            credentials.secret,
            http=http,
            clock=self._clock,
            deadline_s=self._deadline_s,
            stop=self._stop,
        )
        try:
            answer = client.post_batch([row.fix for row in rows])
        except tracker.GaveUpError as error:
            self._tally.not_sent("no_answer", rows)
            self._unanswered += 1
            if self._unanswered >= _AWAY_AFTER:
                raise _StoppedError(f"{self._base_url} does not answer: {error.last}") from None
            return
        self._unanswered = 0
        if answer.verdicts is not None:
            self._tally.judge(rows, answer.verdicts)
        elif answer.status == 413 and len(rows) > 1:
            # A proxy in front may take less than the service does.
            half = len(rows) // 2
            self._post(http, credentials, rows[:half])
            self._post(http, credentials, rows[half:])
        else:
            reason = answer.code or f"http_{answer.status}"
            self._tally.not_sent(reason, rows)
            if answer.status == 401 and reason != "tracker_disabled":
                raise _StoppedError(f"the service at {self._base_url} refuses our signatures: {reason}")
