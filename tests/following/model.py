"""What each follower must be told, worked out from what a journal says was ever stored and withdrawn.

In plain Python, and knowing nothing of how the feed is read: the journal holds every fix with its number in
the order and the number at which it was withdrawn, if it was. A follower hands in the stretches that it was
told, each between two numbers of the order, and each is held against what lies between them:

- A key that sees fixes as they are is told each of them at its number, and each withdrawal at its. Only a fix
  that was withdrawn again may be missing: it was gone when somebody came by.
- A coarse key is told of each step of time what was its first fix, and in the end holds the one that is.
- A key with a delay is told nothing beyond the first fix that is not due.
"""

import hashlib
import itertools
import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from tests.support import sql
from tests.support.factories import MASTER_KEY

from harbor_api.database import Database
from harbor_api.domain import cursors, feed_cursors
from harbor_api.domain.fleet_search import Box
from harbor_api.domain.vessels import COORDINATE_DECIMALS, coarse_accuracy_m, floored, step_of

Item = Mapping[str, Any]
KEY = cursors.cursor_key(MASTER_KEY)
_ITEM_KEY = feed_cursors.item_key(KEY)
_number = attrgetter("number")
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
# Triggers write down what tables forget: whatever was stored, at which number, and whatever left again.
_JOURNAL = """
CREATE TABLE journal (entry bigint GENERATED ALWAYS AS IDENTITY, at timestamptz, kind text, told jsonb);
CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    -- Of a partition the trigger is told its own name.
    INSERT INTO journal (at, kind, told)
    VALUES (clock_timestamp(), regexp_replace(TG_TABLE_NAME, '^positions_.*', 'positions'), to_jsonb(NEW));
    RETURN NULL;
END $$;
CREATE TRIGGER journal AFTER INSERT ON positions FOR EACH ROW EXECUTE FUNCTION write_down();
CREATE TRIGGER journal AFTER INSERT ON withdrawals FOR EACH ROW EXECUTE FUNCTION write_down();
"""


class Fix(NamedTuple):
    """A fix that was stored at some time: its number, and that of its withdrawal."""

    number: int
    vessel_id: int
    recorded_at: datetime
    tracker_id: int
    row: Mapping[str, Any]
    gone: int | None

    @property
    def key(self) -> tuple[datetime, int]:
        return self.recorded_at, self.tracker_id

    @property
    def due_from(self) -> datetime:
        """When a key without a delay would have known of it at the earliest."""
        return max(self.recorded_at, moment(self.row["received_at"]))


class Withdrawal(NamedTuple):
    """That a fix was withdrawn, at a number."""

    number: int
    vessel_id: int
    recorded_at: datetime
    tracker_id: int
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Eye:
    """How somebody sees: as the key does, and of that what the filters let pass.

    ``grant`` tells of a vessel, and of when was asked and answered, whether she was seen; None: all are.
    """

    name: str = ""
    decimals: int | None = None
    delay_s: float = 0
    box: Box | None = None
    grant: Callable[[int, float, float], Literal["yes", "no", "maybe"]] | None = None

    @property
    def step(self) -> timedelta | None:
        """The steps of time of a coarse key."""
        coarse = self.decimals is not None and self.decimals < COORDINATE_DECIMALS
        return step_of(self.decimals) if coarse and self.decimals is not None else None

    def sees(self, vessel_id: int, asked: float, answered: float) -> str:
        return "yes" if self.grant is None else self.grant(vessel_id, asked, answered)


@dataclass(frozen=True)
class Stretch:
    """What somebody was told between two numbers of the order, the first without and the last within.

    Of one that ``is_lost`` he was told that it is lost.
    """

    after: int
    upto: int
    items: Sequence[Item]
    asked: float
    answered: float
    is_lost: bool = False


def only(*vessel_ids: int) -> Callable[[int, float, float], Literal["yes", "no", "maybe"]]:
    """Return the grant of some vessels, from the beginning to the end."""
    return lambda vessel_id, _asked, _answered: "yes" if vessel_id in vessel_ids else "no"


@dataclass
class Model:
    """All that was ever stored and withdrawn, in the order of its numbers."""

    fixes: Sequence[Fix]
    withdrawals: Sequence[Withdrawal]
    _by_step: dict[timedelta, dict[tuple[int, datetime], list[Fix | Withdrawal]]] = field(
        default_factory=dict
    )

    @property
    def newest(self) -> int:
        return max((each.number for each in (*self.fixes, *self.withdrawals)), default=0)

    def faults(self, eye: Eye, told: Sequence[Stretch], *, is_whole: bool = True) -> list[str]:
        """Return what is wrong with what somebody was told, who began when nothing was stored.

        Unless it ``is_whole``, he has not got to the end, or missed a part and knows it.
        """
        found = [
            f"{eye.name}: after {one.upto} it went on from {other.after}"
            for one, other in itertools.pairwise(told)
            if one.upto != other.after
        ]
        found += [
            f"{eye.name}: back from {each.after} to {each.upto}" for each in told if each.upto < each.after
        ]
        check = self._faults_of_coarse if eye.step else self._faults_of_fine
        for stretch in told:
            if stretch.is_lost:
                continue
            found += [f"{eye.name} ({stretch.after}, {stretch.upto}]: {each}" for each in check(eye, stretch)]
            found += [f"{eye.name}: {each}" for each in self._told_early(eye, stretch)]
        return found + (self._faults_of_held(eye, told) if is_whole else [])

    def held(self, eye: Eye) -> dict[str, Item]:
        """Return what somebody holds in the end, by id: what he may not tell apart is left out."""
        alive = [each for each in self.fixes if each.gone is None and eye.sees(each.vessel_id, 0, 0) == "yes"]
        if eye.step:
            firsts: dict[tuple[int, datetime], Fix] = {}
            for each in sorted(alive, key=lambda one: one.key):
                firsts.setdefault((each.vessel_id, floored(each.recorded_at, eye.step)), each)
            alive = list(firsts.values())
        shown = [upsert(each, eye) for each in alive]
        return {each["id"]: each for each in shown if _is_in(eye.box, each)}

    def _told_early(self, eye: Eye, stretch: Stretch) -> Iterator[str]:
        if not eye.delay_s:
            return
        seen_to = datetime.fromtimestamp(stretch.answered - eye.delay_s, UTC)
        for each in self.fixes:
            if each.number > stretch.upto:
                return
            if each.gone is None and each.number > stretch.after and each.due_from > seen_to:
                yield f"went beyond {each.number}, which is due {each.due_from - seen_to} later"

    def _faults_of_fine(self, eye: Eye, stretch: Stretch) -> Iterator[str]:
        left = list(stretch.items)
        for event in self._between(stretch):
            is_fix = isinstance(event, Fix)
            item = upsert(event, eye) if is_fix else delete(event, eye)
            seen = eye.sees(event.vessel_id, stretch.asked, stretch.answered)
            if seen == "no" or (is_fix and not _is_in(eye.box, item)):
                continue
            if left and left[0] == item:
                left.pop(0)
            elif seen == "yes" and not (is_fix and event.gone is not None):
                yield f"{event.number} is missing, or comes too late: {item}, before {left[:1]}"
        if left:
            yield f"told beside what there is: {left}"

    def _faults_of_coarse(self, eye: Eye, stretch: Stretch) -> Iterator[str]:
        """Each item stands for something that happened in its step, in order; it may show what was first."""
        last = stretch.after
        for item in stretch.items:
            events = self._of(eye, item)
            if eye.sees(item["vessel_id"], stretch.asked, stretch.answered) == "no":
                yield f"not to be seen: {item}"
            numbers = [each.number for each in events if last < each.number <= stretch.upto]
            # Of a fix that is shown, at its own number or at that of something that was withdrawn.
            if item["op"] == "delete":
                numbers = [
                    each.number for each in events if isinstance(each, Withdrawal) and each.number in numbers
                ]
            else:
                shown = [each for each in events if isinstance(each, Fix) and upsert(each, eye) == item]
                if not any(_was_first(each, events) for each in shown):
                    yield f"shows what never was the first of its step: {item}"
                own = {each.number for each in shown}
                numbers = [
                    each.number
                    for each in events
                    if each.number in numbers and (each.number in own or isinstance(each, Withdrawal))
                ]
            if not numbers:
                yield f"out of order, or told beside what there is: {item}"
                return
            last = min(numbers)

    def _of(self, eye: Eye, item: Item) -> list[Fix | Withdrawal]:
        step = eye.step
        assert step is not None
        if step not in self._by_step:
            found: dict[tuple[int, datetime], list[Fix | Withdrawal]] = defaultdict(list)
            for each in self._events:
                found[each.vessel_id, floored(each.recorded_at, step)].append(each)
            self._by_step[step] = found
        return self._by_step[step].get((item["vessel_id"], moment(item["recorded_at"])), [])

    def _faults_of_held(self, eye: Eye, told: Sequence[Stretch]) -> list[str]:
        # What was stored behind the end, by a request that nobody waited for any more, is not asked for.
        later = {_name(each, eye) for each in self._events if each.number > told[-1].upto}
        held, wanted = (
            {name: each for name, each in found.items() if name not in later}
            for found in (applied(told), self.held(eye))
        )
        if eye.grant is not None:
            # What was told of a vessel is nobody's business to take back when she is seen no more.
            sure = [each for each in held.values() if eye.sees(each["vessel_id"], 0, 0) == "yes"]
            held = {each["id"]: each for each in sure}
        if eye.step and eye.box:
            # What took the place of something is held wherever it is: what is wanted must be there, as it is.
            everywhere = self.held(Eye(decimals=eye.decimals, grant=eye.grant))
            wrong = [name for name, each in held.items() if everywhere.get(name) != each]
            wrong += [name for name, each in wanted.items() if held.get(name) != each]
        else:
            wrong = [name for name in held.keys() | wanted.keys() if held.get(name) != wanted.get(name)]
        return [
            f"{eye.name} in the end holds {held.get(name)} and not {wanted.get(name)}"
            for name in sorted(wrong)
        ]

    @cached_property
    def _events(self) -> list[Fix | Withdrawal]:
        found: list[Fix | Withdrawal] = [*self.fixes]
        found += self.withdrawals
        return sorted(found, key=_number)

    def _between(self, stretch: Stretch) -> list[Fix | Withdrawal]:
        first, end = (bisect_right(self._events, each, key=_number) for each in (stretch.after, stretch.upto))
        return self._events[first:end]


def _was_first(fix: Fix, events: Sequence[Fix | Withdrawal]) -> bool:
    """Tell whether a fix was the first of its step for somebody, of what came up to some number.

    Of that what was withdrawn behind it may be gone already when a key with a delay comes by.
    """
    fixes = [each for each in events if isinstance(each, Fix)]
    ends = [each.number for each in events if each.number >= fix.number]
    return any(
        not any(
            each.key < fix.key and each.number <= upto and not (each.gone is not None and each.gone <= seen)
            for each in fixes
        )
        for upto in ends
        for seen in ends
        if seen >= upto and (fix.gone is None or seen < fix.gone)
    )


def applied(told: Iterable[Stretch]) -> dict[str, Item]:
    """Return what somebody holds who has applied all that he was told, by id."""
    held: dict[str, Item] = {}
    for stretch in told:
        for item in stretch.items:
            held.pop(item["id"], None)
            if item["op"] == "upsert":
                held[item["id"]] = item
    return held


def upsert(fix: Fix, eye: Eye) -> Item:
    """Return the item that tells of a fix."""
    row, step, decimals = fix.row, eye.step, eye.decimals
    received_at = moment(row["received_at"])
    item = {
        "op": "upsert",
        "id": _name(fix, eye),
        "vessel_id": fix.vessel_id,
        "recorded_at": _text(fix.recorded_at if step is None else floored(fix.recorded_at, step)),
        "received_at": _text(received_at if step is None else floored(received_at, step)),
        **{name: row[name] for name in ("lat", "lon", "sog", "cog", "heading", "nav_status", "accuracy_m")},
        "late": bool(row["late"]),
        "released": row["released_at"] is not None,
    }
    if step is not None and decimals is not None:
        item |= {name: _rounded(row[name], decimals) for name in ("lat", "lon")}
        item |= {name: row[name] and round(row[name] / 45) * 45 % 360 for name in ("cog", "heading")}
        item |= {"sog": row["sog"] and round(row["sog"] / 5) * 5}
        item |= {"accuracy_m": coarse_accuracy_m(decimals)}
    return item


def delete(gone: Withdrawal, eye: Eye) -> Item:
    """Return the item that tells of a withdrawal."""
    at = gone.recorded_at if eye.step is None else floored(gone.recorded_at, eye.step)
    return {
        "op": "delete",
        "id": _name(gone, eye),
        "vessel_id": gone.vessel_id,
        "recorded_at": _text(at),
    }


def _name(of: Fix | Withdrawal, eye: Eye) -> str:
    if eye.step is None:
        parts = [of.vessel_id.to_bytes(4, "big"), of.tracker_id.to_bytes(4, "big"), _sent(of.recorded_at)]
    else:
        parts = [of.vessel_id.to_bytes(4, "big"), _sent(floored(of.recorded_at, eye.step))]
    digest = hashlib.sha256(_ITEM_KEY + b"".join(parts)).digest()[:9]
    return feed_cursors.urlsafe_b64encode(digest).decode()


def _sent(moment: datetime) -> bytes:
    return ((moment - _POSTGRES_EPOCH) // timedelta(microseconds=1)).to_bytes(8, "big", signed=True)


def _rounded(value: float, decimals: int) -> float:
    exponent = Decimal(1).scaleb(-decimals)
    return float(Decimal(f"{value:.15g}").quantize(exponent, rounding=ROUND_HALF_UP))


def _is_in(box: Box | None, item: Item) -> bool:
    return box is None or box.holds(item["lat"], item["lon"])


def moment(text: str) -> datetime:
    """Return the moment that a text of PostgreSQL or of ours tells, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def keep_journal(database: Database) -> None:
    """Have a database write down from now on what happens in it."""
    sql.run(database, _JOURNAL)


def begin_anew(database: Database) -> None:
    """Forget all fixes, and what the journal says of them."""
    sql.run(database, "TRUNCATE positions, latest_positions, withdrawals, quarantine, journal, feed_floor")


def read(database: Database) -> Model:
    """Return what has happened so far."""
    entries = sql.run(database, "SELECT kind, told::text FROM journal ORDER BY (told->>'seq')::bigint")
    rows = [(kind, json.loads(told)) for kind, told in entries]
    withdrawals = [
        Withdrawal(
            row["seq"],
            row["vessel_id"],
            moment(row["recorded_at"]),
            row["tracker_id"],
            moment(row["withdrawn_at"]),
        )
        for kind, row in rows
        if kind == "withdrawals"
    ]
    gone: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for each in withdrawals:
        gone[each.vessel_id, each.recorded_at, each.tracker_id].append(each.number)
    fixes = []
    for kind, row in rows:
        if kind == "positions":
            name = (row["vessel_id"], moment(row["recorded_at"]), row["tracker_id"])
            later = [number for number in gone[name] if number > row["seq"]]
            fixes.append(Fix(row["seq"], *name, row, min(later, default=None)))
    return Model(fixes, withdrawals)


def number_of(cursor: str) -> int:
    """Return the number of the order that a cursor stands for."""
    return feed_cursors.number_in(KEY, cursor, tag=cursor.partition(".")[0])


def number_of_fleet(cursor: str, *, holder: int) -> int:
    """Return the number of the order that a cursor of the fleet stands for, which a key was given."""
    [number] = cursors.unseal(KEY, cursor, holder=holder, of=cursors.fingerprint("order", {}))
    return int(number)
