"""Which positions are kept no longer, and how they go: whole months at once, all else row by row.

By the setting a month goes once all of it is too old, and of the partition of all that is older what is. Of
a vessel of which something is said (``domain.keeping``) exactly that goes which is older than said, and no
month is dropped in which something of hers is kept: it is emptied of all others, and goes once nothing is
left to keep. What goes and came in after the floor of the feed is told to followers as with what is
withdrawn; a vessel's latest position stays.

What is said may change meanwhile: each step asks anew, under a lock that whoever says something waits for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.api_keys import ApiKey
from harbor_api.domain.consumers import Consumer
from harbor_api.domain.keeping import EVER, Keeping
from harbor_api.postgres.partitions import Partition
from harbor_api.postgres.tables import KEEPING_LOCK
from harbor_api.services import feed_floor, maintenance
from harbor_api.services.feed_floor import Floor
from harbor_api.services.maintenance import AT_ONCE, AT_ONCE_TOLD, in_steps, patiently

_COUNTED = 1_000_000
# What is kept of any vessel is kept for as long at least.
_SHORTEST = timedelta(days=1)
# How often a partition is tried to be dropped into which somebody stores meanwhile.
_DROPPED = 3
# Of so many vessels it is asked at once what goes of what is said of them.
_ASKED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What is said of a vessel, her name, and how many fixes go by it, counted up to a million.

    Keys that are ``blind`` see her so late that by then all of hers is gone.
    """

    keeping: Keeping
    name: str
    before: datetime
    count: int
    blind: Sequence[ApiKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """What becomes of positions as of a moment; ``before`` is what the setting keeps no longer.

    Partitions ``to_drop`` go whole. Those ``to_empty`` hold something of vessels that keep it, and what is
    older than ``before`` of all others goes; of those ``to_trim`` what is. The ``floor`` is where the feed's
    comes to be; consumers that are ``behind`` it will be told that something is missing, and keys that are
    ``blind`` see so late that they can be told nothing.
    """

    now: datetime
    before: datetime
    floor: Floor
    to_drop: Sequence[Partition]
    to_empty: Sequence[tuple[Partition, Sequence[int]]]
    to_trim: Sequence[Partition]
    behind: Sequence[tuple[Consumer, ApiKey]]
    blind: Sequence[ApiKey]

    @property
    def is_general(self) -> bool:
        """Whether anything of vessels may go of which nothing is said."""
        return bool(self.to_drop or self.to_empty or self.to_trim)


@dataclass(frozen=True, slots=True)
class Dropped:
    """Of how many fixes of a partition followers were told, and whether it is gone: not where by now
    something in it is to be kept. It ``is_spared`` where it was on its way out before a hold that it is
    under."""

    told: int
    is_gone: bool
    is_spared: bool = False


def plan(unit_of_work: UnitOfWork, keep: timedelta | None, *, future_tolerance: timedelta) -> Expiry:
    """Return what would go of positions that are kept for so long, None for ever. Nothing is changed."""
    now = unit_of_work.order.standing().moment
    if keep is None:
        number, at = unit_of_work.feed_floor.find() or (0, now)
        return Expiry(
            now=now,
            before=EVER,
            floor=Floor(number=number, at=at, is_new=False),
            to_drop=[],
            to_empty=[],
            to_trim=[],
            behind=[],
            blind=[],
        )
    before = now - keep
    floor = feed_floor.after(unit_of_work, keep)
    there = unit_of_work.partitions.all()
    to_drop, to_empty = _of_old(unit_of_work, there, before, now=now)
    return Expiry(
        now=now,
        before=before,
        floor=floor,
        to_drop=to_drop,
        to_empty=to_empty,
        to_trim=[
            each
            for each in there
            if each.since is None and not each.is_going and each.until is not None and each.until > before
        ],
        behind=[*maintenance.behind(unit_of_work, floor, future_tolerance=future_tolerance)],
        blind=[*maintenance.blind(unit_of_work, keep)],
    )


def own(unit_of_work: UnitOfWork, now: datetime) -> Iterator[Own]:
    """Yield what is said of vessels, and what would go by it."""
    late = [*maintenance.blind(unit_of_work, _SHORTEST)]
    for name, keeping in unit_of_work.keeping.all():
        before = keeping.goes_before(now, EVER)
        yield Own(
            keeping=keeping,
            name=name,
            before=before,
            count=unit_of_work.partitions.count(keeping.vessel_id, before, most=_COUNTED),
            blind=[key for key in late if _is_blind(key, keeping)],
        )


def _is_blind(key: ApiKey, keeping: Keeping) -> bool:
    is_late = keeping.age is not None and timedelta(seconds=key.terms.delay_s) >= keeping.age
    return is_late and (key.terms.vessel_ids is None or keeping.vessel_id in key.terms.vessel_ids)


def drop(database: Database, partition: Partition, *, now: datetime, number: int) -> Dropped:
    """Drop a partition, and have followers told of the fixes in it that came after the floor's ``number``.

    Those are late as they were recorded: they go as what is withdrawn does. All others are below the floor.
    Unavailable where the partition is in use for longer than is waited.
    """
    told = 0
    since, until = partition.since or EVER, partition.until
    if partition.is_going or until is None:
        is_finished = patiently(lambda: _finish(database, partition))
        return Dropped(told, is_gone=is_finished, is_spared=not is_finished)

    def tell(unit_of_work: UnitOfWork, most: int) -> int:
        unit_of_work.keeping.share()
        if unit_of_work.keeping.kept(since, until, now=now):
            return 0
        names = unit_of_work.partitions.above(number, since, until, most=most)
        return unit_of_work.partitions.erase(names, since, until) if names else 0

    def drop_at_last() -> bool | None:
        with database.sharing(KEEPING_LOCK):
            with database.autocommit() as unit_of_work:
                if unit_of_work.keeping.kept(since, until, now=now):
                    return False
                if unit_of_work.partitions.above(number, since, until, most=1):
                    return None
            return database.drop_partition(partition.name)

    for _ in range(_DROPPED):
        told += in_steps(database, tell, most=AT_ONCE_TOLD)
        is_gone = patiently(drop_at_last)
        if is_gone is not None:
            return Dropped(told, is_gone=is_gone)
    # Somebody stores into it all the time: it goes the next time.
    return Dropped(told, is_gone=False)


def _finish(database: Database, partition: Partition) -> bool:
    """Drop what is left of a partition that was on its way out; tell whether it is gone.

    Nobody sees any more what it holds, but it is there: it stays where anything in it is of a vessel that has
    come under a hold since.
    """
    with database.sharing(KEEPING_LOCK):
        with database.autocommit() as unit_of_work:
            held = [each.vessel_id for _, each in unit_of_work.keeping.all() if each.is_held]
        return database.drop_partition(partition.name, spared=held)


def trim(database: Database, partition: Partition, *, before: datetime, now: datetime, number: int) -> int:
    """Delete what was recorded before a moment in a partition, but of vessels of which something is said.

    ``number`` is the floor's; followers are told of what came after it. Returns how many fixes that were.
    """
    since, until = partition.since or EVER, partition.until
    if until is None:
        return 0
    gone = 0
    for vessel_id in _vessels_in(database, since, min(until, before)):
        gone += _delete(database, vessel_id, [(since, until)], usual=before, now=now, number=number)
    return gone


def trim_own(database: Database, *, now: datetime, number: int) -> Iterator[tuple[int, int]]:
    """Delete what is kept no longer by what is said of vessels; yield each and how many fixes that were."""
    with database.autocommit() as unit_of_work:
        there = unit_of_work.partitions.all()
    for vessel_id, oldest in _expired(database, now):
        spans = [
            (each.since or EVER, each.until)
            for each in there
            if each.until is not None and each.until > oldest
        ]
        yield vessel_id, _delete(database, vessel_id, spans, usual=EVER, now=now, number=number)


def _expired(database: Database, now: datetime) -> Iterator[tuple[int, datetime]]:
    """Yield the vessels of which something goes by what is said of them, and when the oldest was recorded."""
    after = 0
    while True:
        with database.autocommit() as unit_of_work:
            found = unit_of_work.keeping.expired(after, now=now, most=_ASKED)
        yield from ((vessel_id, oldest) for vessel_id, oldest in found if oldest is not None)
        if len(found) < _ASKED:
            return
        after = found[-1][0]


def _of_old(
    unit_of_work: UnitOfWork, there: Sequence[Partition], before: datetime, *, now: datetime
) -> tuple[list[Partition], list[tuple[Partition, list[int]]]]:
    """Return the partitions that go whole and those that are emptied, with the vessels because of which.

    An empty month behind one that stays is left: it would be made again to close the gap.
    """
    to_drop: list[Partition] = []
    to_empty: list[tuple[Partition, list[int]]] = []
    for each in there:
        if each.is_going or each.until is None:
            to_drop.append(each)
        elif each.until <= before:
            since = each.since or EVER
            kept = unit_of_work.keeping.kept(since, each.until, now=now)
            if kept:
                to_empty.append((each, kept))
            elif not to_empty or unit_of_work.partitions.above(-1, since, each.until, most=1):
                to_drop.append(each)
    return to_drop, to_empty


def _vessels_in(database: Database, since: datetime, until: datetime) -> Iterator[int]:
    """Yield the vessels of which anything is in a part of one partition."""
    after = 0
    while True:
        with database.autocommit() as unit_of_work:
            found = unit_of_work.partitions.vessels(after, since, until, most=AT_ONCE)
        yield from (vessel_id for vessel_id, is_there in found if is_there)
        if len(found) < AT_ONCE:
            return
        after = found[-1][0]


def _delete(
    database: Database,
    vessel_id: int,
    spans: Sequence[tuple[datetime, datetime]],
    *,
    usual: datetime,
    now: datetime,
    number: int,
) -> int:
    """Delete what is kept no longer of a vessel in parts of a partition each; return how many fixes.

    First what is below the floor, of which nobody is told, and then all that is left.
    """
    return sum(
        _delete_of_one(database, vessel_id, *span, usual=usual, now=now, number=number) for span in spans
    )


def _delete_of_one(
    database: Database,
    vessel_id: int,
    since: datetime,
    until: datetime,
    *,
    usual: datetime,
    now: datetime,
    number: int,
) -> int:
    def end_of(unit_of_work: UnitOfWork) -> datetime:
        unit_of_work.keeping.share()
        return min(until, unit_of_work.keeping.find(vessel_id).goes_before(now, usual))

    def trim_some(unit_of_work: UnitOfWork, most: int) -> int:
        end = end_of(unit_of_work)
        return unit_of_work.partitions.trim(vessel_id, since, end, number=number, most=most)

    def tell_some(unit_of_work: UnitOfWork, most: int) -> int:
        end = end_of(unit_of_work)
        names = unit_of_work.partitions.of_vessel(vessel_id, since, end, most=most)
        return unit_of_work.partitions.erase(names, since, end) if names else 0

    return in_steps(database, trim_some) + in_steps(database, tell_some, most=AT_ONCE_TOLD)
