"""Of mutated batches the columns take nothing that is refused one by one, and keep nothing else of it.

Each goes the way that a body goes, and what is taken up to what PostgreSQL keeps of it.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np
import orjson
import pytest
from marshmallow import ValidationError
from tests.schemas.mutated_batches import bodies
from tests.support import sql
from tests.support.partitions import far_ahead

from harbor_api.database import Database
from harbor_api.domain.errors import HarborError
from harbor_api.domain.positions import Fix, ReceivedFix
from harbor_api.domain.times import rfc3339
from harbor_api.ingest.columns import Ranked
from harbor_api.schemas.fix_columns import load_columns
from harbor_api.schemas.positions import BatchSchema, FixSchema, load_fix
from harbor_api.web.strict_json import parse_json

_FIX, _BATCH = FixSchema(), BatchSchema()
_AT = datetime(2026, 1, 2, tzinfo=UTC)
# As text, which tells 0 from -0; of the type that the table has.
_KEPT = "lat, lon, sog, cog, heading, nav_status, accuracy_m, battery_v"
_OTHERS = f"""
SELECT count(*)
FROM json_populate_recordset(NULL::positions, CAST(:told AS json)) AS told
FULL JOIN positions AS p USING (vessel_id, recorded_at, tracker_id)
WHERE (told.lat, told.lon) IS DISTINCT FROM (p.lat, p.lon)
    OR ({", ".join(f"told.{name}::text" for name in _KEPT.split(", "))})
        IS DISTINCT FROM ({", ".join(f"p.{name}::text" for name in _KEPT.split(", "))})
"""


def _items(body: bytes) -> list[Any] | None:
    """Return the items of a batch, None where its body is refused as a whole."""
    try:
        items: list[Any] = _BATCH.load(parse_json(body, items=_BATCH.taken_one_by_one)).fixes
    except (HarborError, ValidationError):
        return None
    return items


def _taken(many: int, seed: int, told: dict[str, int]) -> Iterator[Fix]:
    """Yield what the columns take, which is exactly what is taken one by one."""
    for body in bodies(many, seed=seed):
        items = _items(body)
        if items is None:
            told["no batch"] += 1
            continue
        each = [load_fix(item) for item in items]
        told["with an invalid fix"] += None in each
        columns = load_columns(items)
        if columns is None:
            continue
        told["taken by the column"] += 1
        # The text tells 4 from 4.0 and 0.0 from -0.0.
        assert repr(columns.one_by_one()) == repr(each), body
        for place in {0, len(items) - 1}:
            assert repr(_FIX.load(items[place])) == repr(each[place]), body
        yield from (fix for fix in each if fix is not None)


def _assert_kept_alike(database: Database, fixes: list[Fix]) -> None:
    """Assert that PostgreSQL keeps of a column what it keeps of the text, and tells them for the same."""
    sql.run(database, "TRUNCATE positions, latest_positions")
    # A tracker for each, as no two may have one name.
    received = [ReceivedFix(1, number, _AT, fix) for number, fix in enumerate(fixes)]
    ranked = Ranked([received]).received
    with database.unit_of_work() as unit_of_work:
        unit_of_work.run_last(unit_of_work.positions.addition(ranked, late=np.zeros(len(ranked), np.bool_)))
    told = [
        {
            "vessel_id": 1,
            "tracker_id": each.tracker_id,
            "recorded_at": rfc3339(each.fix.recorded_at),
            **each.fix.motion._asdict(),
        }
        for each in received
    ]
    assert sql.value(database, _OTHERS, told=orjson.dumps(told).decode()) == 0
    with database.autocommit() as unit_of_work:
        assert not any(unit_of_work.positions.differ(received))


@pytest.mark.parametrize(
    "many", [400, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(3_600)])]
)
def test_mutated_batches(database: Database, many):
    seed, begun = 20_261_127 + many, time.monotonic()
    told = dict.fromkeys(("no batch", "with an invalid fix", "taken by the column"), 0)
    fixes = 0
    taken = _taken(many, seed, told)
    with far_ahead(database):
        while some := [*islice(taken, 8_000)]:
            _assert_kept_alike(database, some)
            fixes += len(some)
    print(f"{many} bodies of seed {seed}, {told}, {fixes} fixes kept, {time.monotonic() - begun:.0f} s")
    # Else the mutations have become too wild, or the columns too shy, to tell anything.
    assert told["taken by the column"] > many / 4
    assert told["with an invalid fix"] > many / 8
    assert told["no batch"] > many / 100
