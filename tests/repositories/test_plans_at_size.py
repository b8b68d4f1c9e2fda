"""No statement touches more than its answer takes, however much is stored: counted, never timed.

Each row of the table is a call of a repository, usual or extreme, and the most rows and buffers that it may
touch, as a formula of what is asked for. A statement or a method without a row fails.
"""

import hashlib
import importlib
import inspect
import pkgutil
import runpy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import ModuleType
from typing import Any

import psycopg
import pytest
from sqlalchemy import Executable, Update, event
from tests.conftest import NewDatabase
from tests.repositories.measuring import AtSize, Row, beyond, plan, prepare, touched_by
from tests.repositories.plans import SIZES, SMALL, STEP_S, MeasuringConnection, fill
from tests.support.factories import ACTOR, EVERYTHING, FUTURE_TOLERANCE, fleet_of

from harbor_api import repositories
from harbor_api.database import Database
from harbor_api.domain.api_keys import Caller, KeyTerms
from harbor_api.domain.errors import Conflict, NotFound
from harbor_api.domain.feed import Following
from harbor_api.domain.figures import MOST_HELD
from harbor_api.domain.fleet_search import Box
from harbor_api.domain.history import Window
from harbor_api.domain.keeping import Keeping, KeepingTerms
from harbor_api.domain.moments import GAP
from harbor_api.domain.order import Horizon
from harbor_api.domain.positions import Fix, Motion, NamedFix, ReceivedFix, stretches_of
from harbor_api.domain.quarantine import Selection
from harbor_api.domain.received_columns import ReceivedColumns
from harbor_api.domain.trackers import Assignment, Tracker
from harbor_api.domain.vessels import VesselDetails
from harbor_api.postgres import connections, distribution
from harbor_api.postgres.sight import Sight
from harbor_api.postgres.statements import Statement
from harbor_api.repositories.feed import MOST_SCANNED, MOST_SCANNED_COARSELY, Feed
from harbor_api.repositories.fleet import MOST_NEWS
from harbor_api.repositories.keeping import Keepings
from harbor_api.repositories.revisions import OUTVOTED_BY_OTHERS
from harbor_api.schemas.history import WRITERS

FIXES, VESSELS, TRACKERS, KEYS = (SIZES[each] for each in ("fixes", "vessels", "trackers", "keys"))
NOW = datetime.now(UTC)
# What is stored ends now: what a key with a delay sees moves on in steps of a sixtieth of it, which are days
# where all is of long ago. This one sees half.
BEGAN = NOW - timedelta(seconds=FIXES * STEP_S)
LATE_S = FIXES // 2 * STEP_S
# Vessels that have sent nothing, that have nothing in quarantine, and that are about to have.
SILENT, CLEAN, TROUBLED = VESSELS - 5, 90, 91
# The most fixes of a request, a page with the one beyond it, and the most jumps on each side.
N, PAGE, MOST = 1_000, 101, 8
MIDST = FIXES // 2 + 0.5
LAST_TRACKERS = range(TRACKERS - N + 1, TRACKERS + 1)
# As many keys as are looked up together, at most.
LAST_KEYS = range(KEYS - 249, KEYS + 1)
# What the keys cost that one key has issued.
DESCENDED = 15 * (KEYS // 100 + 10)


def at(n: float) -> datetime:
    return BEGAN + timedelta(seconds=n * STEP_S)


# Later than all that is stored or held.
AFTER_ALL = at(4 * FIXES)


def fix(vessel: int, n: float) -> ReceivedFix:
    """Return the n-th fix of a vessel: stored where n is whole, 1 to FIXES, and the vessel sails."""
    motion = Motion(lat=59.9, lon=10.7, sog=8.4, cog=181.2, heading=180)
    return ReceivedFix(vessel, vessel, at(n), Fix(at(n), motion), {"lat": 59.9})


def fixes(vessel: int, numbers: Iterable[float]) -> list[ReceivedFix]:
    return [fix(vessel, n) for n in numbers]


def one_each(count: int, n: float) -> list[ReceivedFix]:
    return [fix(vessel, n) for vessel in range(1, count + 1)]


NEW = range(FIXES + 1, FIXES + N + 1)
LAST = range(FIXES - N + 1, FIXES + 1)
SCATTERED = range(1, FIXES, FIXES // N)
BETWEEN = [n + 0.5 for n in SCATTERED]


def add(u: AtSize, received_fixes: Sequence[ReceivedFix]) -> None:
    u.run_last(u.positions.addition(ReceivedColumns.of(received_fixes)))


def around(u: AtSize, received_fixes: Iterable[ReceivedFix]) -> None:
    u.positions.around(stretches_of(received_fixes))


def hold(u: AtSize, received_fixes: Iterable[ReceivedFix], reason: str = "future") -> None:
    u.quarantine.hold((received_fix, reason) for received_fix in received_fixes)


def hold_again(u: AtSize) -> None:
    for _ in range(2):
        hold(u, fixes(9, NEW))


def held(u: AtSize, after: int = 0, limit: int = PAGE, **wanted: Any) -> None:
    u.quarantine.search(after=after, limit=limit, **wanted)


def near(u: AtSize, vessel: int, numbers: Iterable[float]) -> None:
    u.quarantine.near({vessel: [(None, at(n), None) for n in numbers]}, most=MOST)


def select(u: AtSize, **wanted: Any) -> None:
    u.quarantine.selected(Selection(**wanted), most=MANY)


def count(u: AtSize, **wanted: Any) -> None:
    u.quarantine.count(Selection(**wanted), most=MANY)


def held_ones(numbers: Iterable[int]) -> list[NamedFix]:
    """Return the names of what is held, as ``plans`` makes it."""
    return [NamedFix(1 if n % 5 < 4 else 2 + n % 50, BEGAN + timedelta(seconds=7 * n), 1) for n in numbers]


def about(u: AtSize, names: Iterable[tuple[int, datetime, int]]) -> None:
    u.revisions.about([NamedFix(*each) for each in names], stored=4)


def take_back(u: AtSize, names: Iterable[tuple[int, datetime, int]]) -> None:
    named = [NamedFix(*each) for each in names]
    for statement in u.revisions.taking_back(named, OUTVOTED_BY_OTHERS, at=NOW):
        u.run_last(statement)


def release(u: AtSize, names: Iterable[tuple[int, datetime, int]]) -> None:
    u.run_last(u.revisions.releasing([NamedFix(*each) for each in names], by="somebody", at=NOW))


def reject(u: AtSize, names: Iterable[NamedFix]) -> None:
    u.revisions.reject(names, by="somebody", at=NOW)


def newest(u: AtSize, number: int, since: float) -> None:
    aboard = (Assignment(vessel_id=3, starts_at=BEGAN),)
    tracker = Tracker(number=number, label="", generation=1, assignments=aboard)
    with suppress(Conflict):
        u.trackers.newest_fix(tracker, since=at(since))


def horizon(u: AtSize, delay_s: int) -> None:
    u.order.horizon(timedelta(seconds=delay_s), future_tolerance=FUTURE_TOLERANCE)


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def present(u: AtSize, *secrets: str) -> None:
    u.api_keys.present([digest(each) for each in secrets], now=NOW)


def terms(vessels: Iterable[int] | None) -> KeyTerms:
    return KeyTerms(name="partner", vessel_ids=None if vessels is None else frozenset(vessels))


def trail(u: AtSize, subject: str | None, *, after: int | None = None, newest_first: bool = True) -> None:
    u.audit.search(after=after, limit=PAGE, newest_first=newest_first, subject=subject)


def viewer(key: int, *, delay_s: int = 0, decimals: int | None = None) -> Caller:
    return replace(EVERYTHING, id=key, all_vessels=key > 1000, delay_s=delay_s, coordinate_decimals=decimals)


def beside(key: Caller, rows: float, buffers: float) -> tuple[float, float]:
    """Return what a read may touch beside what it takes to find how far a key with a delay sees.

    Up to all fixes of a quarter of an hour are read for that, one by one: how many hangs on the time of day.
    """
    return (rows + 15_000, buffers + 15_000) if key.delay_s else (rows, buffers)


def look(u: AtSize, key: Caller) -> None:
    fleet_of(u, key).get(88)


def look_on(u: AtSize, key: Caller, last: int) -> None:
    fleet_of(u, key).after(last, most=CHUNK)


def look_again(u: AtSize, key: Caller, count: int) -> None:
    fleet_of(u, key).news(u.order.standing().number - count)


FOLLOWED = Following()
# Of so many vessels something is said.
KEPT = 10


def feed_of(u: AtSize, key: Caller) -> Feed:
    sight = u.sight(key, future_tolerance=FUTURE_TOLERANCE)
    return u.feed(sight, item_key=b"item")


def follow(
    u: AtSize, key: Caller, how: str, *, behind: int, following: Following = FOLLOWED, limit: int = PAGE
) -> None:
    """Read of the feed what comes so many numbers before the end of it."""
    after = max(0, u.order.standing().number - behind)
    getattr(feed_of(u, key), how)(after, following, limit=limit)


def prune_withdrawals(u: AtSize) -> None:
    """Withdraw twice as many as are pruned at once, and prune some."""
    take_back(u, ((6, at(n), 6) for n in range(FIXES - 2 * N, FIXES)))
    u.feed_floor.lift(2**62, NOW)
    u.feed_floor.prune(most=N)


def above(u: AtSize, number: int) -> None:
    u.partitions.above(number, at(10), at(60), most=PAGE)


def of_vessel(u: AtSize, *, most: int) -> list[NamedFix]:
    return u.partitions.of_vessel(8, at(0), at(2 * N), most=most)


def vessels_in(u: AtSize, *, until: float) -> None:
    u.partitions.vessels(0, at(-2), at(until), most=PAGE)


def keep(vessel: int, days: int = 30) -> Keeping:
    return Keeping(vessel_id=vessel, terms=KeepingTerms(keep_positions_days=days))


def after_some_are_kept(u: AtSize) -> Keepings:
    for vessel in range(1, KEPT + 1):
        u.keeping.put(keep(vessel))
    return u.keeping


def expired(u: AtSize) -> None:
    after_some_are_kept(u).expired(0, now=NOW, most=N)


def trim(u: AtSize, vessel: int = 7) -> None:
    u.partitions.trim(vessel, at(0), at(2 * N), number=2**62, most=N)


def erase(u: AtSize) -> None:
    u.partitions.erase(of_vessel(u, most=N), at(0), at(2 * N))


def columns(u: AtSize, key: Caller, vessel: int = 3, *, of: int = N, since: float = 0, most: int = N) -> None:
    horizon = Horizon(moment=at(FIXES // 2), number=2**62) if key.delay_s else None
    with suppress(NotFound):
        u.tracks(Sight.of(key, horizon)).columns(vessel, at(since), at(since + of), most=most)


def past(u: AtSize, key: Caller, vessel: int = 88, **wanted: Any) -> None:
    """Read a page of a history: all of it as it stands, or a further one of what stood in the midst."""
    form, limit = WRITERS[wanted.pop("format", "json")].form, wanted.pop("limit", N)
    further = {name: wanted.pop(name) for name in ("number", "beyond", "end") if name in wanted}
    sight = u.sight(key, future_tolerance=FUTURE_TOLERANCE)
    window = Window(vessel_id=vessel, **wanted)
    with suppress(NotFound):
        u.history(sight).page(window, form, limit=limit, **further)


def then(u: AtSize, key: Caller, vessels: Iterable[int], n: float) -> None:
    """Look for what is known of vessels when they have sent their n-th fix, late up to half of all."""
    horizon = Horizon(moment=at(FIXES / 2), number=2**62) if key.delay_s else None
    u.moments(Sight.of(key, horizon), at(n)).fixes(list(vessels), gap=GAP)


def vessels_then(u: AtSize, key: Caller, **wanted: Any) -> None:
    u.moments(Sight.of(key, None), at(MIDST)).vessels(**{"most": PAGE, **wanted})


def add_first_key(u: AtSize) -> None:
    u.master_key.add(b"first")
    u.master_key.add(b"second")


def claim(u: AtSize, n: int, key: str | None = None) -> None:
    u.idempotency_keys.claim(1 + n % KEYS, key or f"key {n}", fingerprint=b"", nonce=b"")


# All see all vessels, five, and all by their names.
ALL, FIVE, NAMED = viewer(2000), viewer(777), viewer(1)
ALL_LATE, FIVE_LATE, NAMED_LATE = (viewer(key.id, delay_s=LATE_S) for key in (ALL, FIVE, NAMED))
COARSE = [
    viewer(key.id, delay_s=delay_s, decimals=1) for key in (ALL, FIVE, NAMED) for delay_s in (0, LATE_S)
]
EACH_KIND = [ALL, ALL_LATE, *COARSE[:2]]
# How many vessels are read at once where all are.
CHUNK = 500
# The reasons and states of what is held make up so many kinds, at most.
KINDS = 10
FEW_ROWS, FEW_BUFFERS = 8 * KINDS, 15 * KINDS
PAGE_ROWS, PAGE_BUFFERS = KINDS * (PAGE + 8), KINDS * (PAGE + 15)
# The most that are decided on at once, of each reason.
MANY = 250
FUTURE, ANY = Selection(reason="future"), Selection(since=BEGAN)

ROWS = [
    # First: what others have written and rolled back leaves the end of the index full for who comes next.
    Row("Order.standing", lambda u: u.order.standing(), 10, 100),
    Row("Order.edited", lambda u: u.order.edited(), 4, 20),
    Row("Order.fence nothing", lambda u: u.order.fence(), 12, 100),
    Row("FeedFloor.prune nothing", lambda u: u.feed_floor.prune(most=N), 10, 40),
    *(
        Row(f"Order.horizon {name}", partial(horizon, delay_s=delay_s), most, most)
        # A delay that ends before the first fix, and in the midst of all: fixes of ten minutes and of what is
        # tolerated are read one by one.
        for name, delay_s, most in (("all", 10**9, 500), ("half", LATE_S, 10_000), ("now", 1, 10_000))
    ),
    *(
        Row(
            f"History.page of {limit} as {name}, {wanted}",
            partial(past, key=key, limit=limit, **wanted),
            *beside(key, each_row * limit + 60, each_row * limit + 120),
        )
        # A coarse key's step of 0.1 degrees is 72 minutes, and is found by probes, whatever is in it.
        for name, key, each_row in (
            ("a key that sees all", ALL, 4),
            ("one that sees five", viewer(777 + 20), 4),
            ("one that is late", ALL_LATE, 4),
            ("one that is coarse", COARSE[0], 20),
            ("one that is coarse and late", COARSE[1], 20),
        )
        for limit, wanted in (
            (N, {}),
            (N, {"descending": True}),
            (10, {"since": at(MIDST), "until": at(MIDST + 2_000)}),
            (10, {"since": at(MIDST), "descending": True, "beyond": (at(MIDST + 500), 88)}),
            # The last page of what stood in the midst: half of all has come since.
            (10, {"number": int(100 * MIDST), "beyond": (at(MIDST - 5), 88), "end": at(MIDST)}),
        )
    ),
    *(
        Row(
            f"History.page as {name}, to {who}, newest first: {descending}",
            partial(past, key=key, format=name, descending=descending),
            each_row * N + 60,
            each_row * N + 120,
        )
        for who, key, each_row in (("all", ALL, 4), ("a coarse key", COARSE[0], 20))
        for name in WRITERS
        for descending in (False, True)
    ),
    Row("History.page of a silent vessel", partial(past, key=ALL, vessel=SILENT), 20, 100),
    Row("History.page of no vessel", partial(past, key=ALL, vessel=2 * VESSELS), 10, 100),
    Row("History.page not granted", partial(past, key=FIVE, vessel=1), 10, 100),
    Row("Positions.admit one", lambda u: u.positions.admit([1], [1]), 10, 10),
    Row("Positions.admit without trackers", lambda u: u.positions.admit([1], []), 10, 0),
    Row("Positions.admit many", lambda u: u.positions.admit(range(1, N), range(1, N)), 5 * N, 4 * N),
    Row("Positions.around a newer one", lambda u: around(u, fixes(3, [FIXES + 1])), 10, 30),
    Row(
        "Positions.around a newer one each",
        lambda u: around(u, one_each(N, FIXES + 1)),
        4 * N,
        12 * N,
    ),
    Row("Positions.around many newer ones", lambda u: around(u, fixes(3, NEW)), 10, 30),
    Row("Positions.around one in the midst", lambda u: around(u, fixes(3, [MIDST])), 10, 40),
    Row(
        "Positions.around one in the midst each",
        lambda u: around(u, one_each(100, MIDST)),
        800,
        2500,
    ),
    Row("Positions.around both ends", lambda u: around(u, fixes(3, [0.5, FIXES + 1])), 60, 150),
    Row("Positions.around a repeated end", lambda u: around(u, fixes(3, LAST)), 2 * N, 2 * N),
    Row("Positions.around many all over", lambda u: around(u, fixes(3, BETWEEN)), 15 * N, 40 * N),
    Row("Positions.around many among held", lambda u: around(u, fixes(1, BETWEEN)), 20 * N, 40 * N),
    Row("Positions.around a silent vessel", lambda u: around(u, fixes(SILENT, NEW)), 10, 30),
    Row("Positions.addition one", lambda u: add(u, fixes(4, [FIXES + 1])), 15, 30),
    Row("Positions.addition many", lambda u: add(u, fixes(4, NEW)), 8 * N, 10 * N),
    Row("Positions.addition all over", lambda u: add(u, fixes(5, BETWEEN)), 8 * N, 10 * N),
    Row("Positions.addition one each", lambda u: add(u, one_each(N, FIXES + 9)), 8 * N, 20 * N),
    Row("Positions.differ one", lambda u: u.positions.differ(fixes(3, [FIXES])), 10, 10),
    Row("Positions.differ a hundred", lambda u: u.positions.differ(fixes(3, LAST[:100])), 500, 600),
    Row("Positions.differ at the end", lambda u: u.positions.differ(fixes(3, LAST)), 5 * N, 6 * N),
    Row("Positions.differ all over", lambda u: u.positions.differ(fixes(3, SCATTERED)), 5 * N, 6 * N),
    Row("Positions.differ one each", lambda u: u.positions.differ(one_each(100, FIXES)), 500, 600),
    Row("Positions.differ a silent vessel", lambda u: u.positions.differ(fixes(SILENT, LAST)), 5 * N, 6 * N),
    Row("Quarantine.search all", held, 2 * PAGE, 2 * PAGE),
    Row("Quarantine.search all, the last", lambda u: held(u, 99_990), 2 * PAGE, 2 * PAGE),
    *(
        Row(f"Quarantine.search {wanted} after {after}", partial(held, after=after, **wanted), *most)
        for after in (0, 50_000, 99_990)
        for most, choices in {
            (PAGE_ROWS, PAGE_BUFFERS): [
                {"vessel_id": 1},
                {"vessel_id": 12},
                {"reason": "future"},
                {"reason": "week_rollover"},
                {"state": "held"},
                {"state": "rejected"},
                {"vessel_id": 1, "state": "rejected"},
                {"vessel_id": 1, "reason": "impossible_jump"},
                {"vessel_id": 1, "reason": "impossible_jump", "state": "held"},
                {"reason": "null_island", "state": "held"},
            ],
            (FEW_ROWS, FEW_BUFFERS): [
                {"vessel_id": CLEAN},
                {"reason": "too_old"},
                {"state": "released"},
                {"vessel_id": 1, "state": "released"},
                {"vessel_id": CLEAN, "state": "held"},
                {"vessel_id": 1, "reason": "too_old"},
                {"vessel_id": 12, "reason": "week_rollover"},
                {"vessel_id": 1, "reason": "null_island", "state": "held"},
                {"reason": "impossible_jump", "state": "released"},
                {"reason": "null_island", "state": "released"},
            ],
        }.items()
        for wanted in choices
    ),
    Row("Quarantine.search many of one", lambda u: held(u, 0, N, vessel_id=1), KINDS * N, KINDS * N),
    Row("Quarantine.lock", lambda u: u.quarantine.lock(77), 5, 10),
    Row("Quarantine.get", lambda u: u.quarantine.get(77), 5, 10),
    Row("Quarantine.at", lambda u: u.quarantine.at(1, at(7 / STEP_S)), 5, 10),
    Row("Quarantine.at none", lambda u: u.quarantine.at(CLEAN, at(1)), 5, 10),
    *(
        Row(f"Quarantine.selected {wanted}", partial(select, **wanted), *most)
        for most, choices in {
            (KINDS * MANY, KINDS * MANY): [
                {"reason": "future"},
                {"reason": "impossible_jump", "since": at(20_000)},
                {"reason": "null_island", "until": at(20_000)},
                {"vessel_id": 1},
                {"vessel_id": 1, "reason": "future"},
                {"vessel_id": 1, "since": at(20_000), "until": at(22_000)},
                {"tracker_id": 1, "vessel_id": 1},
                {"tracker_id": 1, "vessel_id": 2, "since": at(100)},
                {"since": at(20_000), "until": at(20_500)},
                {"until": at(100)},
            ],
            # The tracker has been on eleven vessels.
            (11 * KINDS * MANY, 11 * KINDS * MANY): [
                {"tracker_id": 1},
                {"tracker_id": 1, "reason": "impossible_jump"},
            ],
            (FEW_ROWS, FEW_BUFFERS): [
                {"reason": "too_old"},
                {"reason": "future", "since": AFTER_ALL},
                {"vessel_id": CLEAN},
                {"vessel_id": 1, "until": BEGAN},
                {"vessel_id": 1, "reason": "too_old"},
                {"tracker_id": CLEAN},
                {"tracker_id": 1, "vessel_id": CLEAN},
                {"since": AFTER_ALL},
            ],
            (11 * FEW_ROWS, 11 * FEW_BUFFERS): [
                {"tracker_id": 1, "reason": "too_old"},
                {"tracker_id": 1, "until": BEGAN},
            ],
        }.items()
        for wanted in choices
    ),
    Row("Quarantine.count", lambda u: u.quarantine.count(FUTURE, most=10_000), 21_000, 25_000),
    *(
        Row(f"Quarantine.count {wanted}", partial(count, **wanted), *most)
        for most, choices in {
            (11 * KINDS * MANY, 11 * KINDS * MANY): [
                {"vessel_id": 1},
                {"tracker_id": 1},
                {"tracker_id": 1, "vessel_id": 1},
            ],
            (FEW_ROWS, FEW_BUFFERS): [{"vessel_id": CLEAN}, {"tracker_id": CLEAN}, {"since": AFTER_ALL}],
        }.items()
        for wanted in choices
    ),
    Row("Quarantine.count of any reason", lambda u: u.quarantine.count(ANY, most=10_000), 70_000, 70_000),
    Row("Positions.trackers_at", lambda u: u.positions.trackers_at(3, at(77)), 5, 10),
    Row("Positions.trackers_at none", lambda u: u.positions.trackers_at(SILENT, at(77)), 5, 10),
    Row("Revisions.about one", lambda u: about(u, [(1, at(MIDST), 1)]), 90, 200),
    Row("Revisions.about the newest", lambda u: about(u, [(3, at(FIXES + 1), 3)]), 30, 60),
    Row("Revisions.about a silent one", lambda u: about(u, [(SILENT, at(1), 3)]), 10, 40),
    Row("Revisions.about many", lambda u: about(u, ((1, at(n), 1) for n in SCATTERED[:100])), 9_000, 20_000),
    Row("Revisions.taking_back the newest", lambda u: take_back(u, [(6, at(FIXES), 6)]), 30, 80),
    Row("Revisions.taking_back in the midst", lambda u: take_back(u, [(6, at(77), 6)]), 30, 80),
    Row("Revisions.taking_back the only one", lambda u: take_back(u, [(2_000, BEGAN, 2_000)]), 30, 80),
    Row("Revisions.taking_back what is not there", lambda u: take_back(u, [(SILENT, BEGAN, 1)]), 20, 20),
    Row(
        "Revisions.taking_back many",
        lambda u: take_back(u, ((6, at(n), 6) for n in range(FIXES - 200, FIXES - 100))),
        1_500,
        8_000,
    ),
    Row("Revisions.releasing one", lambda u: release(u, held_ones([77])), 30, 120),
    Row("Revisions.releasing many", lambda u: release(u, held_ones(range(1_000, 1_100))), 1_500, 9_000),
    Row("Revisions.releasing what is not there", lambda u: release(u, [(SILENT, BEGAN, 1)]), 10, 20),
    Row("Revisions.reject one", lambda u: reject(u, held_ones([77])), 15, 80),
    Row("Revisions.reject many", lambda u: reject(u, held_ones(range(1_000, 1_100))), 1_000, 6_000),
    Row("Quarantine.near one", lambda u: near(u, 1, [MIDST]), 6 * MOST, 8 * MOST),
    Row("Quarantine.near far from any", lambda u: near(u, 1, [FIXES + 500]), 6 * MOST, 8 * MOST),
    Row("Quarantine.near many", lambda u: near(u, 1, SCATTERED), 6 * MOST * N, 8 * MOST * N),
    Row("Quarantine.near none", lambda u: near(u, CLEAN, SCATTERED), 5 * N, 10 * N),
    Row("Quarantine.near none among others", lambda u: near(u, 12, SCATTERED), 5 * N, 10 * N),
    # Of the catalogue, which is not counted, each partition and index is sorted by its name.
    Row("Partitions.all", lambda u: u.partitions.all(), 50, 0),
    Row("Partitions.ahead", lambda u: u.partitions.ahead(NOW), 50, 0),
    Row("Partitions.above", lambda u: above(u, 1_000), 11 * PAGE, 2 * PAGE),
    Row("Partitions.above none", lambda u: above(u, 2**62), 10, 20),
    Row("Partitions.of_vessel", lambda u: of_vessel(u, most=PAGE), 2 * PAGE, 2 * PAGE),
    Row("Partitions.vessels", partial(vessels_in, until=2 * N), 3 * PAGE, 5 * PAGE),
    Row("Partitions.vessels of none", partial(vessels_in, until=-1), 3 * PAGE, 5 * PAGE),
    Row("Partitions.count", lambda u: u.partitions.count(8, AFTER_ALL, most=N), 2 * N, 2 * N),
    Row("Keepings.share", lambda u: u.keeping.share(), 0, 0),
    Row("Keepings.find", lambda u: u.keeping.find(8), 5, 10),
    Row("Keepings.lock", lambda u: u.keeping.lock(8), 5, 10),
    Row("Keepings.put", lambda u: u.keeping.put(keep(8)), 10, 20),
    Row("Keepings.all", lambda u: after_some_are_kept(u).all(), 8 * KEPT, 30 * KEPT),
    Row("Keepings.of", lambda u: after_some_are_kept(u).of([3, 8]), 8 * KEPT, 30 * KEPT),
    Row("Keepings.expired", expired, 10 * KEPT, 30 * KEPT),
    Row(
        "Keepings.kept",
        lambda u: after_some_are_kept(u).kept(at(0), at(2 * N), now=NOW),
        10 * KEPT,
        30 * KEPT,
    ),
    Row("Partitions.trim", trim, 8 * N, 8 * N),
    Row("Partitions.trim of none", partial(trim, vessel=SILENT), 10, 40),
    Row("Partitions.erase", erase, 20 * N, 40 * N),
    Row("Audit.prune none", lambda u: u.audit.prune(BEGAN - timedelta(days=99), most=N), 2 * N, 2 * N),
    Row("Audit.prune", lambda u: u.audit.prune(AFTER_ALL, most=N), 8 * N, 8 * N),
    Row("Revisions.moving_back", lambda u: u.run_last(u.revisions.moving_back([2, 9])), 40, 80),
    Row("Quarantine.erase", lambda u: u.quarantine.erase(1, BEGAN, AFTER_ALL, most=N), 8 * N, 10 * N),
    Row("Quarantine.erase none", lambda u: u.quarantine.erase(CLEAN, BEGAN, AFTER_ALL, most=N), 10, 20),
    Row("Quarantine.prune none", lambda u: u.quarantine.prune(BEGAN, most=N), 10, 10),
    Row("Quarantine.prune some", lambda u: u.quarantine.prune(at(100), most=N), 3_000, 4_000),
    Row("Quarantine.prune of all", lambda u: u.quarantine.prune(AFTER_ALL, most=N), 6 * N, 8 * N),
    Row("Quarantine.hold one", lambda u: hold(u, fixes(TROUBLED, [1])), 10, 60),
    Row("Quarantine.hold many", lambda u: hold(u, fixes(TROUBLED, NEW)), 4 * N, 40 * N),
    Row("Quarantine.hold jumps", lambda u: hold(u, fixes(TROUBLED, NEW), "impossible_jump"), 4 * N, 35 * N),
    Row("Quarantine.hold again", hold_again, 9 * N, 60 * N),
    Row("ArrivedNumbers.note one", lambda u: u.arrived_numbers.note([(5, 6000)]), 10, 30),
    Row("ArrivedNumbers.note many", lambda u: u.arrived_numbers.note((5, n) for n in NEW), 2 * N, 40),
    Row("ArrivedNumbers.note gaps", lambda u: u.arrived_numbers.note((5, 7 * n) for n in NEW), 6 * N, 150),
    Row("ArrivedNumbers.note beyond", lambda u: u.arrived_numbers.note((1, 7 * n) for n in NEW), 10 * N, 200),
    Row(
        "ArrivedNumbers.note one each",
        lambda u: u.arrived_numbers.note((n, 7) for n in LAST_TRACKERS),
        8 * N,
        15 * N,
    ),
    Row("ArrivedNumbers.missing", lambda u: u.arrived_numbers.missing(5), 10, 10),
    Row("ArrivedNumbers.missing most", lambda u: u.arrived_numbers.missing(1), 2 * N, 20),
    Row("ArrivedNumbers.missing unknown", lambda u: u.arrived_numbers.missing(TRACKERS + 1), 5, 10),
    Row("Trackers.find", lambda u: u.trackers.find(77), 10, 20),
    Row("Trackers.find unknown", lambda u: u.trackers.find(TRACKERS + 1), 5, 10),
    Row("Trackers.find_all one", lambda u: u.trackers.find_all([77]), 10, 20),
    Row("Trackers.find_all many", lambda u: u.trackers.find_all(range(1, N)), 6 * N, 8 * N),
    Row("Trackers.get one that moved", lambda u: u.trackers.get(2), 300, 20),
    Row("Trackers.lock", lambda u: u.trackers.lock(77), 10, 30),
    Row("Trackers.search a page", lambda u: u.trackers.search(limit=PAGE), 8 * PAGE, 8 * PAGE),
    Row("Trackers.search the last", lambda u: u.trackers.search(after=TRACKERS - 9, limit=PAGE), 100, 100),
    Row("Trackers.search without a limit", lambda u: u.trackers.search(after=TRACKERS - N), 8 * N, 8 * N),
    Row("Trackers.of_vessel", lambda u: u.trackers.of_vessel(30), 100, 150),
    Row("Trackers.of_vessel several", lambda u: u.trackers.of_vessel(1), 350, 500),
    Row("Trackers.of_vessel unknown", lambda u: u.trackers.of_vessel(VESSELS + 1), 10, 20),
    Row("Trackers.add", lambda u: u.trackers.add(vessel_id=30, label="new"), 20, 60),
    Row("Trackers.assign", lambda u: u.trackers.assign(77, 30, starts_at=NOW), 10, 40),
    Row("Trackers.change", lambda u: u.trackers.change(77, {"label": "new"}), 20, 50),
    Row("Trackers.newest_fix", lambda u: newest(u, 3, 0), 1010, 1030),
    Row("Trackers.newest_fix of none lately", lambda u: newest(u, TRACKERS, FIXES - 100), 120, 120),
    Row("Trackers.newest_fix of none ever", lambda u: newest(u, TRACKERS, 0), 1010, 1030),
    Row("ApiKeys.present", lambda u: present(u, "now 770"), 10, 20),
    Row("ApiKeys.present previous", lambda u: present(u, "before 770"), 10, 20),
    Row("ApiKeys.present unknown", lambda u: present(u, "none"), 10, 20),
    Row("ApiKeys.present many", lambda u: present(u, *(f"now {n}" for n in LAST_KEYS)), 10 * 250, 20 * 250),
    Row("ApiKeys.note_use", lambda u: u.api_keys.note_use([777]), 10, 40),
    Row("ApiKeys.note_use of many", lambda u: u.api_keys.note_use(LAST_KEYS), 10 * 250, 40 * 250),
    Row("ApiKeys.get", lambda u: u.api_keys.get(777), 30, 30),
    Row("ApiKeys.get all vessels", lambda u: u.api_keys.get(1), 3 * VESSELS, 60),
    Row("ApiKeys.lock", lambda u: u.api_keys.lock(777), 30, 40),
    Row("ApiKeys.search a page", lambda u: u.api_keys.search(after=1, limit=PAGE), 15 * PAGE, 10 * PAGE),
    Row("ApiKeys.search the last", lambda u: u.api_keys.search(after=KEYS - 9, limit=PAGE), 50, 60),
    Row("ApiKeys.search without a limit", lambda u: u.api_keys.search(after=KEYS - N), 4 * N, 6 * N),
    Row("ApiKeys.add", lambda u: u.api_keys.add(terms(None), prefix="new", sha256=b"new"), 10, 40),
    Row("ApiKeys.add of five", lambda u: u.api_keys.add(terms(range(1, 6)), prefix="", sha256=b""), 80, 150),
    Row(
        "ApiKeys.add of all",
        lambda u: u.api_keys.add(terms(range(1, VESSELS + 1)), prefix="", sha256=b""),
        8 * VESSELS,
        20 * VESSELS,
    ),
    Row("ApiKeys.replace", lambda u: u.api_keys.replace(777, terms(range(1, 6))), 120, 250),
    Row(
        "ApiKeys.rotate",
        lambda u: u.api_keys.rotate(777, prefix="", sha256=b"", previous_valid_until=NOW),
        40,
        60,
    ),
    Row("ApiKeys.revoke", lambda u: u.api_keys.revoke(777), 40, 60),
    Row("ApiKeys.descendants none", lambda u: u.api_keys.descendants(777), 5, 10),
    Row("ApiKeys.descendants", lambda u: u.api_keys.descendants(1008), DESCENDED, DESCENDED),
    Row(
        "ApiKeys.descendants over two", lambda u: u.api_keys.descendants(1000), 10 * DESCENDED, 10 * DESCENDED
    ),
    Row("Audit.add", lambda u: u.audit.add(ACTOR, "new", "vessels/1", before=None, after=None), 5, 40),
    *(
        Row(
            f"Audit.search {subject} after {after}, newest first: {first}",
            partial(trail, subject=subject, after=after, newest_first=first),
            most,
            most,
        )
        for after in (None, 50_000)
        for first in (True, False)
        for subject, most in {None: 2 * PAGE, "vessels/1": 3 * PAGE, "vessels/77": 100}.items()
    ),
    *(
        Row(f"Audit.search {subject}", partial(trail, subject=subject, newest_first=first), 10, 20)
        for first in (True, False)
        for subject in ("vessels/first", "vessels/none")
    ),
    *(
        Row(
            f"Fleet.after {last} as key {key.id}, {key.delay_s} s late, {key.coordinate_decimals} decimals",
            partial(look_on, key=key, last=last),
            *beside(key, 20 * CHUNK, 20 * CHUNK),
        )
        for key in EACH_KIND
        for last in (0, VESSELS - CHUNK // 2)
    ),
    # As at the beginning: what the rows above have stored and rolled back is at the end of the index.
    Row("Order.standing behind what was rolled back", lambda u: u.order.standing(), 20 * N, N),
    *(
        Row(
            f"Fleet.news of {count} as key {key.id}, {key.delay_s} s late, {key.coordinate_decimals} dec.",
            partial(look_again, key=key, count=count),
            # Other rows have rolled back what they stored: dead entries at the end of the order.
            *beside(key, 300 + 10 * (count % MOST_NEWS), 300 + 30 * (count % MOST_NEWS)),
        )
        for key in EACH_KIND
        for count in (0, 1, 1_000, MOST_NEWS + 1)
    ),
    *(
        Row(
            f"Feed.{how} {behind} behind as key {key.id}, {key.delay_s} s late, "
            f"{key.coordinate_decimals} decimals",
            partial(follow, key=key, how=how, behind=behind),
            *beside(key, rows, buffers),
        )
        for how in ("page", "scan")
        for behind in (0, FIXES, FIXES * 50)
        # Of a coarse key: where steps begin among them, all fixes of each are looked at, once for a vessel.
        for key, rows, buffers in (
            (ALL, 10 * PAGE, 10 * PAGE),
            (FIVE, 4 * MOST_SCANNED // 4 + 1_000, 4 * MOST_SCANNED // 4 + 1_000),
            (ALL_LATE, 10 * PAGE, 10 * PAGE),
            (COARSE[0], 24 * MOST_SCANNED_COARSELY // 4, 24 * MOST_SCANNED_COARSELY // 4),
            (COARSE[1], 24 * MOST_SCANNED_COARSELY // 4, 24 * MOST_SCANNED_COARSELY // 4),
        )
    ),
    *(
        Row(
            f"Feed.page of {name}",
            partial(follow, key=ALL, how="page", behind=FIXES * 50, following=following),
            4 * MOST_SCANNED // 4 + 1_000,
            4 * MOST_SCANNED // 4 + 1_000,
        )
        for name, following in {
            "some vessels": Following(vessel_ids=frozenset([1, 2, 3])),
            "a box": Following(box=Box(0, 0, 1, 1)),
        }.items()
    ),
    *(
        Row(
            f"Feed.since {n} as key {key.id}, {key.delay_s} s late",
            partial(lambda u, key, n: feed_of(u, key).since(at(n)), key=key, n=n),
            *beside(ALL_LATE, 300, 300),
        )
        for key in (ALL, ALL_LATE)
        for n in (0, MIDST, FIXES)
    ),
    Row("Feed.demand", lambda u: feed_of(u, ALL).demand(0), 10, 100),
    *(
        Row(f"Feed.came_at {name}", partial(lambda u, n: feed_of(u, ALL).came_at(n), n=n), 10, 100)
        for name, n in {"first": 0, "midst": int(100 * MIDST), "none": 2**62}.items()
    ),
    Row("FeedFloor.find", lambda u: u.feed_floor.find(), 5, 10),
    Row("FeedFloor.lift", lambda u: u.feed_floor.lift(5, NOW), 10, 20),
    # Most of it is to withdraw them before.
    Row("FeedFloor.prune", prune_withdrawals, 25 * N, 120 * N),
    Row(
        "FigureReader.counts",
        lambda u: u.figures.counts(),
        3 * (VESSELS + TRACKERS + KEYS),
        (VESSELS + TRACKERS + KEYS) // 10,
    ),
    Row("FigureReader.ages", lambda u: u.figures.ages(), 10 * VESSELS, VESSELS // 2),
    # As with the order: what others have stored and rolled back is at its end.
    Row("FigureReader.feed", lambda u: u.figures.feed(), 20 * N, N),
    Row("FigureReader.held", lambda u: u.figures.held(), 8 * MOST_HELD, 2 * MOST_HELD),
    Row("FigureReader.late_consumers", lambda u: u.figures.late_consumers(), 5 * KEYS, KEYS // 5),
    Row("Consumers.find", lambda u: u.consumers.find(777, "warehouse"), 5, 10),
    Row("Consumers.find none", lambda u: u.consumers.find(777, "none"), 5, 10),
    Row("Consumers.lock", lambda u: u.consumers.lock(777, "warehouse"), 5, 10),
    Row("Consumers.of_key", lambda u: u.consumers.of_key(777), 5, 10),
    Row("Consumers.of_key most", lambda u: u.consumers.of_key(1), 50, 50),
    Row("Consumers.search", lambda u: u.consumers.search(limit=PAGE), 2 * PAGE, 2 * PAGE),
    Row(
        "Consumers.search the last",
        lambda u: u.consumers.search(after=(KEYS - 9, "x"), limit=PAGE),
        50,
        50,
    ),
    Row("Consumers.lock_key", lambda u: u.consumers.lock_key(777), 5, 20),
    Row("Consumers.add", lambda u: u.consumers.add(777, "new", number=1, filters={}), 10, 40),
    Row("Consumers.move", lambda u: u.consumers.move(777, "warehouse", number=1, filters={}), 10, 40),
    Row("Consumers.note_seen", lambda u: u.consumers.note_seen(777, "warehouse"), 10, 40),
    Row("Consumers.remove", lambda u: u.consumers.remove(777, "warehouse"), 10, 20),
    Row("Consumers.remove_all", lambda u: u.consumers.remove_all(1), 50, 100),
    Row("Fleet.granted five", lambda u: fleet_of(u, FIVE).granted(), 20, 20),
    Row("Fleet.granted all", lambda u: fleet_of(u, NAMED).granted(), 2 * VESSELS, VESSELS),
    *(
        Row(f"Fleet.get as key {key.id}, {key.delay_s} s late", partial(look, key=key), *beside(key, 10, 30))
        for key in (ALL, ALL_LATE, viewer(777 + 20), viewer(777 + 20, delay_s=LATE_S), NAMED, NAMED_LATE)
    ),
    *(
        Row(
            f"Fleet.get as coarse key {key.id}, {key.delay_s} s late",
            partial(look, key=key),
            *beside(key, 15, 40),
        )
        for key in COARSE
        if key.id != FIVE.id
    ),
    *(
        Row(
            f"Fleet.get as coarse key 797, {delay_s} s late",
            partial(look, key=viewer(797, delay_s=delay_s, decimals=1)),
            *beside(viewer(797, delay_s=delay_s), 15, 40),
        )
        for delay_s in (0, LATE_S)
    ),
    *(
        Row(f"Tracks.columns {name}", partial(columns, **asked), most, most)
        for most, choices in {
            2 * N + 50: {
                "of the end": {"key": ALL, "since": FIXES - N},
                "of the midst": {"key": ALL, "since": MIDST},
                "late": {"key": ALL_LATE, "since": FIXES // 2 - N},
                "the first of many": {"key": ALL, "of": FIXES},
                "the first of many, named": {"key": NAMED, "of": FIXES},
            },
            30: {
                "of a silent one": {"key": ALL, "vessel": SILENT},
                "not to be seen": {"key": FIVE, "vessel": 3},
                "before all": {"key": ALL, "since": -2 * N},
            },
        }.items()
        for name, asked in choices.items()
    ),
    # Of steps of 72 minutes there are 35 in as many fixes, each found by a probe.
    *(
        Row(f"Tracks.columns coarse, {key.delay_s} s late", partial(columns, key=key, of=5 * N), 200, 250)
        for key in COARSE
        if key.id == ALL.id
    ),
    *(
        Row(f"Moments.vessels {wanted} as key {key.id}", partial(vessels_then, key=key, **wanted), most, most)
        # Whoever is asked for by her id is looked for among all, and one of fifty is retired.
        for key, most in ((ALL, 4 * VESSELS), (NAMED, 8 * VESSELS), (FIVE, 150))
        for wanted in ({"retired": True}, {"vessel_ids": [7, VESSELS]}, {"most": VESSELS})
    ),
    *(
        Row(f"Moments.vessels a page of key {key.id}", partial(vessels_then, key=key, **page), most, most)
        for key, most in ((ALL, 4 * PAGE), (NAMED, 10 * PAGE))
        for page in (
            {"retired": False, "most": PAGE},
            {"behind": VESSELS // 2, "most": PAGE},
            {"behind": VESSELS - 9, "most": PAGE},
        )
    ),
    *(
        Row(
            f"Moments.fixes of {len(some)}, {key.delay_s} s late, {key.coordinate_decimals} decimals, at {n}",
            partial(then, key=key, vessels=some, n=n),
            # Three rows from their indexes, and what a function and joins of them make; each is looked for in
            # the partitions from its month on.
            10 * len(some) + 10,
            20 * len(some) + 10,
        )
        for key in (ALL, ALL_LATE, *COARSE[:2])
        # None of whose newest fixes the rows above have added and taken back.
        for some in ([9], range(11, 111), range(2_001, 2_101), range(VESSELS - 5, VESSELS))
        for n in (-1, 0, 1, MIDST - 1, *(() if key.delay_s else (FIXES - 1, 2 * FIXES)))
    ),
    Row("Vessels.find by IMO number", lambda u: u.vessels.find(imo="0000077", mmsi=None), 10, 20),
    Row("Vessels.find by MMSI", lambda u: u.vessels.find(imo=None, mmsi="000000077"), 10, 20),
    Row("Vessels.find by both", lambda u: u.vessels.find(imo="0000077", mmsi="000000078"), 10, 20),
    Row("Vessels.find none", lambda u: u.vessels.find(imo="9000077", mmsi="900000078"), 10, 20),
    Row("Vessels.search", lambda u: u.vessels.search(), 2 * VESSELS, VESSELS),
    Row("Vessels.lock", lambda u: u.vessels.lock(77), 5, 10),
    Row("Vessels.add", lambda u: u.vessels.add(VesselDetails(name="", imo="9999999", mmsi="9" * 9)), 5, 30),
    Row("Vessels.replace", lambda u: u.vessels.replace(77, VesselDetails(name="new")), 5, 40),
    Row("Vessels.retire", lambda u: u.vessels.retire(77), 5, 40),
    Row("Vessels.restore", lambda u: u.vessels.restore(100), 5, 40),
    Row("IdempotencyKeys.claim new", lambda u: claim(u, 5, "new"), 10, 40),
    Row("IdempotencyKeys.claim again", lambda u: claim(u, 99_990), 10, 20),
    Row("IdempotencyKeys.claim of before", lambda u: claim(u, 99_991), 15, 60),
    Row(
        "IdempotencyKeys.done", lambda u: u.idempotency_keys.done(1 + 99_990 % KEYS, "key 99990", b"1"), 5, 40
    ),
    Row("IdempotencyKeys.prune", lambda u: u.idempotency_keys.prune(most=N), 6 * N, 8 * N),
    Row("MasterKey.find", lambda u: u.master_key.find(), 5, 10),
    Row("MasterKey.add", lambda u: u.master_key.add(b"other"), 5, 10),
    Row("MasterKey.add the first", add_first_key, 10, 20),
    Row("MasterKey.lock", lambda u: u.master_key.lock(), 5, 10),
    Row("MasterKey.replace", lambda u: u.master_key.replace(b"other"), 5, 20),
    Row("Database.schema_revision", lambda u: u.database.schema_revision(), 5, 10),
]
MODULES = [
    importlib.import_module(f"harbor_api.repositories.{each.name}")
    for each in pkgutil.iter_modules(repositories.__path__)
]


def test_every_method_of_every_repository_has_its_row():
    methods = {
        f"{name}.{method}"
        for module in MODULES
        for name, of_module in inspect.getmembers(module, inspect.isclass)
        if of_module.__module__ == module.__name__ and not name.startswith("_")
        for method, _ in inspect.getmembers(of_module, inspect.isfunction)
        if not method.startswith("_")
    }
    assert {row.method for row in ROWS} == methods | {"Database.schema_revision"}


@pytest.mark.heavy
def test_no_statement_touches_more_than_its_answer_takes(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
):
    """Also not by a plan that was made when there was little and is used until the next ANALYZE."""
    wrong = _wrong(new_database(), monkeypatch)
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_nor_where_there_are_twenty_million_positions(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
):
    """By the same bounds: the rows are made anew for that size. ``-s`` shows what each touches."""
    monkeypatch.setitem(SIZES, "fixes", 20 * FIXES)
    wrong = runpy.run_path(__file__)["_wrong"](new_database(), monkeypatch)
    assert not wrong, "\n\n".join(wrong)


def _wrong(url: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return which rows touch more than they may by any kind of plan, and what the rows leave out."""
    monkeypatch.setattr(connections, "_Connection", MeasuringConnection)
    monkeypatch.setattr(MeasuringConnection, "sent", set())
    database = Database(url)
    run: list[Any] = []
    event.listen(database.engine, "before_execute", lambda _, statement, *rest: run.append(statement))
    # Of a large table VACUUM would leave what the rows have rolled back at the ends of its indexes.
    transacting = connections.transacting(database.engine)
    with psycopg.connect(url, autocommit=True) as owner, transacting.connect() as connection:
        prepare(owner)
        fill(owner, SMALL, {}, began=BEGAN)
        owner.execute("VACUUM (INDEX_CLEANUP ON, ANALYZE)")
        plan(connection, "force_generic_plan")
        for row in ROWS:
            # Of what there is too little yet some is not found.
            with suppress(Exception):
                touched_by(connection, database, row)
        fill(owner, SIZES, SMALL, began=BEGAN)
        excesses = list(beyond(connection, database, ROWS, "a plan of when there was little"))
        owner.execute("VACUUM (INDEX_CLEANUP ON)")
        plan(connection, "force_custom_plan")
        excesses += beyond(connection, database, ROWS, "a plan by what was known then")
        owner.execute("VACUUM (INDEX_CLEANUP ON, ANALYZE)")
        excesses += beyond(connection, database, ROWS, "a plan for these values")
        owner.execute("VACUUM (INDEX_CLEANUP ON)")
        plan(connection, "force_generic_plan")
        excesses += beyond(connection, database, ROWS, "a plan for any values")
    database.dispose()
    return excesses + _not_run(run)


def _not_run(run: Sequence[Any]) -> list[str]:
    """Return what is a statement of a repository and was not run, or was run and is none."""
    constants = dict(each for module in MODULES for each in _statements(module))
    distinct = {id(each): each for each in (*run, *MeasuringConnection.sent)}.values()
    missing = [name for name, one in constants.items() if not any(_is_of(each, one) for each in distinct)]
    # A connection asks by itself, when it is made, whether positions are distributed.
    known = [*constants.values(), distribution._IS_THERE]
    unknown = [str(each) for each in distinct if not any(_is_of(each, one) for one in known)]
    return missing + [each for each in unknown if "alembic_version" not in each]


def _statements(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the statements among the constants of a module, which are in capitals; parts of some are not."""
    for name, value in vars(module).items():
        choices = value if isinstance(value, dict) else {None: value}
        if name.startswith("_") and name[1:].isupper():
            for choice, each in choices.items():
                one = each.text if isinstance(each, Statement) else each
                if isinstance(one, (bytes, Executable)):
                    yield f"{module.__name__}.{name} {choice or ''}", one


def _is_of(run: Any, constant: Any) -> bool:
    """Tell whether a statement that was run is a constant, or is that with more columns set."""
    if isinstance(run, bytes) or isinstance(constant, bytes):
        return bool(run == constant)
    if isinstance(run, Update) and isinstance(constant, Update):
        same_rows = run.table is constant.table and run.whereclause is constant.whereclause
        return same_rows and dict(constant._values or {}).items() <= dict(run._values or {}).items()
    return run is constant
