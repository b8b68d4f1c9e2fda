"""An act is played while callers and watchers go on, and what they met is told."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.faults.playing import Row, row_of
from tests.faults.stage import Traffic
from tests.faults.traffic import Order, Seen
from tests.hosts.acts import Act
from tests.hosts.scene import Hosts, Watchers, set_up
from tests.hosts.watching import Watched


@dataclass(frozen=True)
class HostsRow(Row):
    """What callers met by way of nginx, and watchers at each host in turn.

    ``unreplicated`` is how many of those that are lost only the primary had. ``watched`` is what each watcher
    did and which refusals it met; ``wrong`` what it met that was not promised. ``answered`` is how many of
    each burst of a limited key were; ``at_replica`` and ``at_primary`` how many reads of the past.
    """

    unreplicated: int
    watched: Sequence[Mapping[str, Any]]
    wrong: list[str]
    answered: list[int]
    at_replica: int
    at_primary: int

    def faults(self) -> list[str]:
        """Return what was promised and is not so."""
        others = replace(self, lost=self.lost - self.unreplicated)
        return [*super(HostsRow, others).faults(), *(f"{self.fault.name}: {each}" for each in self.wrong)]


def play(act: Act, order: Order, *, calm_s: float) -> HostsRow:
    """Do what the act is, with some calm before and after it."""
    with set_up(act.ground, trackers=order.trackers) as hosts:
        order = replace(order, port=hosts.nginx.port, certificate=str(hosts.nginx.certificate), key=hosts.key)
        task = hosts.task(order.trackers, is_counted_together=act.count_together, may_lose=act.may_lose)
        with Watchers(task) as watchers, Traffic(order) as traffic:
            time.sleep(calm_s)
            began = time.monotonic()
            told = act.do(hosts) or ""
            took_s = time.monotonic() - began
            time.sleep(calm_s)
            seen = traffic.end()
            watched = watchers.end()
        return _row(act, hosts, seen, watched, row_of(act, hosts, seen, began, took_s, told))


def _row(act: Act, hosts: Hosts, seen: Seen, watched: Watched, row: Row) -> HostsRow:
    wrong = [f"{each.name}: {what}" for each in watched.reports for what in each.wrong]
    acknowledged, told = {*seen.acknowledged, *watched.acknowledged}, {*watched.told}
    untold, lost = acknowledged - told, hosts.lost(Seen(acknowledged=[*acknowledged]))
    if len(untold) != lost:
        wrong.append(f"{len(untold)} acknowledged fixes were not told of, and {lost} are lost")
    if len(told) != (stored := hosts.stored()):
        wrong.append(f"{len(told)} fixes were told of, and {stored} are stored")
    first, last = hosts.unreplicated_us
    at_replica, at_primary = hosts.reads()
    errors = sum((Counter(each.errors) for each in watched.reports), Counter[str]())
    summary = (
        row.told,
        f"{len(told)} fixes told to each who follows",
        f"of a limited key's 90 were answered: {', '.join(map(str, sorted({*watched.answered})))}",
        f"reads of the past: {at_replica} at the replica, {at_primary} at the primary",
        f"who asks one host by itself met {dict(errors)}" if errors else "",
    )
    return HostsRow(
        **vars(row)
        | {"lost": lost, "acknowledged": len(acknowledged), "told": "; ".join(filter(None, summary))},
        unreplicated=sum(first <= at <= last for _, at in untold),
        watched=[vars(each) for each in watched.reports],
        wrong=wrong,
        answered=watched.answered,
        at_replica=at_replica,
        at_primary=at_primary,
    )
