"""Positions on several servers: Citus keeps those of a vessel together, and this server knows where.

Only ``positions`` is distributed, by vessel_id: it is what grows without end. All else is a row for each
vessel, tracker, key or consumer, or is pruned, and stays here, where the committed order is.

Citus refuses much of what PostgreSQL does in one statement: LATERAL with a LIMIT, recursion, what changes two
tables, and plans for any values. So where positions are distributed no statement names them but those of the
functions here. Each of these asks one server for one vessel, or all of them for a stretch of the order, and
is nothing that Citus looks into. What the statements of the service are then is in ``distributed.py``.

What stands in ``fleet_order`` is not yet visible everywhere: a transaction that has stored on two servers
ends on each by itself, and only then lets go of the lock of the order. So ``order_head`` waits for that.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Connection, text

from harbor_api.domain.errors import Conflict
from harbor_api.postgres import partitions
from harbor_api.postgres.tables import FLEET_ORDER_LOCK

TABLE, COLUMN = "positions", "vessel_id"
# Citus has to know the values that it plans for. For each connection of ours it keeps one to each worker; any
# more it makes anew for each statement, which takes longer than all that they are for.
_SETTINGS = {"plan_cache_mode": "force_custom_plan", "citus.max_adaptive_executor_pool_size": "1"}


class Function(NamedTuple):
    """A function of the database, in PL/pgSQL, as Citus plans nothing in SQL functions."""

    name: str
    takes: str
    returns: str
    body: str

    @property
    def definition(self) -> str:
        """What makes it, or makes it anew."""
        settings = " ".join(f"SET {name} = {value}" for name, value in _SETTINGS.items())
        return (
            f"CREATE OR REPLACE FUNCTION {self.name}({self.takes}) RETURNS {self.returns}\n"
            f"LANGUAGE plpgsql {settings} AS $harbor${self.body}$harbor$"
        )


def _between(order: str) -> str:
    return f"""
        RETURN QUERY SELECT p.* FROM positions AS p
        WHERE p.vessel_id = vessel AND p.seq + 0 <= number
            AND p.recorded_at >= after_at AND p.recorded_at <= before_at
            AND (p.recorded_at, p.tracker_id) > (after_at, after_tracker)
            AND (p.recorded_at, p.tracker_id) < (before_at, before_tracker)
        ORDER BY p.recorded_at {order}, p.tracker_id {order} LIMIT most;"""  # noqa: S608 - constants of ours


# The arrays that a group of fixes comes in, as ``repositories/positions.py`` sends them.
_COLUMNS = """vessel_ids integer[], recorded_ats timestamptz[], tracker_ids integer[],
    received_ats timestamptz[], lats float8[], lons float8[], sogs real[], cogs real[], headings real[],
    nav_statuses smallint[], accuracies_m real[], batteries_v real[], lates boolean[]"""

FUNCTIONS = (
    # Of one vessel, between two names of fixes, both outside.
    Function(
        "fixes_of",
        "vessel integer, after_at timestamptz, after_tracker integer, before_at timestamptz, "
        "before_tracker integer, number bigint, backwards boolean, most bigint",
        "SETOF positions",
        f"""
BEGIN
    IF backwards THEN{_between("DESC")}
    ELSE{_between("ASC")}
    END IF;
END
""",
    ),
    # Of all vessels, by their numbers.
    Function(
        "fixes_beyond",
        "after bigint, upto bigint, since timestamptz, until timestamptz, most bigint",
        "SETOF positions",
        """
BEGIN
    RETURN QUERY SELECT p.* FROM positions AS p
    WHERE p.seq > after AND p.seq <= upto AND p.recorded_at >= since AND p.recorded_at < until
    ORDER BY p.seq LIMIT most;
END
""",
    ),
    # The first number beyond one whose fix came at a moment or later; and whose fix is later than one.
    Function(
        "number_since",
        "after bigint, moment timestamptz",
        "bigint",
        """
BEGIN
    RETURN (
        SELECT p.seq FROM positions AS p
        WHERE p.seq > after AND coalesce(p.released_at, p.received_at) >= moment
        ORDER BY p.seq LIMIT 1
    );
END
""",
    ),
    Function(
        "number_later",
        "after bigint, moment timestamptz",
        "bigint",
        """
BEGIN
    RETURN (
        SELECT p.seq FROM positions AS p
        WHERE p.seq > after AND greatest(p.received_at, p.recorded_at) > moment
        ORDER BY p.seq LIMIT 1
    );
END
""",
    ),
    Function(
        "newest_number",
        "",
        "bigint",
        """
BEGIN
    RETURN (SELECT p.seq FROM positions AS p ORDER BY p.seq DESC LIMIT 1);
END
""",
    ),
    # Stores fixes, the first with the number that comes after one.
    Function(
        "fixes_added",
        f"{_COLUMNS}, before bigint",
        "void",
        """
BEGIN
    INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, heading,
        nav_status, accuracy_m, battery_v, late, seq)
    SELECT fix.vessel_id, fix.recorded_at, fix.tracker_id, fix.received_at, fix.lat, fix.lon, fix.sog,
        fix.cog, fix.heading, fix.nav_status, fix.accuracy_m, fix.battery_v, fix.late, before + fix.place
    FROM unnest(vessel_ids, recorded_ats, tracker_ids, received_ats, lats, lons, sogs, cogs, headings,
        nav_statuses, accuracies_m, batteries_v, lates) WITH ORDINALITY
        AS fix (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, heading, nav_status,
            accuracy_m, battery_v, late, place);
END
""",
    ),
    # Stores whole rows but those that are there, and returns what was stored.
    Function(
        "fixes_put",
        "fixes jsonb",
        "SETOF positions",
        """
BEGIN
    RETURN QUERY INSERT INTO positions SELECT * FROM jsonb_populate_recordset(NULL::positions, fixes)
    ON CONFLICT (vessel_id, recorded_at, tracker_id) DO NOTHING RETURNING *;
END
""",
    ),
    # Deletes fixes by their names, and returns what they were.
    Function(
        "fixes_taken",
        "names json",
        "SETOF positions",
        """
DECLARE
    named record;
BEGIN
    FOR named IN
        SELECT * FROM json_to_recordset(names)
            AS each (vessel_id integer, recorded_at timestamptz, tracker_id integer)
    LOOP
        RETURN QUERY DELETE FROM positions AS p
        WHERE p.vessel_id = named.vessel_id AND p.recorded_at = named.recorded_at
            AND p.tracker_id = named.tracker_id
        RETURNING *;
    END LOOP;
END
""",
    ),
    # Deletes the oldest ones of a vessel that came no later than a number, and returns how many.
    Function(
        "fixes_trimmed",
        "vessel integer, since timestamptz, until timestamptz, number bigint, most bigint",
        "bigint",
        """
DECLARE
    gone bigint;
BEGIN
    DELETE FROM positions AS p
    WHERE p.vessel_id = vessel AND p.recorded_at >= since AND p.recorded_at < until
        AND (p.recorded_at, p.tracker_id) IN (
            SELECT old.recorded_at, old.tracker_id FROM positions AS old
            WHERE old.vessel_id = vessel AND old.seq + 0 <= number
                AND old.recorded_at >= since AND old.recorded_at < until
            ORDER BY old.recorded_at, old.tracker_id LIMIT most
        );
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
""",
    ),
    # Detaches and drops a partition; the time-out for locks holds on each server.
    Function(
        "partition_dropped",
        "partition text",
        "void",
        """
BEGIN
    PERFORM set_config('citus.propagate_set_commands', 'local', true);
    EXECUTE format('SET LOCAL lock_timeout = %L', current_setting('lock_timeout'));
    EXECUTE format('ALTER TABLE positions DETACH PARTITION %I', partition);
    EXECUTE format('DROP TABLE %I', partition);
END
""",
    ),
    # The last number of which all is visible on all servers. What it raises is for nobody: as the block ends
    # by it the lock is let go, and nobody who stores waits for whoever reads.
    Function(
        "order_head",
        "",
        "bigint",
        f"""
DECLARE
    head bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared({FLEET_ORDER_LOCK});
    SELECT last_value INTO head FROM fleet_order;
    RAISE SQLSTATE 'HB002';
EXCEPTION WHEN SQLSTATE 'HB002' THEN
    RETURN head;
END
""",  # noqa: S608 - a constant of ours is put in
    ),
)

_IS_THERE = b"SELECT to_regproc('fixes_of') IS NOT NULL"
_FOUND = text("""
SELECT CAST(to_regclass('pg_dist_partition') AS text) AS citus,
    pg_has_role(c.relowner, 'USAGE') AS is_owner, pg_get_userbyid(c.relowner) AS owner
FROM pg_class AS c WHERE c.oid = CAST('positions' AS regclass)
""")
# What Citus knows: asked only where there is one.
_DISTRIBUTED = text("""
SELECT column_to_column_name(logicalrelid, partkey) FROM pg_dist_partition
WHERE logicalrelid = CAST('positions' AS regclass)
""")
_NODES = text("""
SELECT count(*) FROM pg_dist_node WHERE noderole = 'primary' AND isactive AND shouldhaveshards
""")
_IS_COORDINATOR = text("SELECT groupid = 0 FROM pg_dist_local_group")
_MADE = text("""
SELECT p.proname, p.prosrc, p.proconfig FROM pg_proc AS p
WHERE p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = CAST('positions' AS regclass))
""")
# What was stored here before is still on this server's disk, where nobody sees it.
_KEPT = text("SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree('positions') WHERE isleaf")
_FREE = "SELECT truncate_local_data_after_distributing_table('positions')"


def is_there(connection: "psycopg.Connection[Any]") -> bool:
    """Return whether positions are asked for by the functions; a connection asks when it is made."""
    autocommit = connection.autocommit
    connection.autocommit = True
    [(found,)] = connection.execute(_IS_THERE).fetchall()
    connection.autocommit = autocommit
    return bool(found)


def missing(connection: Connection, *, shards: int) -> Iterator[str]:
    """Yield the statements that have positions distributed, as far as that is not done.

    Conflict where it cannot be: Citus is not there, this is not its coordinator, no server is added, or the
    role is not the owner of the table.
    """
    found = connection.execute(_FOUND).one()
    if found.citus is None:
        raise Conflict(
            "Citus is not in this database: put citus in shared_preload_libraries of each server, and run "
            "CREATE EXTENSION citus in this database on each, as deploy/citus.md says"
        )
    if not found.is_owner:
        raise Conflict(f"positions are {found.owner}'s: run this as that role")
    if not connection.scalar(_IS_COORDINATOR):
        raise Conflict("This is a worker of Citus: HARBOR_DATABASE_URL has to lead to the coordinator")
    if not connection.scalar(_NODES):
        raise Conflict("No server is to have positions: SELECT citus_add_node('name', port) for each worker")
    column = connection.scalar(_DISTRIBUTED)
    if column not in {None, COLUMN}:
        raise Conflict(f"positions are distributed by {column}, and not by {COLUMN}")
    made = {name: (body, config) for name, body, config in connection.execute(_MADE)}
    settings = [f"{name}={value}" for name, value in _SETTINGS.items()]
    yield from (each.definition for each in FUNCTIONS if made.get(each.name) != (each.body, settings))
    if column is None:
        # What is distributed has no triggers, without which nothing can be settled.
        for name in sorted(partitions.watched(connection)):
            yield f"DROP TRIGGER note_late_fix ON {name}"
        yield "UPDATE order_settled SET since = '-infinity', until = '-infinity'"
        yield f"SELECT create_distributed_table('{TABLE}', '{COLUMN}', shard_count := {shards})"
    if connection.scalar(_KEPT):
        yield _FREE


def do(connection: Connection, statements: Sequence[str]) -> None:
    """Run the statements that are missing, all or none: in a transaction that may take long."""
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    for each in statements:
        connection.exec_driver_sql(each.replace("%", "%%"))
