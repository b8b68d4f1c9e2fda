"""What is read: a fleet with a past, the same in a database of the service's and in one of the peer's.

Fixes lie in the order in which they came, one vessel after the other in turns; all have come a second after
they were taken. Ships go in circles at some eight knots, so that no fix contradicts the one before.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from tests.benchmarks import fleet
from tests.support.factories import MASTER_KEY, World

from harbor_api.database import Database
from harbor_api.domain import cursors, feed_cursors

WHOLE, GRANTED, COARSE, LATE = "whole", "granted", "coarse", "late"
DECIMALS, DELAY_S, GRANTS = 2, 300, 1_000
# Of the vessels that are said to be stale, each tenth: when they were heard of last.
_SILENT_FOR = timedelta(hours=2)
_RADIANS_A_SECOND = 7.4e-5
_SILENT = "vessel %% 10 = 0"

_VESSELS = """
INSERT INTO vessels (id, name, imo, mmsi, call_sign, flag, kind, length_m, beam_m, draught_m, max_speed_kn
                     {seq})
OVERRIDING SYSTEM VALUE
SELECT n, 'Skagerrak Trader ' || n, (9000000 + n)::text, (257000000 + n)::text, 'LA' || n, 'NO', 'cargo',
       86.5, 13.2, 4.1, NULL {number}
FROM generate_series(1, %(vessels)s) AS n
"""
_NAMES = ("vessel_id", "recorded_at", "tracker_id", "received_at", "lat", "lon", "sog", "cog", "heading",
          "nav_status", "accuracy_m")  # fmt: skip
# What is alike for all in a turn is told once a turn, and a turn is over before the next one begins.
_POSITIONS = """
INSERT INTO positions ({names}{seq})
SELECT vessel, moment, vessel, moment + interval '1 s',
       floor((50 + vessel %% 1000 * 0.01 + north) * 1e6) / 1e6, floor((vessel * 0.01 + east) * 1e6) / 1e6,
       8.4, cog, heading, 0, 4{number}
FROM generate_series(1, %(fixes)s) AS n,
     LATERAL (
         SELECT sin(n * %(angle)s) / 2 AS north, cos(n * %(angle)s) / 2 AS east,
                n * 7 %% 3600 / 10.0 AS cog, n %% 360 AS heading,
                %(end)s + (n - %(fixes)s) * %(every)s AS over
     ) AS turn,
     LATERAL generate_series(1, %(vessels)s + 0 * n) AS vessel,
     LATERAL (SELECT over - (%(vessels)s - vessel) * %(between)s AS moment) AS clock
{where}
"""
_LATEST = """
INSERT INTO latest_positions ({names}, seq)
SELECT {newest}, newest.seq
FROM vessels, LATERAL (
    SELECT * FROM positions WHERE vessel_id = vessels.id
    ORDER BY recorded_at DESC, tracker_id DESC LIMIT 1
) AS newest
"""
# The peer knows the same keys.
_KEYS = {
    "api_keys": "id, sha256, scopes, all_vessels, delay_s, coordinate_decimals, expires_at, revoked_at",
    "grants": "api_key_id, vessel_id",
}


@dataclass(frozen=True)
class Sea:
    """Where to read: databases by whose tables they have, and the secrets of keys.

    Each vessel has ``fixes`` fixes, one each ``every_s`` seconds, the last of all at ``end``.
    """

    vessels: int
    fixes: int
    every_s: float
    end: datetime
    urls: Mapping[str, str]
    keys: dict[str, str]
    # Of the key that sees all, and where its feed begins.
    whole_id: int = 0
    begins_at: int = 0

    @property
    def positions(self) -> int:
        return self.vessels * self.fixes

    def cursor_behind(self, fixes: int) -> str:
        """Return the cursor of the change feed behind so many fixes, for the key that sees all."""
        key = cursors.cursor_key(MASTER_KEY)
        tag = feed_cursors.tag(key, holder=self.whole_id, filters={})
        return f"{tag}.{feed_cursors.token(key, self.begins_at + fixes)}"

    def before_end(self, fixes: float) -> datetime:
        """Return when so many fixes of a vessel were still to come."""
        return self.end - timedelta(seconds=fixes * self.every_s)


@contextmanager
def sea(
    postgres: fleet.Postgres,
    *,
    vessels: int,
    fixes: int,
    every_s: float,
    peer: bool = True,
    silent: bool = False,
) -> Iterator[Sea]:
    """Fill the databases; with ``silent`` each tenth vessel was last heard of hours ago."""
    end = datetime.now(UTC).replace(microsecond=0)
    with ExitStack() as stack:
        tables = {fleet.SERVICE: fleet.EMPTY, **({fleet.PEER: fleet.PEER} if peer else {})}
        urls = {name: stack.enter_context(postgres.database(each)) for name, each in tables.items()}
        made = Sea(vessels, fixes, every_s, end, urls, {})
        for name, url in urls.items():
            _fill(url, made, numbered=name == fleet.SERVICE, silent=silent)
        made.keys.update(_issue(urls[fleet.SERVICE], vessels))
        made = replace(made, **_places(urls[fleet.SERVICE]))
        if peer:
            _copy_keys(urls[fleet.SERVICE], urls[fleet.PEER])
        for url in urls.values():
            fleet.settle(url)
        yield made


def _fill(url: str, filled: Sea, *, numbered: bool, silent: bool) -> None:
    """Fill one database; its fixes are numbered here, or number themselves."""
    text = {
        "names": ", ".join(_NAMES),
        "newest": ", ".join(f"newest.{name}" for name in _NAMES),
        "seq": ", seq" if numbered else "",
        "number": ", nextval('fleet_order')" if numbered else "",
    }
    every = timedelta(seconds=filled.every_s)
    values = {
        "vessels": filled.vessels,
        "fixes": filled.fixes,
        "every": every,
        "between": every / filled.vessels,
        "angle": _RADIANS_A_SECOND * filled.every_s,
    }
    parts = {_SILENT: filled.end - _SILENT_FOR, f"NOT {_SILENT}": filled.end} if silent else {"": filled.end}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_VESSELS.format(**text), values)
        with fleet.without_indexes(connection):
            for which, end in parts.items():
                where = f"WHERE {which}" if which else ""
                connection.execute(_POSITIONS.format(**text, where=where), {**values, "end": end})
        connection.execute(_LATEST.format(**text))
        if not numbered:
            # Whoever reads by numbers needs it; whoever only writes is spared it (`../peer.sql`).
            connection.execute("CREATE INDEX positions_seq_idx ON positions (seq)")


def _issue(url: str, vessels: int) -> dict[str, str]:
    """Issue a key of each kind and return their secrets."""
    # Each tenth, but none of those that are silent.
    granted = frozenset(range(1, vessels + 1, 10)[:GRANTS])
    terms: dict[str, dict[str, Any]] = {
        WHOLE: {},
        GRANTED: {"vessel_ids": granted},
        COARSE: {"coordinate_decimals": DECIMALS},
        LATE: {"delay_s": DELAY_S},
    }
    database = Database(url, pool_size=2)
    try:
        world = World(database)
        return {name: world.key("vessels:read", **each)[1] for name, each in terms.items()}
    finally:
        database.dispose()


def _places(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        [(whole, begins)] = connection.execute(
            "SELECT (SELECT min(id) FROM api_keys), (SELECT min(seq) - 1 FROM positions)"
        ).fetchall()
    return {"whole_id": whole, "begins_at": begins}


def _copy_keys(url: str, peer_url: str) -> None:
    with psycopg.connect(url) as connection, psycopg.connect(peer_url) as peer:
        for table, columns in _KEYS.items():
            rows = connection.execute(f"SELECT {columns} FROM {table}").fetchall()
            places = ", ".join("%s" for _ in columns.split(", "))
            with peer.cursor() as cursor:
                cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)
