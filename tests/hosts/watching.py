"""All watchers of two hosts, in a process of their own.

Told on its input what to watch, as a JSON object of ``Task``; it says ``ready`` once they have begun. Another
line ends it: those who follow read to the end, what they were told is compared, and all is written as a JSON
object of ``Watched``.
"""

import json
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tests.hosts.followers import Named, Pages, Stream, Told
from tests.hosts.watcher import Report, Task, Watcher
from tests.hosts.watchers import Fleet, Limited, Writer


@dataclass
class Watched:
    """What all met.

    Fixes that were told, and those that watchers sent and were acknowledged, are a vessel and when they were
    recorded, in microseconds; ``answered`` is how many of each burst of a limited key were answered.
    """

    reports: list[Report]
    told: list[tuple[int, int]]
    acknowledged: list[tuple[int, int]]
    answered: list[int]


def main() -> None:
    """Watch what is ordered until another line comes."""
    task = Task(**json.loads(sys.stdin.readline()))
    over, end = threading.Event(), threading.Event()
    pages, named = Pages(task, over), Named(task, over)

    def is_all(told: Told) -> bool:
        return end.is_set() and (not pages.told.items or [*told.items][-1:] == [*pages.told.items][-1:])

    streams = [Stream(task, end, host=host, is_done=is_all) for host, _ in enumerate(task.hosts)]
    writing, ended = threading.Event(), threading.Event()
    writer, limited = Writer(task, writing), Limited(task, writing)
    fleet = Fleet(task, ended)
    watchers: list[Watcher] = [pages, named, *streams, writer, limited, fleet]
    for each in watchers:
        each.start()
    print("ready", flush=True)
    sys.stdin.readline()
    # First whoever writes, then those who follow that, then the streams that are compared with them.
    for event, those in (
        (writing, [writer, limited]),
        (over, [pages, named]),
        (end, streams),
        (ended, [fleet]),
    ):
        event.set()
        _join(those)
    _compare(pages, [named, *streams], may_lose=task.may_lose)
    watched = {
        "reports": [vars(each.report) for each in watchers],
        "told": [_fix(each) for each in pages.told.items.values()],
        "acknowledged": writer.acknowledged,
        "answered": limited.answered,
    }
    print(json.dumps(watched), flush=True)


def _join(watchers: Sequence[Watcher]) -> None:
    for each in watchers:
        each.join()


def _compare(pages: Pages, others: Sequence[Named | Stream], *, may_lose: bool) -> None:
    """Note where others were told something else than was on the pages, or in another order."""
    expected = [*pages.told.items]
    for each in (pages, *others):
        each.report.did["items"] = len(each.told.items)
        if each.told.again and not may_lose:
            each.wrong(f"{each.told.again} items were told twice")
        told = [*each.told.items]
        # A consumer whose place was lost is told once more what comes behind the one that survived.
        if told != expected and not (may_lose and set(told) >= set(expected)):
            missing, more = set(expected) - set(told), set(told) - set(expected)
            each.wrong(f"{len(missing)} items were skipped, {len(more)} are others, or the order is another")


def _fix(item: dict[str, str]) -> tuple[int, int]:
    return int(item["vessel_id"]), round(datetime.fromisoformat(item["recorded_at"]).timestamp() * 1e6)


if __name__ == "__main__":
    main()
