"""The soak: what the machine can do at all, then half of that for long, and what was so in the end."""

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import psycopg
from tests.benchmarks.machine import Watch
from tests.soak.stage import Load, Scale, Stage, set_up, still_alive
from tests.soak.watching import Sample, Watcher

# Of all requests of trackers and partners, as `make faults` has it.
READS_A_FIX = 0.25
_FIRST, _FACTOR, _FINER = 25.0, 1.6, 2
_STEP_S, _RAMP_S, _PATIENCE_S = 6.0, 1.5, 60.0
# Beyond these it is more than can be done: what 99 of 100 posts wait, what followers do, what was not sent.
_MOST_POST_MS, _MOST_STREAM_MS, _LEAST_DONE = 500.0, 1_000.0, 0.95

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """What was tried, what came of it, and whether that can go on."""

    asked: float
    done: float
    post_p99_ms: float
    stream_p99_ms: float
    backlog: int

    @property
    def holds(self) -> bool:
        return (
            self.done >= _LEAST_DONE * self.asked
            and self.post_p99_ms <= _MOST_POST_MS
            and self.stream_p99_ms <= _MOST_STREAM_MS
        )


@dataclass
class Result:
    """All that was met. ``proofs`` says of each promise what was found; ``unexpected`` is to be empty."""

    scale: Scale
    capacity: list[Step] = field(default_factory=list)
    fixes_per_second: float = 0
    samples: list[Sample] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    proofs: dict[str, str] = field(default_factory=dict)
    others: float = 0
    shares: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        # asdict would make a Counter of pairs of a Counter.
        plain = {"statuses": dict(self.statuses), "unexpected": dict(self.unexpected)}
        return asdict(replace(self, statuses=Counter(), unexpected=Counter())) | plain


def soak(
    scale: Scale, *, seconds: float, each_s: float, fixes_per_second: float | None, tell: Tell
) -> Result:
    """Soak for so long; without a rate at half of what is found to be the most."""
    result = Result(scale)
    with set_up(scale) as stage:
        began = time.monotonic()
        with Load.of_streams(stage, scale) as streams:
            tell(f"{scale.streams:,} streams were opened in {time.monotonic() - began:.1f} s")
            with Load.of_callers(stage, scale) as callers:
                if fixes_per_second is None:
                    fixes_per_second = _capacity(result, callers, streams, tell) / 2
                result.fixes_per_second = fixes_per_second
                tell(f"{fixes_per_second:.0f} fixes/s for {seconds / 60:.1f} minutes")
                met, files = _hold(result, stage, callers, streams, seconds, each_s, tell)
                _prove(result, stage, callers.ask("end"), streams, tell)
        _read_log(result, stage)
        # Asked to end as an operator would, before the rest of the stage goes.
        status = stage.service.stop()
        if status:
            result.unexpected[f"the service ended with {status}"] += 1
        left = sorted(str(each) for each in files if each.exists())
    alive = still_alive(met)
    result.proofs["left behind"] = f"{len(left)} of {len(files)} temporary files, {len(alive)} processes"
    for each in (*left, *alive):
        result.unexpected[f"left behind: {each}"] += 1
    return result


def _capacity(result: Result, callers: Load, streams: Load, tell: Tell) -> float:
    """Return the most fixes a second that can go on, beside as many reads as the soak will have."""
    asked, holds, fails = _FIRST, 0.0, 0.0
    finer = 0
    while finer < _FINER:
        step = _step(callers, streams, asked)
        if not step.holds:
            # Once more: something else may have had the machine for a moment.
            _calm(callers, streams)
            step = _step(callers, streams, asked)
        result.capacity.append(step)
        tell(
            f"  {step.asked:6.0f} fixes/s asked, {step.done:6.0f} done; p99 of posts {step.post_p99_ms:5.0f}"
            f" ms, of the stream {step.stream_p99_ms:5.0f} ms; {step.backlog} wait"
            + ("" if step.holds else ": too much")
        )
        if step.holds:
            holds = asked
        else:
            fails = asked
            _calm(callers, streams)
            if not holds:
                asked /= _FACTOR**2
                assert asked > 1, "nothing can be done here"
                continue
        if fails:
            finer += 1
        asked = (holds * fails) ** 0.5 if fails else holds * _FACTOR
    _calm(callers, streams)
    tell(f"capacity in this setting: {holds:.0f} fixes/s and {holds * READS_A_FIX:.0f} reads/s")
    return holds


def _step(callers: Load, streams: Load, asked: float) -> Step:
    callers.ask(f"rate {asked} {asked * READS_A_FIX}")
    time.sleep(_RAMP_S)
    before = callers.ask("tell")["acknowledged_so_far"]
    streams.ask("tell")
    began = time.monotonic()
    time.sleep(_STEP_S)
    told, of_streams = callers.ask("tell"), streams.ask("tell")
    return Step(
        asked,
        (told["acknowledged_so_far"] - before) / (time.monotonic() - began),
        told["posts"].get("p99", float("inf")),
        of_streams["delay"].get("p99", float("inf")),
        told["backlog"],
    )


def _calm(callers: Load, streams: Load) -> None:
    """Let what waits be done, and forget how long it took."""
    callers.ask("rate 0 0")
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        time.sleep(1)
        told = streams.ask("tell")
        if not callers.ask("tell")["backlog"] and told["least"] == told["most"] and not told["told"]:
            return


def _hold(
    result: Result,
    stage: Stage,
    callers: Load,
    streams: Load,
    seconds: float,
    each_s: float,
    tell: Tell,
) -> tuple[dict[int, float], set[Any]]:
    """Go on at a pace and look at everything; return all processes and temporary files that were met."""
    parts = {**stage.parts, "callers": callers.pid, "streams": streams.pid}
    watch = Watch(parts)
    callers.ask(f"rate {result.fixes_per_second} {result.fixes_per_second * READS_A_FIX}")
    with Watcher(stage, callers, streams) as watcher:
        watch.look()
        began = time.monotonic()
        for number in range(1, max(1, round(seconds / each_s)) + 1):
            time.sleep(max(0.0, began + number * each_s - time.monotonic()))
            sample = watcher.sample()
            result.samples.append(sample)
            result.statuses.update(sample.statuses)
            result.unexpected.update(sample.unexpected)
            if number % max(1, round(60 / each_s)) == 0:
                tell(_line(sample))
        watch.look()
    result.others = watch.others
    result.shares = {part: sum(spent) / watch.took_s for part, spent in watch.spent.items()}
    return watcher.met, watcher.files


def _line(sample: Sample) -> str:
    wanted = ("fixes/s", "post p99 ms", "read p99 ms", "stream p99 ms", "worker 1 PSS MB", "worker 2 PSS MB")
    told = ", ".join(f"{name} {sample.figures.get(name, float('nan')):.0f}" for name in wanted)
    return f"  {sample.at_s / 60:4.1f} min: {told}" + (f"; {sample.unexpected}" if sample.unexpected else "")


def _prove(result: Result, stage: Stage, told: dict[str, Any], streams: Load, tell: Tell) -> None:
    """Compare what was acknowledged and what each was told with what is stored, in its order."""
    tell("comparing what was acknowledged and told with what is stored")
    stored, held = _stored(stage.database_url)
    followed = streams.ask(f"end {len(stored)}")
    for each in (told, followed):
        result.unexpected.update(each["unexpected"])
    result.statuses.update(told["statuses"])
    acknowledged = {(vessel, at) for vessel, at in told["acknowledged"]}
    lost = len(acknowledged - {*stored} - {*held})
    result.proofs["acknowledged = stored"] = (
        f"{len(acknowledged):,} acknowledged, {len(stored):,} stored, {len(held)} held, {lost} lost"
    )
    if lost or len(acknowledged) != len(stored) + len(held):
        result.unexpected["acknowledged is not stored"] += max(1, lost)
    ways = {
        f"{result.scale.streams:,} streams": followed["fixes"],
        "the feed by cursor": told["by_feed"],
        "the named consumer": told["by_consumer"],
    }
    for name, fixes in ways.items():
        is_whole = [(vessel, at) for vessel, at in fixes] == stored
        result.proofs[name] = f"{len(fixes):,} told, in the order stored: {'yes' if is_whole else 'NO'}"
        if not is_whole:
            result.unexpected[f"{name}: not all in order"] += 1
    if followed["behind"]:
        result.unexpected["streams that were not told all"] += followed["behind"]
    result.proofs["streams that came again"] = f"{followed['connected_again']:,}"


def _stored(url: str) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Return all fixes in the committed order, and those in quarantine."""
    moment = "to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
    with psycopg.connect(url) as connection:
        stored = connection.execute(f"SELECT vessel_id, {moment} FROM positions ORDER BY seq").fetchall()
        held = connection.execute(f"SELECT vessel_id, {moment} FROM quarantine").fetchall()
    return stored, held


def _read_log(result: Result, stage: Stage) -> None:
    """Count what the service has logged as wrong."""
    for line in stage.service.log().splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            result.unexpected[f"logged: {line[:200]}"] += 1
            continue
        if told.get("level") in {"warning", "error", "critical"}:
            result.unexpected[f"logged: {told['level']}: {told.get('event')}"] += 1
