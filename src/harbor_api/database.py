"""Units of work over one engine: the only place that begins, commits and rolls back.

Whoever reads or writes opens a unit of work and gets the repositories through it; these get a connection and
never end a transaction. What raises out of a unit of work is rolled back, so half a change is never stored.
There are five ways in:

    with database.autocommit() as u:      each statement is a transaction by itself: no BEGIN, no COMMIT.
                                          What views read, and look-ups.
    with database.unit_of_work() as u:    several statements, all or none. What an operator changes, with
                                          its audit entry.
    database.read(work)                   work that only reads, at the replica where there is one that has all
                                          that was committed before, else as ``autocommit``.
    database.transact(work)               a group of fixes: done again where PostgreSQL ended it in favour
                                          of another (a deadlock), and with a last statement, see below.
    database.rehearse(work)               the same work, always rolled back: what would become of a fix.

``work`` is a function of the unit of work, as it may be called more than once. What it hands to ``run_last``
waits for the commit:

    BEGIN ; admit ; around | note . hold ............ | addition ; COMMIT
    locks of the vessels   |                          | lock of the committed order
    one round trip         | a round trip each        | one round trip, Python waits

What is known of beforehand goes to ``run_first``, together with BEGIN, one statement after the other: each
sees all that was committed when it began. In one statement with what takes the locks, what looks around would
see what was stored before these were waited for.

The lock of the order is everybody's: whoever stores a fix, in any worker, waits for it. In one round trip
with the commit it is held for as long as PostgreSQL writes, and not until a busy worker gets round to say
COMMIT.

Where a backup was restored or another server took over, whoever takes a number of the committed order is
refused at first (``OrderMoved``). Then the order is fenced here, in a transaction of its own, and the work is
done again, or is to be sent again; see ``domain/order.py``.

A statement that PostgreSQL cannot do now (it is away, hangs, or too much waits) is ``Unavailable``; see
``postgres/connections.py`` for how long is waited.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TypeVar

import structlog
from sqlalchemy import Connection, QueuePool, text

from harbor_api.domain.api_keys import Caller
from harbor_api.domain.errors import MigrationsPending, Unavailable
from harbor_api.postgres import (
    connections,
    distribution,
    migrations,
    partitions,
    pooling,
    replica,
    statements,
)
from harbor_api.postgres.connections import Contended, NoPartition, OrderMoved
from harbor_api.postgres.grouping import Grouping
from harbor_api.postgres.listener import Listener
from harbor_api.postgres.migrations import Standing
from harbor_api.postgres.replica import Floor, Replica, State
from harbor_api.postgres.sight import Sight
from harbor_api.postgres.statements import Rows, Statement
from harbor_api.postgres.turns import Turns
from harbor_api.repositories.api_keys import ApiKeys
from harbor_api.repositories.arrived_numbers import ArrivedNumbers
from harbor_api.repositories.audit import Audit
from harbor_api.repositories.consumers import Consumers
from harbor_api.repositories.feed import Feed
from harbor_api.repositories.feed_floor import FeedFloor
from harbor_api.repositories.figures import FigureReader
from harbor_api.repositories.fleet import Fleet
from harbor_api.repositories.history import History
from harbor_api.repositories.idempotency_keys import IdempotencyKeys
from harbor_api.repositories.keeping import Keepings
from harbor_api.repositories.master_key import MasterKey
from harbor_api.repositories.moments import Moments
from harbor_api.repositories.order import Order
from harbor_api.repositories.partitions import Partitions
from harbor_api.repositories.positions import Positions
from harbor_api.repositories.quarantine import Quarantine
from harbor_api.repositories.revisions import Revisions
from harbor_api.repositories.trackers import Trackers
from harbor_api.repositories.tracks import Tracks
from harbor_api.repositories.vessels import Vessels

Result = TypeVar("Result")
log = structlog.get_logger(__name__)

_ATTEMPTS = 3
_BEGIN = Statement(b"BEGIN ISOLATION LEVEL READ COMMITTED", {})
# Sent together with the last statements: all of it is done, or none, and nothing that they lock is held while
# anybody here is busy.
_COMMIT = Statement(b"COMMIT", {})


class UnitOfWork:
    """The repositories over one connection. What happens in it is committed whole or not at all."""

    def __init__(
        self,
        connection: Connection,
        *,
        first: Iterable[Statement] = (),
        last: list[Statement] | None = None,
    ) -> None:
        """Work over a connection on which ``first`` is run before all else.

        ``last`` takes the statements that may wait for the commit.
        """
        self._bare = connection
        self.not_begun = [*first]
        self._last = last

    @property
    def _connection(self) -> Connection:
        if self.not_begun:
            self.run_first(())
        return self._bare

    def run_first(self, several: Iterable[Statement]) -> list[Rows]:
        """Run statements in one round trip, with BEGIN where nothing was run before; return their rows."""
        first, self.not_begun = [*self.not_begun, *several], []
        return statements.run_all(self._bare, first)

    def run_last(self, statement: Statement, *, now: bool = False) -> None:
        """Run a statement with the commit, so that what it locks is not held while anybody here is busy.

        It runs at once where something that follows needs it ``now``, or where no commit takes it along.
        """
        if now or self._last is None:
            statements.run(self._connection, statement)
        else:
            self._last.append(statement)

    @cached_property
    def vessels(self) -> Vessels:
        return Vessels(self._connection)

    @cached_property
    def trackers(self) -> Trackers:
        return Trackers(self._connection)

    @cached_property
    def positions(self) -> Positions:
        return Positions(self._connection)

    @cached_property
    def quarantine(self) -> Quarantine:
        return Quarantine(self._connection)

    @cached_property
    def revisions(self) -> Revisions:
        return Revisions(self._connection)

    @cached_property
    def partitions(self) -> Partitions:
        return Partitions(self._connection)

    @cached_property
    def keeping(self) -> Keepings:
        return Keepings(self._connection)

    @cached_property
    def arrived_numbers(self) -> ArrivedNumbers:
        return ArrivedNumbers(self._connection)

    @cached_property
    def api_keys(self) -> ApiKeys:
        return ApiKeys(self._connection)

    @cached_property
    def master_key(self) -> MasterKey:
        return MasterKey(self._connection)

    @cached_property
    def audit(self) -> Audit:
        return Audit(self._connection)

    @cached_property
    def idempotency_keys(self) -> IdempotencyKeys:
        return IdempotencyKeys(self._connection)

    @cached_property
    def consumers(self) -> Consumers:
        return Consumers(self._connection)

    @cached_property
    def feed_floor(self) -> FeedFloor:
        return FeedFloor(self._connection)

    @cached_property
    def figures(self) -> FigureReader:
        return FigureReader(self._connection)

    @cached_property
    def order(self) -> Order:
        return Order(self._connection)

    def sight(self, viewer: Caller, *, future_tolerance: timedelta) -> Sight:
        """Return what a key may see now; ``future_tolerance`` as with ``Order.horizon``."""
        delay = timedelta(seconds=viewer.delay_s)
        horizon = self.order.horizon(delay, future_tolerance=future_tolerance) if delay else None
        return Sight.of(viewer, horizon)

    def history(self, sight: Sight) -> History:
        """Return the histories of vessels as a key may see them."""
        return History(self._connection, sight)

    def feed(self, sight: Sight, *, item_key: bytes) -> Feed:
        """Return the change feed as a key may see it; ``item_key`` as with ``Feed``."""
        return Feed(self._connection, sight, item_key=item_key)

    def fleet(self, sight: Sight, *, stale_after: timedelta) -> Fleet:
        """Return the fleet as a key may see it."""
        return Fleet(self._connection, sight, stale_after=stale_after)

    def tracks(self, sight: Sight) -> Tracks:
        """Return the history of vessels as a key may see it."""
        return Tracks(self._connection, sight)

    def moments(self, sight: Sight, at: datetime, *, number: int | None = None) -> Moments:
        """Return the fleet at a moment as a key may see it, of what has come up to a number of the order."""
        return Moments(self._connection, sight, at, number=number)


class Database:
    """Where units of work come from."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 4,
        timeout_ms: int = 5_000,
        is_pooled: bool = False,
        direct_url: str | None = None,
        replica_url: str | None = None,
    ) -> None:
        """Prepare for connections to ``url``, as ``connections.make_engine`` says.

        Where that ``is_pooled``, ``direct_url`` leads past the pooler.
        """
        self.replica: Replica | None = None
        if replica_url is not None:
            self.replica = Replica(
                replica_url, pool_size=pool_size, timeout_ms=timeout_ms, is_pooled=is_pooled
            )
        # All who read at the same time ask once, after they have come.
        self._floors = Grouping(
            self._found_floors,
            name="floors",
            most_in_group=250,
            most_waiting=50_000,
            patience_s=3 * timeout_ms / 1000,
        )
        self.engine = connections.make_engine(
            url, pool_size=pool_size, timeout_ms=timeout_ms, is_pooled=is_pooled
        )
        self._timeout_ms = timeout_ms
        self._turns = Turns(pool_size=pool_size, timeout_ms=timeout_ms)
        self._direct = self.engine if not is_pooled else None
        if is_pooled and direct_url is not None:
            self._direct = connections.make_engine(direct_url, pool_size=1, timeout_ms=timeout_ms)
        self._transacting = connections.transacting(self.engine)
        self._forgetful: list[Callable[[], None]] = []

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what went wrong into Unavailable; where a partition was missing it is made, to be found
        next time."""
        try:
            with connections.translated(self.engine.url):
                yield
        except NoPartition as missing:
            self._make_missing(missing.moment)
            raise Contended("A partition of the positions was missing, and was made") from missing

    def _make_missing(self, moment: datetime | None) -> None:
        now = datetime.now(UTC)
        try:
            self.make_partitions(up_to=max(now, moment or now), holding=moment)
        except Unavailable as error:
            month = f"{moment or now:%Y-%m}"
            cause = f"positions have no partition for {month}, and none could be made: {error.cause}"
            hint = "harbor-api maintain makes them, run as the role that owns the tables"
            raise Unavailable("The database is not ready for this", cause=f"{cause}; {hint}") from error

    @contextmanager
    def only_one(self, lock: int) -> Iterator[bool]:
        """Hold a lock for a piece of work that takes many transactions, and tell whether it was free.

        It is held by a transaction that does nothing else, and ends with the process, however that ends.
        """
        with self._translated(), self._transacting.begin() as keeper:
            is_mine = bool(keeper.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": lock}))
            # The last statement may keep its snapshot for as long as no other one follows, and whoever lets
            # go of a partition would wait for that: this one has none.
            keeper.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            yield is_mine

    @contextmanager
    def sharing(self, lock: int) -> Iterator[None]:
        """Hold a lock together with others for work that no transaction takes; Unavailable where somebody
        has it alone for longer than is waited."""
        with self._translated(), self._transacting.begin() as keeper:
            keeper.execute(text("SELECT pg_advisory_xact_lock_shared(:lock)"), {"lock": lock})
            # As above: without a snapshot.
            keeper.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            yield

    def make_partitions(self, *, up_to: datetime, holding: datetime | None = None) -> list[str]:
        """Make the partitions of positions that are missing, as ``postgres.partitions.make`` does;
        Unavailable."""
        with connections.translated(self.engine.url), self._transacting.begin() as connection:
            return partitions.make(connection, up_to=up_to, holding=holding)

    def settle_partitions(self, *, before: datetime) -> list[str]:
        """Let those who read by number pass over partitions that end with a moment or sooner.

        Return the names of those that are new to it. Unavailable where somebody stores in one for longer than
        is waited; the same again goes on.
        """
        with connections.translated(self.engine.url):
            with self.engine.connect() as connection:
                new = partitions.to_watch(connection, before=before)
            for name in new:
                with self._transacting.begin() as connection:
                    partitions.watch(connection, name)
            with self._transacting.begin() as connection:
                partitions.settle(connection, before=before)
        return new

    def drop_partition(self, name: str, *, spared: Sequence[int] = ()) -> bool:
        """Drop a partition of positions, as ``postgres.partitions.let_go`` does; Unavailable."""
        with connections.translated(self.engine.url):
            return partitions.let_go(self.engine, name, spared=spared)

    def undistributed(self, *, shards: int) -> list[str]:
        """Return the statements that are missing to have positions on several servers; Conflict where that
        cannot be."""
        with self._translated(), self.engine.connect() as connection:
            return [*distribution.missing(connection, shards=shards)]

    def distribute(self, missing: Sequence[str]) -> None:
        """Run the statements that are missing, in one transaction however long it takes."""
        with (
            self._translated(),
            self._transacting.begin() as connection,
            connections.unhurried(connection),
        ):
            distribution.do(connection, missing)

    @contextmanager
    def unit_of_work(self) -> Iterator[UnitOfWork]:
        """Open a transaction: committed when the block ends, rolled back when it raises.

        Unavailable is raised where PostgreSQL cannot be reached, does not answer in time or ends the
        connection; nothing is stored then, unless the connection broke during the commit itself.
        """
        with self._fencing(), self._translated(), self._transacting.begin() as connection:
            yield UnitOfWork(connection)

    def transact(self, work: Callable[[UnitOfWork], Result]) -> Result:
        """Do work in a transaction, again where PostgreSQL ended it in favour of another, and return it.

        What the work leaves for the last is run together with the commit.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                # What is not committed is rolled back when the connection is given back.
                with self._fencing(), self._translated(), self.engine.connect() as connection:
                    last: list[Statement] = []
                    unit_of_work = UnitOfWork(connection, first=[_BEGIN], last=last)
                    result = work(unit_of_work)
                    # Where nothing was asked for nothing has begun, either.
                    statements.run_all(connection, [*unit_of_work.not_begun, *last, _COMMIT])
                    return result
            except Contended:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def rehearse(self, work: Callable[[UnitOfWork], Result]) -> Result:
        """Do work in a transaction that is rolled back, and return what came of it.

        What the work leaves for the last is not run at all, so that a rehearsal is in nobody's way.
        """
        with (
            self._fencing(),
            self._translated(),
            self._transacting.connect() as connection,
            connection.begin() as transaction,
        ):
            result = work(UnitOfWork(connection, last=[]))
            transaction.rollback()
            return result

    @contextmanager
    def autocommit(self) -> Iterator[UnitOfWork]:
        """Open a unit of work in which each statement is a transaction of its own.

        For jobs of one statement, reads and writes alike: BEGIN and COMMIT cost a round trip each.
        """
        with self._translated(), self.engine.connect() as connection:
            yield UnitOfWork(connection)

    def read(self, work: Callable[[UnitOfWork], Result]) -> Result:
        """Do work that only reads, and return what came of it.

        It sees all that was committed before this was called, wherever it is done; it may be done again. At
        the primary a connection is left to others: see ``postgres/turns.py``.
        """
        if self.replica is not None and self.replica.is_in_rotation():
            floor = self._floors.do(None)
            with suppress(Unavailable), self.replica.reading(floor) as connection:
                return work(UnitOfWork(connection))
        with self._turns.one(), self.autocommit() as unit_of_work:
            return work(unit_of_work)

    def replica_state(self) -> State | None:
        """Return how the replica is, None where none is set; Unavailable where the primary is away."""
        return None if self.replica is None else self.replica.state(self._floors.do(None))

    def _found_floors(self, waiting: Sequence[None]) -> list[Floor]:
        with self._translated(), self.engine.connect() as connection:
            return [replica.floor(connection)] * len(waiting)

    def when_in_doubt(self, forget: Callable[[], None]) -> None:
        """Call something whenever what is durable may be so no more, as where another server takes over."""
        self._forgetful.append(forget)
        connections.when_lost(self.engine, forget)

    @contextmanager
    def _fencing(self) -> Iterator[None]:
        """Fence the order where it turns out that it is another one, and raise that nevertheless."""
        try:
            yield
        except OrderMoved:
            with self._translated(), self._transacting.begin() as connection:
                fence = UnitOfWork(connection).order.fence()
            for forget in self._forgetful:
                forget()
            if fence is not None:
                survived, resumed, origin = fence
                log.warning("order_fenced", survived=survived, resumed=resumed, origin=origin)
            raise

    def listener(self, channel: str, heard: Callable[[], None]) -> Listener | None:
        """Return who listens to a channel; None where there is only a pooler, past which nobody hears."""
        return None if self._direct is None else Listener(self._direct, channel, heard)

    def schema_revision(self) -> str | None:
        """Return the revision that Alembic left in the database, None before the first migration.

        Unavailable where PostgreSQL does not answer; this is what the health checks ask.
        """
        with self._translated(), self.engine.connect() as connection:
            if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
                return None
            revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
            return revision

    def standing(self) -> Standing:
        """Return how the schema stands to the one that this release needs; Unavailable as with the above."""
        return migrations.standing(self.schema_revision())

    def demand_schema(self, *, or_newer: bool = False) -> Standing:
        """Raise MigrationsPending unless the schema is the one of this release, and return how it stands.

        ``or_newer`` takes a newer one as well, for what is running while the next release is brought in.
        """
        revision = self.schema_revision()
        standing = migrations.standing(revision)
        if standing is Standing.CURRENT or (or_newer and standing is Standing.NEWER):
            return standing
        if standing in {Standing.EMPTY, Standing.BEHIND}:
            at = "has no tables of Harbor API yet" if revision is None else f"is at {revision}"
            detail = f"The database {at} and this release needs {migrations.head()}: run harbor-api migrate"
        else:
            detail = (
                f"The database is at {revision}, of a newer or another release, and this one needs "
                f"{migrations.head()}: use the release that migrated it"
            )
        raise MigrationsPending(detail)

    def migrate(self, *, wait_s: float = 0) -> None:
        """Run the migrations that are missing; MigrationsPending where the schema is of a newer release.

        Another host that migrates is waited for, ``wait_s`` seconds or some; Unavailable where it takes
        longer.
        """
        if self.standing() in {Standing.NEWER, Standing.FOREIGN}:
            self.demand_schema()
        with self._translated():
            migrations.upgrade(self.engine, wait_s=wait_s)

    def pool(self) -> tuple[int, int]:
        """Return how many connections there may be, and how many are in use."""
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)
        return pool.size(), pool.checkedout()

    def let_pool(self) -> None:
        """Let the role's connections have by themselves what the service needs, as behind a pooler.

        Asked of PostgreSQL itself, and not by way of the pooler.
        """
        with self._translated():
            pooling.tell(self.engine, self._timeout_ms)

    def dispose(self) -> None:
        """Close all connections that are not in use."""
        for each in (self.engine, self._direct, self.replica):
            if each is not None:
                each.dispose()
