"""SQLAlchemy: how we make its connections, and work on psycopg's own in the midst of its transactions."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, QueuePool, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.util.queue import Empty
from tests.canaries.relied_on import relied_on

relied = functools.partial(relied_on, "sqlalchemy")


class Ours(psycopg.Connection[Any]):
    pass


@pytest.fixture(scope="module")
def engine(new_database: Callable[[], str]) -> Iterator[Engine]:
    url = make_url(new_database()).set(drivername="postgresql+psycopg")
    engine = create_engine(url, pool_size=1, max_overflow=0)

    @event.listens_for(engine, "do_connect")
    def connect(_: Any, __: Any, arguments: list[Any], options: dict[str, Any]) -> Ours:
        return Ours.connect(*arguments, **options)

    yield engine
    engine.dispose()


@relied(
    "do_connect takes (dialect, record, arguments, options), and connection.connection.driver_connection is "
    "what it returned",
    by="postgres/connections.py makes connections of its own class; postgres/statements.py works on them",
)
def test_the_driver_s_connection_is_ours(engine: Engine):
    with engine.connect() as connection:
        assert type(connection.connection.driver_connection) is Ours


@relied(
    "what runs on the driver's connection is in Core's transaction, once Core has begun it",
    by="postgres/statements.py runs statements on either side of Core's",
)
def test_both_sides_share_a_transaction(engine: Engine):
    with engine.connect() as connection, connection.begin() as transaction:
        driver: Any = connection.connection.driver_connection
        driver.execute(b"CREATE TABLE shared (n integer)")
        connection.execute(text("INSERT INTO shared VALUES (1)"))
        assert driver.execute(b"SELECT n FROM shared").fetchall() == [(1,)]
        transaction.rollback()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT to_regclass('shared')")) is None


@relied(
    "a DBAPIError has psycopg's own error in orig, and connection_invalidated where the connection is gone",
    by="postgres/connections.py tells Contended and Unavailable by them",
)
def test_errors_carry_the_driver_s(engine: Engine):
    with engine.connect() as connection, pytest.raises(DBAPIError) as caught:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert isinstance(caught.value.orig, psycopg.OperationalError)
    assert caught.value.connection_invalidated
    with engine.connect() as connection, pytest.raises(DBAPIError) as caught:
        connection.execute(text("SELECT 1 / 0"))
    assert caught.value.orig.sqlstate == "22012"
    assert not caught.value.connection_invalidated


@relied(
    "a connection is in the mode that its engine was made with; with another isolation level an engine "
    "shares the pool, and a connection comes back as it was; and each is rolled back when it is given back",
    by="database.py keeps two engines over one pool, and rolls back by giving a connection back",
)
def test_autocommit_is_what_a_connection_comes_back_to(engine: Engine):
    autocommit = create_engine(engine.url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=0)
    transacting = autocommit.execution_options(isolation_level="READ COMMITTED")
    assert transacting.pool is autocommit.pool
    for one, is_on in ((autocommit, True), (transacting, False), (autocommit, True)):
        with one.connect() as connection:
            assert connection.connection.driver_connection.autocommit is is_on
    with autocommit.connect() as connection:
        driver = connection.connection.driver_connection
        driver.execute(b"BEGIN")
    assert driver.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    autocommit.dispose()


@relied(
    "a QueuePool takes what it gives from _do_get(), what was given back stands in _pool, whose get() raises "
    "Empty when its time is over, and checkedout() counts neither those nor one that could not be made",
    by="postgres/connections.py waits for a connection of its own where PostgreSQL has none left",
)
def test_a_pool_may_be_waited_for(engine: Engine):
    asked: list[bool] = []

    class Pool(QueuePool):
        def _do_get(self) -> Any:
            asked.append(True)
            return super()._do_get()

    def refuse() -> Any:
        raise psycopg.OperationalError("refused")

    pool = Pool(refuse, pool_size=2, max_overflow=0)
    with pytest.raises(psycopg.OperationalError):
        pool.connect()
    assert (len(asked), pool.checkedout(), pool.checkedin()) == (1, 0, 0)
    with pytest.raises(Empty):
        pool._pool.get(True, 0.01)


@relied(
    "DisconnectionError from a listener of checkout lets the pool make another connection in its place",
    by="postgres/connections.py looks there whether PostgreSQL has ended an idle one",
)
def test_an_ended_connection_is_replaced_at_checkout(engine: Engine):
    ended: list[Any] = []

    def demand_alive(connection: Any, _: Any, __: Any) -> None:
        if not ended:
            ended.append(connection)
            raise DisconnectionError

    event.listen(engine, "checkout", demand_alive)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
        assert connection.connection.driver_connection is not ended[0]
    event.remove(engine, "checkout", demand_alive)
