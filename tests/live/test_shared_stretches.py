"""Who reads on by what others have read is told the same as who reads for itself."""

from collections.abc import Sequence

import pytest
from tests.support import sql
from tests.support.factories import FUTURE_TOLERANCE, World

from harbor_api.database import Database
from harbor_api.domain.feed import Expired
from harbor_api.live import shared_stretches
from harbor_api.live.kinds import Kind
from harbor_api.live.shared_stretches import SharedStretches
from harbor_api.live.tails import FeedReader, Item

LIVE = Kind(decimals=6, delay_s=0)
_STORE = """
INSERT INTO positions (vessel_id, recorded_at, tracker_id, received_at, lat, lon, seq)
SELECT n % 7, now() - n * interval '1 s', 1, now(), 59.9, 10.7, nextval('fleet_order')
FROM generate_series(1, 1000) AS n
"""


@pytest.fixture
def reader(database: Database, world: World) -> FeedReader:
    """Return a reader of a feed with fixes, gaps between their numbers and withdrawals."""
    world.vessel()
    sql.run(database, _STORE)
    sql.run(
        database,
        """
        WITH gone AS (DELETE FROM positions WHERE seq % 5 = 0 RETURNING *)
        INSERT INTO withdrawals
        SELECT nextval('fleet_order'), vessel_id, recorded_at, tracker_id, now() FROM gone
        """,
    )
    return FeedReader(database, cursor_key=b"c" * 32, item_key=b"i" * 32, future_tolerance=FUTURE_TOLERANCE)


def _all_behind(reader: FeedReader, number: int, shared: SharedStretches | None = None) -> Sequence[Item]:
    found: list[Item] = []
    while True:
        stretch = shared and shared.behind(LIVE, number)
        if not stretch:
            stretch = reader.read(LIVE.viewer, number)
        if stretch.next == number:
            return found
        assert all(number < each.number <= stretch.next for each in stretch.items)
        found += stretch.items
        number = stretch.next


def test_they_hold_the_feed_wherever_one_begins(database: Database, reader: FeedReader):
    shared = SharedStretches(reader)
    first = sql.value(database, "SELECT min(seq) - 1 FROM positions")
    for begun in (first, first + 1, first + 77, first + 256, first + 999, first + 1_100):
        assert _all_behind(reader, begun, shared) == _all_behind(reader, begun)


def test_what_one_has_read_is_there_for_the_others(database: Database, reader: FeedReader):
    shared = SharedStretches(reader)
    first = sql.value(database, "SELECT min(seq) - 1 FROM positions")
    ends = [shared.behind(LIVE, begun) for begun in (first, first + 1)]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0].next == ends[1].next
    assert shared.behind(LIVE, ends[0].next) is shared.behind(LIVE, ends[1].next)


@pytest.mark.parametrize("kind", [LIVE._replace(decimals=3), LIVE._replace(delay_s=60)])
def test_who_sees_otherwise_reads_for_itself(database: Database, reader: FeedReader, kind: Kind):
    first = sql.value(database, "SELECT min(seq) - 1 FROM positions")
    assert SharedStretches(reader).behind(kind, first) is None


def test_what_was_removed_is_told_soon(database: Database, reader: FeedReader, monkeypatch):
    shared = SharedStretches(reader)
    first = sql.value(database, "SELECT min(seq) - 1 FROM positions")
    assert shared.behind(LIVE, first)
    sql.run(database, "INSERT INTO feed_floor (number, at) SELECT max(seq), now() FROM positions")
    monkeypatch.setattr(shared_stretches, "_KEPT_S", -1.0)
    with pytest.raises(Expired):
        shared.behind(LIVE, first)
