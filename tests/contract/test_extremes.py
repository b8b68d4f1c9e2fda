"""Nothing that can be stored fails a later answer: the extremes of each column, read by each operation."""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Boolean, Column, DateTime, Double, Float, Integer, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import JSONB
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.operations import operations_of
from tests.support.partitions import far_ahead

from harbor_api.cli import feeds as cli_feeds
from harbor_api.cli import keys as cli_keys
from harbor_api.cli import trackers as cli_trackers
from harbor_api.cli import vessels as cli_vessels
from harbor_api.database import Database
from harbor_api.domain.api_keys import SCOPES, digest, generate
from harbor_api.postgres.tables import metadata

_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
_MOST_INTEGER, _MOST_BIGINT = 2**31 - 1, 2**63 - 1
_IDENTIFIERS = (1, _MOST_INTEGER, _MOST_BIGINT // 10)
_TEXT = "[/bold]\"'\\%s{0}<>&\u200d海🚢" + "x" * 30
_SECRETS = {extreme: generate(extreme.encode().ljust(32)) for extreme in ("least", "most")}
_FIX = {"recorded_at": "2026-01-02T03:04:05Z", "lat": 59.9, "lon": 10.7}
# Where rules are narrower than a column's type: its least and its most, as the service would store them.
_RULED: dict[str, tuple[Any, Any]] = {
    "vessels.id": (1, _MOST_INTEGER),
    "vessels.name": ("x", _TEXT.ljust(100, "x")),
    "vessels.imo": ("1000021", "9999993"),
    "vessels.mmsi": ("000000001", "999999999"),
    "vessels.call_sign": ("A", "Z9" * 5),
    "vessels.flag": ("AA", "ZZ"),
    "vessels.kind": ("x", _TEXT),
    **{f"vessels.{name}": (0.01, 1000.0) for name in ("length_m", "beam_m", "draught_m")},
    "vessels.max_speed_kn": (1.0, 1000.0),
    "trackers.id": (1, _MOST_INTEGER),
    "trackers.label": ("", _TEXT.ljust(100, "x")),
    "*.tracker_id": (1, _MOST_INTEGER),
    "*.vessel_id": (1, _MOST_INTEGER),
    "*.lat": (-90.0, 90.0),
    "*.lon": (-180.0, 180.0),
    "*.sog": (0.0, 102.2),
    "*.cog": (0.0, 359.999),
    "*.heading": (0.0, 359.999),
    "*.nav_status": (0, 14),
    "*.accuracy_m": (0.0, 1_000_000.0),
    "*.battery_v": (0.0, 1000.0),
    "arrived_numbers.numbers": ("{[0,1)}", "{[0,1),[9007199254740990,9007199254740992)}"),
    "quarantine.id": (1, _MOST_BIGINT // 10),
    "quarantine.reason": ("future", "impossible_jump"),
    "quarantine.state": ("held", "rejected"),
    "quarantine.fix": ({"lat": -90, "lon": -180}, {"lat": 90.0, "lon": 180.0, "sog": 102.2}),
    "quarantine.raw": (None, {**_FIX, _TEXT: [None, {"deep": [1e308, _TEXT]}]}),
    "api_keys.id": (1, _MOST_INTEGER),
    "api_keys.name": ("x", _TEXT.ljust(100, "x")),
    "api_keys.owner": ("", _TEXT.ljust(200, "x")),
    "api_keys.prefix": (_SECRETS["least"][:10], _SECRETS["most"][:10]),
    "api_keys.sha256": (digest(_SECRETS["least"]), digest(_SECRETS["most"])),
    "api_keys.previous_sha256": (None, digest(generate())),
    "api_keys.scopes": (["vessels:read"], sorted(SCOPES)),
    "api_keys.delay_s": (31_536_000, 0),
    "api_keys.coordinate_decimals": (0, None),
    "api_keys.history_days": (36_500, None),
    "api_keys.requests_per_minute": (1_000_000, 1_000_000),
    # These two must be let in.
    "api_keys.expires_at": (_LAST, None),
    "api_keys.revoked_at": (None, None),
    "api_keys.all_vessels": (False, True),
    "vessels.retired_at": (None, None),
    "grants.api_key_id": (1, _MOST_INTEGER),
    "idempotency_keys.api_key_id": (1, _MOST_INTEGER),
    "feeds.api_key_id": (1, _MOST_INTEGER),
    # The path that asks for it names what else is asked for, too.
    "feeds.name": ("1", str(_MOST_INTEGER)),
    "feeds.filters": ({}, {"bbox": [-180.0, -90.0, 180.0, 90.0], "kind": [_TEXT[:50]]}),
    "audit.id": (1, _MOST_BIGINT // 10),
    "audit.subject": ("vessels/1", f"trackers/trk_{_MOST_INTEGER}"),
}


# The row of the key that the application runs with, and no other, lets it be well; all that is stored would
# be beneath a floor, and behind a fence no number is left.
_LEFT = {"master_key", "feed_floor", "order_fences", "order_settled"}


def _extremes(column: Column[Any]) -> tuple[Any, Any]:
    """Return the least and the most that a column may come to hold."""
    for name in (f"{column.table.name}.{column.name}", f"*.{column.name}"):
        if name in _RULED:
            return _RULED[name]
    kind = column.type
    if isinstance(kind, DateTime):
        found: tuple[Any, Any] = (_FIRST, _LAST)
    elif isinstance(kind, Boolean):
        found = (False, True)
    elif isinstance(kind, Integer):
        bits = {"SMALLINT": 15, "INTEGER": 31}.get(str(kind), 63)
        found = (0, 2**bits - 1)
    elif isinstance(kind, Double | Float):
        found = (-math.inf, math.inf)
    elif isinstance(kind, Text):
        found = ("x", _TEXT)
    elif isinstance(kind, JSONB):
        found = ({}, {_TEXT: [1e308, None, _TEXT]})
    elif isinstance(kind, LargeBinary):
        found = (b"\0" * 32, b"\xff" * 32)
    else:
        raise AssertionError(f"say the extremes of {column}")
    return (None if column.nullable else found[0], found[1])


def _store(database: Database, table: Table) -> None:
    """Store a row of the least and one of the most in every column of a table."""
    types = {column.name: column.type.compile(database.engine.dialect) for column in table.columns}
    places = ", ".join(f"CAST(:{name} AS {kind})" for name, kind in types.items())
    statement = f"INSERT INTO {table.name} ({', '.join(types)}) OVERRIDING SYSTEM VALUE VALUES ({places})"
    for which in (0, 1):
        row = {column.name: _extremes(column)[which] for column in table.columns}
        texts = {
            name: json.dumps(value)
            for name, value in row.items()
            if types[name] == "JSONB" and value is not None
        }
        sql.run(database, statement, **row | texts)


@pytest.fixture
def extremes(database: Database) -> Iterator[None]:
    with far_ahead(database):
        for table in metadata.sorted_tables:
            if table.name not in _LEFT:
                _store(database, table)
        yield


def test_every_operation_reads_the_extremes(client: CheckedClient, document: dict[str, Any], extremes: None):
    met = Counter[str]()
    for secret, operation, identifier in product(_SECRETS.values(), operations_of(document), _IDENTIFIERS):
        if operation.method == "GET":
            url = operation.asked().replace("=now", "=0001-01-01T00:00:00Z")
            url = re.sub(r"\{[a-z_]+\}", str(identifier), url.replace(operation.url, operation.path))
            headers = {"Authorization": f"Bearer {secret}"} if operation.security else {}
            answer = client.get(url, headers=headers)
            assert answer.status_code in {200, 403, 404}, f"{url}: {answer.status_code} {answer.text}"
            met[str(operation)] += answer.status_code == 200
    assert all(met.values()), met


def test_every_list_of_the_command_line_shows_them(database: Database, extremes: None):
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    others = {name: None for name in os.environ if name.startswith("HARBOR_")}
    runner = CliRunner(env={**others, "HARBOR_DATABASE_URL": url})
    for command in (cli_vessels.command, cli_trackers.command, cli_keys.command, cli_feeds.command):
        shown = runner.invoke(command, ["list"], catch_exceptions=False)
        assert shown.exit_code == 0
        assert _TEXT[:20] in shown.output
