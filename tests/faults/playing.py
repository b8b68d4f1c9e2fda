"""A fault is played while callers go on, and what they met is told."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tests.faults.fault import Fault, Promised
from tests.faults.stage import Stage, Traffic, set_up
from tests.faults.traffic import ACKNOWLEDGED, Order, Seen
from tests.support.signed_posts import percentile


@dataclass(frozen=True)
class Row:
    """What callers met beside a fault.

    ``in_flight`` is how many requests were under way when it was done; ``recovered_s`` how long after that
    the last one failed, 0 where none did. ``slowest_ms`` is the longest that anybody waited. ``untold`` is
    how many were told to come again and not when; ``told`` what else the fault has to tell.
    """

    fault: Promised
    asked: int
    in_flight: int
    errors: Mapping[str, int]
    acknowledged: int
    lost: int
    given_up: int
    untold: int
    recovered_s: float
    took_s: float
    p50_ms: float
    slowest_ms: float
    told: str

    def faults(self) -> list[str]:
        """Return what was promised and is not so."""
        found = []
        if self.lost:
            found.append(f"{self.lost} acknowledged fixes are lost")
        if self.given_up:
            found.append(f"{self.given_up} fixes were never acknowledged")
        if self.untold:
            found.append(f"{self.untold} refusals do not say when to come again")
        if others := {name: many for name, many in self.errors.items() if name not in self.fault.allowed}:
            found.append(f"callers met {others}")
        if not self.acknowledged:
            found.append("nothing was acknowledged")
        return [f"{self.fault.name}: {each}" for each in found]


def play(fault: Fault, order: Order, *, calm_s: float) -> Row:
    """Do what the fault is, with some calm before and after it."""
    with set_up(fault.kind, fault.ground, trackers=order.trackers, **fault.settings) as stage:
        order = replace(
            order,
            port=stage.nginx.port,
            certificate=str(stage.nginx.certificate),
            key=stage.key,
            **fault.traffic,
        )
        with Traffic(order) as traffic:
            time.sleep(calm_s)
            began = time.monotonic()
            told = fault.do(stage) or ""
            took_s = time.monotonic() - began
            time.sleep(calm_s)
            seen = traffic.end()
        return row_of(fault, stage, seen, began, took_s, told)


def row_of(fault: Promised, stage: Stage, seen: Seen, began: float, took_s: float, told: str) -> Row:
    """Return what callers met beside a fault that was done at ``began`` and took so long."""
    failed = [each for each in seen.attempts if each[3] not in ACKNOWLEDGED]
    took = [ended - started for _, started, ended, _ in seen.attempts]
    return Row(
        fault=fault,
        asked=len(seen.attempts),
        in_flight=sum(started <= began < ended for _, started, ended, _ in seen.attempts),
        errors=dict(Counter(outcome for *_, outcome in failed)),
        acknowledged=len(seen.acknowledged),
        lost=stage.lost(seen),
        given_up=seen.given_up,
        untold=seen.untold,
        recovered_s=max([0.0, *(ended - began for _, _, ended, _ in failed)]),
        took_s=took_s,
        p50_ms=1000 * percentile(took, 0.5),
        slowest_ms=1000 * max(took),
        told=told,
    )
