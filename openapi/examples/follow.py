# ruff: noqa: INP001, S310, S311, T201 - a program to copy: it prints, asks one address, draws no secrets
"""Follow the positions of a Harbor API by its stream, and go on after each cut without losing one.

Needs Python 3.9 or newer and nothing else. As a program, with the key in HARBOR_KEY:

    python follow.py https://harbor.example --from now --output positions.jsonl

writes each item as a line of JSON, and how far it has come into positions.jsonl.cursor. However it ends, by
kill -9 or with the power of the machine, the next run cuts off what it wrote behind that, and goes on there:
each item stands in the file once. Without --output the lines go to standard output, and those of the last
moment before a kill may come again. As a module:

    for event in follow("https://harbor.example", key):
        if event.type == "position":
            show(event.data)

An event is handed on when the next one is asked for: after a cut it goes on behind the last one that was.
"""

from __future__ import annotations

import argparse
import codecs
import email.utils
import json
import os
import random
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, NamedTuple

if sys.platform != "win32":
    import fcntl

LOST, REFUSED = 3, 4


class Event(NamedTuple):
    """What the stream told: its type, its data, and the cursor behind it ("" before there is one)."""

    type: str
    data: Any
    cursor: str


class FollowError(Exception):
    """Following has ended, and trying again cannot help: a key that does not hold, a wrong filter, a loss."""

    def __init__(self, message: str, *, status: int, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class EventParser:
    """The lines of text/event-stream, read as the HTML standard says, from bytes that are cut anywhere."""

    def __init__(self) -> None:
        self.retry_s = 4.0
        # It drops a byte order mark.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest, self._ended_in_return = "", False
        self._id = self._type = ""
        self._data: list[str] = []

    def push(self, received: bytes) -> list[tuple[str, str, str]]:
        """Return the events that these bytes complete: (type, data, id); type "" where there is no data."""
        text = self._decoder.decode(received)
        if not text:
            return []
        if self._ended_in_return and text[0] == "\n":
            text = text[1:]
        self._ended_in_return = text.endswith("\r")
        *lines, self._rest = re.split("\r\n|\r|\n", self._rest + text)
        return [event for line in lines if (event := self._read(line))]

    def _read(self, line: str) -> tuple[str, str, str] | None:
        if not line:
            kind, data = (self._type or "message", "\n".join(self._data)) if self._data else ("", "")
            self._type, self._data = "", []
            return kind, data, self._id
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._type = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            self.retry_s = int(value) / 1000
        return None


def follow(url: str, key: str, **options: Any) -> Iterator[Event]:
    """Yield all that happens from a cursor on, one by one: see ``batches``, which takes the same."""
    for batch in batches(url, key, **options):
        yield from batch


def batches(
    url: str,
    key: str,
    *,
    cursor: str | None = None,
    begin: str | None = None,
    filters: Mapping[str, str] | None = None,
    snapshot: bool = False,
    max_rate: int | None = None,
    on_reset: Callable[[dict[str, Any]], object] | None = None,
    on_state: Callable[[str], object] = lambda _: None,
    heartbeat_s: float = 20.0,
) -> Iterator[list[Event]]:
    """Yield what happens, as many events at once as have come; for good, so end it by leaving the loop.

    Begins at ``cursor`` or at ``begin``: "now" unless you say, or an RFC 3339 time. With ``snapshot``, where
    no cursor is given, the fleet comes first. ``on_reset`` is called with ``reason``, ``oldest`` and
    ``oldest_at`` where what was before ``oldest`` is lost: it returns a cursor to go on from (``oldest``
    or that of a fleet that you have just read) or True to begin anew, and else FollowError is raised.
    ``on_state`` is told in words what becomes of the connection, which is given up as dead where no byte came
    for two and a half heartbeats. Raises FollowError where trying again cannot help, ValueError where address
    or key are none.
    """
    if not url.startswith(("https://", "http://")) or not re.fullmatch("[!-~]+", key):
        raise ValueError("the address begins with https://, and the key is one word")
    last, failures = "", 0
    query = dict(filters or {}) | ({"max_rate": str(max_rate)} if max_rate else {})
    first = {"cursor": cursor} if cursor else _beginning(begin, snapshot=snapshot)
    while True:
        request = _request(url, key, query if last else query | first, last)
        wait_s, least_s, loss = None, 0.0, None
        on_state("connecting")
        try:
            for events, retry_s in _connection(request, 2.5 * heartbeat_s):
                failures = 0
                yield [event for event in events if event.type != "reset"]
                for event in events:
                    if event.type == "hello":
                        on_state("open")
                        heartbeat_s = event.data.get("heartbeat_s", heartbeat_s)
                    elif event.type == "bye":
                        wait_s = _until_next(event.data["reason"], retry_s)
                    elif event.type == "reset":
                        loss = event.data
                    last = event.cursor or last
                if loss:
                    break
        except _Cut as cut:
            least_s = cut.retry_after_s
            on_state(f"cut: {cut}")
        if loss:
            first, last = _after_loss(loss, on_reset, _beginning(None, snapshot=snapshot)), ""
        if wait_s is None:
            wait_s = min(30, 2**failures) * random.uniform(0.5, 1)
            failures = min(failures + 1, 5)
        time.sleep(max(wait_s, least_s))


def _beginning(begin: str | None, *, snapshot: bool) -> dict[str, str]:
    return ({"from": begin} if begin else {}) | ({"snapshot": "true"} if snapshot else {})


def _request(url: str, key: str, query: Mapping[str, str], last: str) -> urllib.request.Request:
    address = f"{url.rstrip('/')}/api/v1/positions/stream?{urllib.parse.urlencode(query)}"
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {key}"}
    return urllib.request.Request(address, headers=headers | ({"Last-Event-ID": last} if last else {}))


def _after_loss(
    loss: dict[str, Any], on_reset: Callable[[dict[str, Any]], object] | None, anew: dict[str, str]
) -> dict[str, str]:
    """Return how to begin again; FollowError where nobody has taken the loss."""
    answer = on_reset(loss) if on_reset else None
    if answer is not True and not isinstance(answer, str):
        raise FollowError(f"what was before {loss['oldest_at']} is lost", status=410, code=loss["reason"])
    return anew if answer is True else {"cursor": answer}


def _until_next(reason: str, retry_s: float) -> float:
    if reason in {"key_revoked", "key_expired"}:
        raise FollowError(f"the key does not hold any more: {reason}", status=401, code=reason)
    return (0.0 if reason == "rotation" else retry_s) + random.random()


class _Cut(Exception):
    """A connection that ended otherwise than by itself; another may last."""

    def __init__(self, why: object, retry_after_s: float = 0.0) -> None:
        super().__init__(str(why) or type(why).__name__)
        self.retry_after_s = retry_after_s


def _connection(request: urllib.request.Request, silence_s: float) -> Iterator[tuple[list[Event], float]]:
    """Yield what one connection brings, 410 as the reset that it is, with the seconds of ``retry:``."""
    parser = EventParser()
    try:
        with _opener.open(request, timeout=silence_s) as answer:
            if answer.headers.get_content_type() != "text/event-stream":
                raise _Cut("what answers is no event stream")
            while received := answer.read1(1 << 16):
                events = [
                    Event(kind, json.loads(data) if kind else None, cursor)
                    for kind, data, cursor in parser.push(received)
                ]
                if events:
                    yield events, parser.retry_s
    except urllib.error.HTTPError as error:
        reset = _refused(error)
    except (OSError, HTTPException, ValueError) as error:
        raise _Cut(error) from error
    else:
        return
    yield [reset], parser.retry_s


def _refused(error: urllib.error.HTTPError) -> Event:
    """Return the reset that a 410 is; FollowError where the same request can never work, else _Cut."""
    with error:
        try:
            problem = json.loads(error.read(1 << 16))
        except (OSError, HTTPException, ValueError):
            problem = {}
    status, code = error.code, problem.get("code")
    if status == 410:
        return Event(
            "reset", {"reason": code, **{name: problem.get(name) for name in ("oldest", "oldest_at")}}, ""
        )
    where = f" to {error.headers['Location']}" if status < 400 else ""
    why = f"HTTP {status}: {problem.get('detail') or error.reason}{where}"
    if status < 500 and status not in {408, 425, 429}:
        raise FollowError(why, status=status, code=code)
    raise _Cut(why, _seconds(error.headers.get("Retry-After", "0")))


def _seconds(retry_after: str) -> float:
    """Return the seconds of a Retry-After, a number of them or a date, up to a day."""
    if not re.fullmatch("[0-9]+", retry_after):
        try:
            retry_after = str(email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
        except (TypeError, ValueError):
            return 0.0
    return min(max(float(retry_after), 0.0), 86_400.0)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would take the key along to wherever it is sent."""

    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


class Journal:
    """A file of lines and, beside it, how far it holds and the cursor there: one step for both."""

    def __init__(self, output: Path | None, kept: Path | None) -> None:
        self.cursor: str | None = None
        self._path, self._kept = output, kept
        self._output: IO[bytes] = output.open("ab") if output else sys.stdout.buffer

    def __enter__(self) -> Journal:  # noqa: PYI034 - Self is of Python 3.11
        try:
            self._lock()
            self._resume()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._path:
            self._output.close()

    def _lock(self) -> None:
        if self._path and sys.platform != "win32":
            try:
                # Held until this program ends, however it does.
                fcntl.flock(self._output, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{self._path}: another program writes it") from None

    def _resume(self) -> None:
        """Cut off what was written behind the cursor that was kept: it comes again."""
        if self._kept and self._kept.exists():
            try:
                state = json.loads(self._kept.read_text(encoding="utf-8"))
                self.cursor, size = state["cursor"], int(state["bytes"])
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"{self._kept}: this is no file of mine") from None
            # One that is shorter was put aside by somebody: what it held is theirs.
            if self._path and self._output.tell() > size:
                self._output.truncate(size)
                self._output.seek(0, os.SEEK_END)
        self.keep([], self.cursor)

    def keep(self, lines: list[Any], cursor: str | None) -> None:
        """Write lines, and then that they are written: what a kill leaves in between is cut off next time."""
        for line in lines:
            self._output.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
        self._output.flush()
        if self._path:
            os.fsync(self._output.fileno())
        if self._kept:
            state = {"cursor": cursor, "bytes": self._output.tell() if self._path else 0}
            _replace(self._kept, json.dumps(state))
        self.cursor = cursor


def _replace(path: Path, text: str) -> None:
    """Put a file in the place of another, wholly or not at all, and for good."""
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    if sys.platform != "win32":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _run(options: argparse.Namespace, key: str) -> None:
    lines: list[Any] = []
    with Journal(options.output, options.cursor_file) as journal:

        def take_loss(loss: dict[str, Any]) -> str | None:
            if options.after_loss == "stop":
                return None
            journal.keep([{"op": "reset", **loss}], loss["oldest"])
            return journal.cursor

        for batch in batches(
            options.url,
            key,
            cursor=journal.cursor,
            begin=options.begin,
            filters=dict(each.split("=", 1) for each in options.filter),
            snapshot=options.snapshot,
            max_rate=options.max_rate,
            on_reset=take_loss,
            on_state=lambda state: print(state, file=sys.stderr) if options.verbose else None,
        ):
            _write(batch, lines, journal)


def _write(batch: list[Event], lines: list[Any], journal: Journal) -> None:
    """Write what can be gone on from; ``lines`` are those of a snapshot that is not whole yet."""
    for event in batch:
        if event.type == "hello":
            # What came of a snapshot before a cut comes again.
            lines.clear()
        if event.type in {"position", "vessel"}:
            lines.append(event.data)
        elif event.type in {"hello", "live"} and event.cursor:
            # First that it is to be gone on from here, and then what comes behind it.
            journal.keep(lines, event.cursor)
            lines.clear()
    if batch and batch[-1].cursor and (lines or batch[-1].cursor != journal.cursor):
        journal.keep(lines, batch[-1].cursor)
        lines.clear()


def main() -> int:
    """Follow until stopped; 2 where it is called wrongly, 3 after a loss, 4 where the service refuses."""
    parser = argparse.ArgumentParser(
        description="Write the positions of a Harbor API as lines of JSON. The key is in HARBOR_KEY."
    )
    add = parser.add_argument
    add("url", help="the service, as https://harbor.example")
    add("--from", dest="begin", metavar="TIME", help="now, or an RFC 3339 time: where the first run begins")
    add("--snapshot", action="store_true", help="the first run begins with the fleet, as GeoJSON Features")
    add("--max-rate", type=int, metavar="S", help="a vessel at most once in S seconds")
    add("--filter", action="append", default=[], metavar="NAME=VALUE", help="as kind=cargo,tanker")
    add("--output", type=Path, metavar="FILE", help="append to it instead of writing to standard output")
    add(
        "--cursor-file", type=Path, metavar="FILE", help="keeps how far it is; else FILE.cursor of the output"
    )
    add(
        "--after-loss", choices=["stop", "oldest"], default="stop", help="oldest: say so in a line, and go on"
    )
    add("-v", "--verbose", action="store_true", help="tell of the connection on standard error")
    options = parser.parse_args()
    if options.output and not options.cursor_file:
        options.cursor_file = options.output.with_name(options.output.name + ".cursor")
    key = os.environ.get("HARBOR_KEY", "").strip()
    if not key or not all("=" in each for each in options.filter):
        parser.error("put the key into HARBOR_KEY" if not key else "a filter is NAME=VALUE")
    try:
        _run(options, key)
    except KeyboardInterrupt:
        return 130
    except FollowError as error:
        print(f"{error} ({error.code})", file=sys.stderr)
        return LOST if error.status == 410 else REFUSED
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
