"""Partitions of ``positions``: a month each, and before the first of them one of all that is older.

There is none for all else (DEFAULT): PostgreSQL would have to read it whenever another one is made, and could
not let one go without waiting for everybody. So a fix may find no partition: one is made then, and the fix is
stored.

Whoever makes one or lets one go waits for locks no longer than a moment, as all others wait behind: then it
is ``Unavailable``, and tried again. What is made is attached, which readers and writers do not notice.

Months that have gone by can be settled, for those who read by number (``postgres/order.py``). The row of
``order_settled`` holds in each snapshot: a partition has its trigger before it is settled, by a lock that
waits for all who store in it; from then on whoever does raises the number in the same transaction. What is
made anew where a partition was dropped has none, and so nothing is dropped before it is settled no more.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import NamedTuple

from sqlalchemy import Connection, Engine, text

from harbor_api.domain.errors import Unavailable
from harbor_api.domain.months import Month
from harbor_api.postgres import statements

# Whoever makes or drops partitions holds it, so that two do not do the same.
PARTITIONS_LOCK = 0x50415254  # "PART"
# What stands in the comment of a partition that is to be dropped: once it is detached nothing else tells.
_TO_GO = "harbor-api: to be dropped"
# Whoever waits for a lock has others wait behind it.
_LOCK_MS = 1_000
_BOUND = re.compile(r"FROM \((?:MINVALUE|'([^']+)')\) TO \((?:MAXVALUE|'([^']+)')\)")
_END = datetime.max.replace(tzinfo=UTC)
# Nothing that is later is stored: whoever finds such a fix has a clock that is wrong.
_FURTHEST = timedelta(days=366)

# Detached ones that are still to be dropped come last, without bounds.
ALL = f"""
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), coalesce(i.inhdetachpending, true),
    pg_total_relation_size(c.oid), greatest(c.reltuples, 0)::bigint
FROM pg_class AS c LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid AND i.inhparent = 'positions'::regclass
WHERE i.inhrelid IS NOT NULL OR (
    c.relkind = 'r' AND NOT c.relispartition AND obj_description(c.oid, 'pg_class') = '{_TO_GO}'
    AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'positions'::regclass)
)
ORDER BY c.relname
""".encode()  # noqa: S608 - constants of ours are put in


# Also where a table is filled by replication, which passes over triggers of other kinds.
_NOTE = """
CREATE TRIGGER note_late_fix AFTER INSERT OR UPDATE OF seq ON {0}
    FOR EACH ROW EXECUTE FUNCTION note_late_fix();
ALTER TABLE {0} ENABLE ALWAYS TRIGGER note_late_fix
"""
_WATCHED = """
SELECT c.relname FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
WHERE t.tgname = 'note_late_fix' AND c.oid IN (
    SELECT inhrelid FROM pg_inherits WHERE inhparent = 'positions'::regclass
)
"""
# What somebody has stored since this began has raised the number itself, and is looked at once more.
_SETTLE = """
UPDATE order_settled SET since = :since, until = :until, number = greatest(number, (
    SELECT seq FROM positions WHERE recorded_at >= :since AND recorded_at < :until ORDER BY seq DESC LIMIT 1
))
WHERE (since, until) <> (:since, :until)
"""
_UNSETTLE = "UPDATE order_settled SET since = :until WHERE since < :until"


class Partition(NamedTuple):
    """A partition: from ``since``, None for the one of all that is older, up to but without ``until``.

    ``rows`` is PostgreSQL's guess. One that is on its way out ``is_going``, and has no ends once it is
    detached.
    """

    name: str
    since: datetime | None
    until: datetime | None
    is_going: bool
    bytes: int
    rows: int

    @classmethod
    def of(cls, name: str, bound: str | None, is_going: bool, size: int, rows: int) -> "Partition":
        """Return what a row of ``ALL`` tells."""
        since = until = None
        if bound is not None:
            found = _BOUND.search(bound)
            assert found is not None, bound
            since = None if found[1] is None else datetime.fromisoformat(found[1]).astimezone(UTC)
            until = _END if found[2] is None else datetime.fromisoformat(found[2]).astimezone(UTC)
        return cls(name=name, since=since, until=until, is_going=is_going, bytes=size, rows=rows)


def make(connection: Connection, *, up_to: datetime, holding: datetime | None = None) -> list[str]:
    """Make the partitions that are missing up to a moment, and return their names.

    Those are the months between two that there are, those up to the moment, and where ``holding`` is older
    than all of them, one of all that is older. Two may do it at once: one waits for the other up to the end
    of its transaction, and finds nothing to do. Unavailable for what is more than a year ahead.
    """
    if up_to > datetime.now(UTC) + _FURTHEST:
        raise Unavailable(cause=f"nothing is stored that was recorded in {up_to:%Y}")
    _run(connection, f"SET LOCAL lock_timeout = {_LOCK_MS}")
    _run(connection, f"SELECT pg_advisory_xact_lock({PARTITIONS_LOCK})")
    there = [each for each in _all(connection) if each.until is not None]
    made = [*_missing(there, up_to=up_to, holding=holding)]
    for name, since, until in made:
        free = _free_name(connection, name)
        low = "MINVALUE" if since is None else f"'{since}'"
        _run(
            connection,
            f"CREATE TABLE {free} (LIKE positions INCLUDING DEFAULTS INCLUDING INDEXES)",
            f"ALTER TABLE positions ATTACH PARTITION {free} FOR VALUES FROM ({low}) TO ('{until}')",
        )
    return [name for name, _, _ in made]


def to_watch(connection: Connection, *, before: datetime) -> list[str]:
    """Return the names of partitions that end with a moment or sooner and are not watched yet.

    None where positions are distributed: nothing is settled there.
    """
    if statements.is_distributed(connection):
        return []
    there = watched(connection)
    return [each.name for each in _stretch(_all(connection), before=before) if each.name not in there]


def watch(connection: Connection, name: str) -> None:
    """Have it noted from now on where a fix is stored in a partition, as it must be before that is settled.

    It waits a moment for whoever stores in it just then; Unavailable where that takes longer.
    """
    _run(connection, f"SET LOCAL lock_timeout = {_LOCK_MS}", _NOTE.format(name))


def settle(connection: Connection, *, before: datetime) -> None:
    """Let those who read by number pass over partitions that end with a moment or sooner, and are watched."""
    _run(connection, f"SELECT pg_advisory_xact_lock({PARTITIONS_LOCK})")
    there = watched(connection)
    stretch = [*takewhile(lambda each: each.name in there, _stretch(_all(connection), before=before))]
    if stretch:
        ends = {"since": stretch[-1].since or "-infinity", "until": stretch[0].until}
        connection.execute(text(_SETTLE), ends)


def watched(connection: Connection) -> set[str]:
    """Return the names of partitions of which it is noted where a fix is stored."""
    return {*connection.exec_driver_sql(_WATCHED).scalars()}


def _stretch(there: Sequence[Partition], *, before: datetime) -> Iterator[Partition]:
    """Yield the partitions that end with a moment or sooner, from the last one back to the first gap."""
    begin = None
    for each in reversed(there):
        if each.until is None or each.until > before:
            continue
        if each.is_going or begin not in {None, each.until}:
            return
        yield each
        begin = each.since


def let_go(engine: Engine, name: str, *, spared: Sequence[int] = ()) -> bool:
    """Drop a partition with all that it holds, or what is left of one that was on its way out; tell whether
    it is gone.

    It is detached beside all others first, which waits for those who have begun to read, and then dropped;
    ended in between, the same again goes on. What is detached and holds anything of vessels that are
    ``spared`` stays as that. Unavailable where somebody holds it for longer than a moment.
    """
    # Its name is looked up: nothing is dropped that is no partition of ours.
    with engine.connect() as connection:
        found = next((each for each in _all(connection) if each.name == name), None)
        if found is None:
            return True
        _run(connection, f"SET lock_timeout = {_LOCK_MS}")
        try:
            if not found.is_going:
                _run(connection, f"COMMENT ON TABLE {name} IS '{_TO_GO}'")
            if found.until is not None and statements.is_distributed(connection):
                # For all who read at once: Citus cannot do so beside them.
                _run(connection, f"SELECT partition_dropped('{name}')")
                return True
            if found.until is not None:
                connection.execute(text(_UNSETTLE), {"until": found.until})
                how = "FINALIZE" if found.is_going else "CONCURRENTLY"
                _run(connection, f"ALTER TABLE positions DETACH PARTITION {name} {how}")
            held = text(f"SELECT EXISTS (SELECT FROM {name} WHERE vessel_id = ANY (:spared))")  # noqa: S608 - as above
            if spared and connection.scalar(held, {"spared": list(spared)}):
                return False
            _run(connection, f"DROP TABLE {name}")
            return True
        finally:
            if not connection.invalidated:
                _run(connection, "RESET lock_timeout")


def _all(connection: Connection) -> list[Partition]:
    found = [Partition.of(*row) for row in connection.exec_driver_sql(ALL.decode())]
    return sorted(found, key=lambda each: (each.until is None, each.until, each.name))


def _missing(
    there: Sequence[Partition], *, up_to: datetime, holding: datetime | None
) -> Iterator[tuple[str, datetime | None, datetime]]:
    """Yield the name and the ends of each partition that is missing."""
    begins = [(each.since, each.until) for each in there]
    first = begins[0][0] if begins else Month.of(up_to).begin
    if holding is not None and first is not None and holding < first:
        yield f"positions_before_{Month.of(first)}", None, first
    ends = [until for _, until in begins if until is not None]
    stops = [since for since, _ in begins[1:] if since is not None]
    last = Month.of(up_to).end
    for end, stop in zip(ends, [*stops, last], strict=False):
        month = Month.of(end)
        while month.begin < stop:
            yield f"positions_{month}", month.begin, month.end
            month = month.after(1)


def _free_name(connection: Connection, name: str) -> str:
    """Return a name that no table has: one that is still to be dropped may have it."""
    free, number = name, 1
    while connection.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": free}):
        number += 1
        free = f"{name}_{number}"
    return free


def _run(connection: Connection, *several: str) -> None:
    for each in several:
        connection.exec_driver_sql(each)
