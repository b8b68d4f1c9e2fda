"""PostgreSQL has no room to write, or no partition to write into."""

import time

import psycopg
from tests.faults.fault import AWAY, AWAY_S, Fault
from tests.faults.grounds import SmallDisk
from tests.faults.stage import Stage

# What is as old is in the partition of all that is older than the months that there are.
_BACK_DAYS = 4_000


def _fill_disk(stage: Stage) -> str:
    assert isinstance(stage.ground, SmallDisk)
    stage.ground.fill()
    time.sleep(AWAY_S)
    ended = _end_the_log(stage)
    time.sleep(AWAY_S)
    stage.ground.free()
    starts = 0

    def is_well() -> bool:
        nonlocal starts
        if not stage.postgres.is_running():
            # As its service manager would.
            stage.postgres.start()
            starts += 1
        return stage.is_well()

    stage.wait_until(is_well, "the service is well")
    return f"{ended}; started again: {starts} times"


def _end_the_log(stage: Stage) -> str:
    """Have PostgreSQL go on to further files of its log of changes, until there is no room for one."""
    try:
        with psycopg.connect(stage.postgres.url, autocommit=True) as connection:
            while True:
                connection.execute("SELECT pg_logical_emit_message(false, '', '', true)")
                connection.execute("SELECT pg_switch_wal()")
    except psycopg.OperationalError as error:
        return f"tables could not grow, then the log could not: {type(error).__name__}"


def _lose_partitions(stage: Stage) -> str:
    told = []
    # The one of all that is older than the months that there are, and that of this month.
    for table in _used_partitions(stage):
        before = _used_partitions(stage)
        # As somebody does who moves data elsewhere.
        with psycopg.connect(stage.postgres.url, autocommit=True) as connection:
            connection.execute(f"ALTER TABLE positions DETACH PARTITION {table} CONCURRENTLY".encode())
        time.sleep(AWAY_S)
        [made] = {*_used_partitions(stage)} - {*before}
        told.append(f"{made} was made for {table}")
        # What it holds was acknowledged, and is looked up afterwards.
        stage.sql(f"INSERT INTO positions SELECT * FROM {table}")
        stage.sql(f"DROP TABLE {table}")
    return "; ".join(told)


def _used_partitions(stage: Stage) -> list[str]:
    """Return the names of the partitions in which there are fixes."""
    rows = stage.sql("SELECT DISTINCT tableoid::regclass::text FROM positions ORDER BY 1 DESC")
    return [name for [name] in rows]


OF_STORAGE = (
    Fault(
        "disk-full",
        "503 with Retry-After while nothing can be written; well again once there is room",
        f"PostgreSQL's disk is full for {2 * AWAY_S:.0f} s: its tables, then its log, too",
        _fill_disk,
        allowed=AWAY,
        ground=SmallDisk,
        lacks=SmallDisk.lacks,
    ),
    Fault(
        "partition-missing",
        "What has no partition gets one on demand; nobody notices",
        "the partition of long ago is detached, then that of this month, while fixes for both come",
        _lose_partitions,
        traffic={"back_days": _BACK_DAYS},
    ),
)
