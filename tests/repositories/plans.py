"""What statements touch in a database of the size that the service is to have: rows and buffers.

The counts are the server's own. Each statement that a repository sends is prepared under the text and the
types that psycopg sends, run in a savepoint that is rolled back, and then run as it came.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import psycopg
from psycopg import sql
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import Format, TransactionStatus

from harbor_api.postgres.arrays import Encoded
from harbor_api.postgres.connections import _Connection

# How many there are of each, and how many there were when all was small.
SIZES = {
    "vessels": 3_000,
    "sailing": 100,
    "fixes": 10_000,
    "trackers": 24_000,
    "held": 100_000,
    "entries": 100_000,
    "keys": 24_000,
    "claims": 100_000,
}
SMALL = {
    "vessels": 120,
    "sailing": 100,
    "fixes": 1,
    "trackers": 120,
    "held": 100,
    "entries": 100,
    "keys": 120,
    "claims": 100,
}
# The fixes of a vessel are so far apart; those that are held of vessel 1 lie closer.
STEP_S = 30

# Each takes the numbers above %(<what>_from)s, up to %(<what>)s. The vessels that sail report in turn, so
# that each fix of a vessel lies on another page of the table.
_FILL = """
INSERT INTO vessels (id, name, imo, mmsi, retired_at, seq) OVERRIDING SYSTEM VALUE
SELECT n, 'Vessel ' || n, lpad(n::text, 7, '0'), lpad(n::text, 9, '0'),
    CASE WHEN n %% 50 = 0 THEN now() END, nextval('fleet_order')
FROM generate_series(%(vessels_from)s + 1, %(vessels)s) AS n;

INSERT INTO trackers (id, label) OVERRIDING SYSTEM VALUE
SELECT n, 'bridge' FROM generate_series(%(trackers_from)s + 1, %(trackers)s) AS n;

-- Every tracker belongs to a vessel, some have been on others, and one has been on a hundred.
INSERT INTO assignments (tracker_id, starts_at, vessel_id)
SELECT n, '0001-01-01 00:00:00+00', 1 + (n - 1) %% %(vessels)s
FROM generate_series(%(trackers_from)s + 1, %(trackers)s) AS n
UNION ALL
SELECT n, '2026-01-01 00:00:00+00'::timestamptz, 1
FROM generate_series(%(trackers_from)s + 1, %(trackers)s) AS n WHERE n %% 1000 = 7
UNION ALL
SELECT 2, '2025-01-01 00:00:00+00'::timestamptz + n * interval '1 hour', 2
FROM generate_series(%(trackers_from)s / 240 + 1, %(trackers)s / 240) AS n;

INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, heading, seq)
SELECT vessel, at, vessel, at, 59.9, 10.7, 8.4, 181.2, 180, nextval('fleet_order')
FROM generate_series(%(fixes_from)s + 1, %(fixes)s) AS n,
    LATERAL generate_series(1, %(sailing)s + 0 * n) AS vessel,
    LATERAL (SELECT %(began)s::timestamptz + n * %(step_s)s * interval '1 second' AS at) AS moment;

-- All but the last ten vessels have been heard of, most of them once.
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, heading, seq)
SELECT vessel, %(began)s, vessel, %(began)s, 59.9, 10.7, 8.4, 181.2, 180, nextval('fleet_order')
FROM generate_series(greatest(%(vessels_from)s, %(sailing)s) + 1, least(%(vessels)s, 2990)) AS vessel;

INSERT INTO latest_positions AS latest
    (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, cog, heading, seq)
SELECT vessel, at, vessel, at, 59.9, 10.7, 8.4, 181.2, 180, nextval('fleet_order')
FROM generate_series(1, least(%(vessels)s, 2990)) AS vessel, LATERAL (SELECT %(began)s::timestamptz
    + CASE WHEN vessel <= %(sailing)s THEN %(fixes)s ELSE 0 END * %(step_s)s * interval '1 second' AS at
) AS moment
ON CONFLICT (vessel_id) DO UPDATE SET recorded_at = excluded.recorded_at;

-- Four of five are of one vessel, whose jumps have a long stretch without any between them; what has been
-- released is the newest, and of others.
INSERT INTO quarantine
    (id, vessel_id, recorded_at, tracker_id, received_at, reason, fix, raw, state, decided_at)
OVERRIDING SYSTEM VALUE
SELECT n, CASE WHEN n %% 5 < 4 THEN 1 ELSE 2 + n %% 50 END, at, 1, at,
    CASE
        WHEN n BETWEEN 30000 AND 60000 THEN 'future'
        WHEN n %% 1000 = 3 THEN 'week_rollover'
        WHEN n %% 10 = 4 THEN 'null_island'
        WHEN n %% 10 < 4 THEN 'impossible_jump'
        ELSE 'future'
    END,
    '{"lat": 59.9, "lon": 10.7, "sog": 8.4}', '{"lat": 59.9, "lon": 10.7, "sog": 8.4, "n": 1}',
    CASE WHEN n > 99950 AND n %% 5 = 4 THEN 'released' WHEN n %% 40 = 1 THEN 'rejected' ELSE 'held' END,
    CASE WHEN n %% 40 = 1 THEN now() END
FROM generate_series(%(held_from)s + 1, %(held)s) AS n,
    LATERAL (SELECT %(began)s::timestamptz + n * interval '7 seconds' AS at) AS moment;

INSERT INTO audit (id, actor, action, subject, before, after) OVERRIDING SYSTEM VALUE
SELECT n, 'key 1', 'vessel.changed', CASE WHEN n = 1 THEN 'vessels/first' WHEN n %% 2 = 0 THEN 'vessels/1'
    ELSE 'vessels/' || n %% 3000 END, '{"name": "Old"}', '{"name": "New"}'
FROM generate_series(%(entries_from)s + 1, %(entries)s) AS n;

-- A tenth have been rotated.
INSERT INTO api_keys
    (id, name, prefix, sha256, previous_sha256, previous_valid_until, scopes, all_vessels, parent_id)
OVERRIDING SYSTEM VALUE
SELECT n, 'partner', 'hbr_000000', sha256(('now ' || n)::bytea),
    CASE WHEN n %% 10 = 0 THEN sha256(('before ' || n)::bytea) END,
    CASE WHEN n %% 10 = 0 THEN '9999-12-31 00:00:00+00'::timestamptz END, '{vessels:read}', n > 1000,
    -- Half of them have been issued by one of a few others, and some of those by another one.
    CASE WHEN n > 2000 AND n %% 2 = 0 THEN 1000 + n %% 100 WHEN n BETWEEN 1001 AND 1010 THEN 1000 END
FROM generate_series(%(keys_from)s + 1, %(keys)s) AS n;

INSERT INTO grants (api_key_id, vessel_id)
SELECT 1, n FROM generate_series(%(vessels_from)s + 1, %(vessels)s) AS n
UNION ALL
SELECT key, 5 * (key %% 20) + n
FROM generate_series(1, 5) AS n,
    generate_series(greatest(%(keys_from)s, 1) + 1, least(%(keys)s, 1000)) AS key;

-- One key has as many consumers as there may be, and each other one has one.
INSERT INTO feeds (api_key_id, name, number, filters)
SELECT n, 'warehouse', n, '{}'::jsonb FROM generate_series(%(keys_from)s + 1, %(keys)s) AS n
UNION ALL
SELECT 1, 'consumer ' || n, n, '{}'::jsonb
FROM generate_series(1, 19) AS n WHERE %(keys_from)s = 0;

-- One tracker has as many ranges as are kept.
INSERT INTO arrived_numbers (tracker_id, numbers)
SELECT n, CASE WHEN n = 1 THEN (
    SELECT range_agg(int8range(3 * gap, 3 * gap + 1)) FROM generate_series(1, 1000) AS gap
) ELSE int8multirange(int8range(0, 5000)) END
FROM generate_series(%(trackers_from)s + 1, %(trackers)s) AS n;

-- Nine of ten are older than a day, of many callers.
INSERT INTO idempotency_keys (api_key_id, key, fingerprint, nonce, answer, created_at)
SELECT 1 + n %% %(keys)s, 'key ' || n, '\\x00', '\\x00', '\\x00',
    now() - interval '12 hours' - CASE WHEN n %% 10 > 0 THEN interval '1 day' ELSE interval '0' END
        - (%(claims)s - n) * interval '10 ms'
FROM generate_series(%(claims_from)s + 1, %(claims)s) AS n;

SELECT setval('vessels_id_seq', %(vessels)s), setval('trackers_id_seq', %(trackers)s),
    setval('quarantine_id_seq', %(held)s), setval('audit_id_seq', %(entries)s),
    setval('api_keys_id_seq', %(keys)s);
"""


def fill(
    connection: psycopg.Connection[Any],
    sizes: Mapping[str, int],
    beyond: Mapping[str, int],
    *,
    began: datetime,
) -> None:
    """Fill a database up to some sizes, beyond those that it has, and leave its statistics as they are.

    Fixes are recorded from ``began`` on.
    """
    values = {**sizes, **{f"{name}_from": beyond.get(name, 0) for name in sizes}}
    cursor = psycopg.ClientCursor(connection)
    cursor.execute("SET synchronous_commit = off")
    cursor.execute(_FILL, {**values, "began": began, "step_s": STEP_S})


@dataclass
class Touched:
    """What statements have touched, wanted or not, and the plans by which they did.

    ``sorted`` are the rows that were put into an order, and ``scanned`` the tables that were read through.
    """

    rows: int = 0
    buffers: int = 0
    sorted: int = 0
    scanned: set[str] = field(default_factory=set)
    plans: list[str] = field(default_factory=list)


class _Cursor(psycopg.Cursor[Any]):
    """A cursor that has counted what each of its statements touches."""

    def execute(self, query: Any, params: Any = None, **rest: Any) -> Any:
        if MeasuringConnection.touched is not None and isinstance(self.connection, MeasuringConnection):
            if isinstance(query, bytes):
                MeasuringConnection.sent.add(query)
            text = query if isinstance(query, bytes) else query.encode()
            self.connection.measure(text, params or {}, MeasuringConnection.touched)
        return super().execute(query, params, **rest)


class MeasuringConnection(_Connection):
    """A connection of the service's that counts what is touched, while there is something to count on."""

    touched: ClassVar[Touched | None] = None
    # The texts that were sent as bytes, past Core.
    sent: ClassVar[set[bytes]] = set()

    @classmethod
    def connect(cls, *args: Any, **kwargs: Any) -> Any:
        # The statements are prepared here, and stay so over a rollback.
        return super().connect(*args, **kwargs, cursor_factory=_Cursor, prepare_threshold=None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ready: dict[tuple[bytes, tuple[int, ...]], str] = {}

    def measure(self, text: bytes, values: Mapping[str, Any], touched: Touched) -> None:
        """Count what a statement touches, and leave nothing of what it does."""
        cursor = psycopg.Cursor(self)
        run = self._execution(cursor, text, values)
        alone = self.info.transaction_status == TransactionStatus.IDLE
        cursor.execute("BEGIN" if alone else "SAVEPOINT measuring")
        cursor.execute(sql.SQL("EXPLAIN {}").format(run))
        counts = [_counted(cursor)]
        cursor.execute(sql.SQL("EXPLAIN {}").format(run))
        counts.append(_counted(cursor))
        cursor.execute(sql.SQL("EXPLAIN (ANALYZE, TIMING OFF, BUFFERS, FORMAT JSON) {}").format(run))
        [[[explained]]] = cursor.fetchall()
        counts.append(_counted(cursor))
        cursor.execute("ROLLBACK" if alone else "ROLLBACK TO SAVEPOINT measuring")
        # To plan for these values looks at the ends of indexes, which is no part of what the plan does.
        rows, buffers = (after - 2 * planned + before for before, planned, after in zip(*counts, strict=True))
        nodes = list(_nodes(explained["Plan"]))
        touched.rows += rows + sum(_beside_tables(node) for _, node in nodes)
        touched.buffers += buffers
        touched.sorted += sum(_sorted(node) for _, node in nodes)
        touched.scanned |= {node["Relation Name"] for _, node in nodes if node["Node Type"] == "Seq Scan"}
        touched.plans.append("\n".join(_line(depth, node) for depth, node in nodes))

    def _execution(
        self, cursor: psycopg.Cursor[Any], text: bytes, values: Mapping[str, Any]
    ) -> sql.Composable:
        """Return what executes a statement with these values, prepared as psycopg does it for its types."""
        names = list(dict.fromkeys(name.decode() for name in _PLACEHOLDER.findall(text)))
        wanted = [values[name] for name in names]
        transformer = Transformer(self)
        transformer.dump_sequence(wanted, [PyFormat.AUTO] * len(wanted))
        types = transformer.types or ()
        if (text, types) not in self._ready:
            self._ready[text, types] = name = f"measured_{len(self._ready)}"
            cursor.execute(
                "SELECT CASE oid WHEN 0 THEN 'unknown' ELSE format_type(oid, NULL) END "
                "FROM unnest(%s::oid[]) WITH ORDINALITY AS type (oid, place) ORDER BY place",
                [list(types)],
            )
            known = ", ".join(each for (each,) in cursor.fetchall())
            numbered = _PLACEHOLDER.sub(lambda found: b"$%d" % (names.index(found[1].decode()) + 1), text)
            typed = f"PREPARE {name} ({known}) AS " if types else f"PREPARE {name} AS "
            cursor.execute(typed.encode() + numbered.replace(b"%%", b"%"))
        literals = sql.SQL(", ").join(sql.Literal(_decoded(self, each)) for each in wanted)
        return sql.SQL("EXECUTE {} ({})" if wanted else "EXECUTE {}").format(
            sql.Identifier(self._ready[text, types]), literals
        )


_PLACEHOLDER = re.compile(rb"%\((\w+)\)[sb]")
# Where the head of an array in binary form tells the type of its elements.
_ELEMENT = slice(8, 12)
# What scans have returned of tables and of indexes, and what bitmaps and places have fetched beyond that;
# what triggers touch is among it, which a plan does not tell.
_COUNTED = """
SELECT sum(pg_stat_get_xact_tuples_returned(oid)
        + CASE relkind WHEN 'r' THEN pg_stat_get_xact_tuples_fetched(oid) ELSE 0 END)::bigint,
    sum(pg_stat_get_xact_blocks_fetched(oid))::bigint
FROM pg_class WHERE relkind IN ('r', 'i', 't') AND oid >= 16384
"""


def _decoded(connection: psycopg.Connection[Any], value: object) -> object:
    """Return a value that EXECUTE can be given as a literal."""
    if not isinstance(value, Encoded):
        return value
    element = connection.adapters.types[int.from_bytes(value[_ELEMENT])]
    return Transformer(connection).get_loader(element.array_oid, Format.BINARY).load(value)


def _counted(cursor: psycopg.Cursor[Any]) -> tuple[int, int]:
    """Return the rows and the buffers of all tables and indexes that this transaction has touched."""
    cursor.execute(_COUNTED)
    [(rows, buffers)] = cursor.fetchall()
    return int(rows), int(buffers)


def _nodes(plan: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[int, Mapping[str, Any]]]:
    yield depth, plan
    for each in plan.get("Plans", ()):
        yield from _nodes(each, depth + 1)


def _beside_tables(node: Mapping[str, Any]) -> int:
    """Return the rows that a node has made or compared that are no table's: of functions, of joins."""
    rows = node.get("Rows Removed by Join Filter", 0)
    if node["Node Type"] in {
        "Function Scan",
        "CTE Scan",
        "WorkTable Scan",
        "Values Scan",
        "Table Function Scan",
    }:
        rows += node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return int(rows * node["Actual Loops"])


def _sorted(node: Mapping[str, Any]) -> int:
    """Return the rows that a node has put into an order."""
    if node["Node Type"] not in {"Sort", "Incremental Sort"}:
        return 0
    return sum(int(each["Actual Rows"] * each["Actual Loops"]) for each in node["Plans"])


def _line(depth: int, node: Mapping[str, Any]) -> str:
    where = node.get("Index Name") or node.get("Relation Name") or node.get("Function Name") or ""
    removed = {name: value for name, value in node.items() if name.startswith("Rows Removed") and value}
    told = f"{node['Actual Rows']} rows x {node['Actual Loops']}, {node.get('Shared Hit Blocks', 0)} buffers"
    return f"{'  ' * depth}{node['Node Type']} {where}: {told} {removed or ''}"
