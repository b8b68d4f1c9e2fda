"""The pages of what is held, by every choice of filters, against a look at everything."""

import itertools
import random
from typing import Any

from tests.support import sql
from tests.support.factories import World, rolled_back

from harbor_api.database import Database, UnitOfWork

_VESSELS = (1, 2, 3)
_REASONS = ("future", "impossible_jump", "null_island", "too_old")
_STATES = ("held", "rejected", "released")


def _fill(unit_of_work: UnitOfWork, count: int) -> list[tuple[Any, ...]]:
    """Hold fixes of the first vessels and reasons, and return (id, vessel, reason, state) of each."""
    chance = random.Random(7)
    kinds = list(itertools.product(_VESSELS[:2], _REASONS[:3], _STATES))
    fix = '{"lat": 1, "lon": 1}'
    rows = ", ".join(
        f"({vessel}, now() - {n} * interval '1 second', 1, now(), '{reason}', '{fix}', '{state}')"
        for n, (vessel, reason, state) in enumerate(chance.choices(kinds, range(1, len(kinds) + 1), k=count))
    )
    found = sql.run(
        unit_of_work,
        "INSERT INTO quarantine (vessel_id, recorded_at, tracker_id, received_at, reason, fix, state) "
        f"VALUES {rows} RETURNING id, vessel_id, reason, state",
    )
    return sorted(tuple(row) for row in found)


def test_pages_hold_all_that_match_in_order(database: Database, world: World):
    choices = itertools.product((None, *_VESSELS), (None, *_REASONS), (None, *_STATES))
    with rolled_back(database) as unit_of_work:
        everything = _fill(unit_of_work, 150)
        for choice in choices:
            vessel_id, reason, state = choice
            expected = [
                row
                for row in everything
                if all(wanted in (None, member) for wanted, member in zip(choice, row[1:], strict=True))
            ]
            found: list[tuple[Any, ...]] = []
            while True:
                page = unit_of_work.quarantine.search(
                    after=found[-1][0] if found else 0,
                    limit=7,
                    vessel_id=vessel_id,
                    reason=reason,
                    state=state,
                )
                found += [(each.id, each.received.vessel_id, each.reason, each.state) for each in page]
                if len(page) < 7:
                    break
            assert found == expected, choice


def test_a_page_of_an_empty_quarantine_is_empty(database: Database, world: World):
    with database.autocommit() as unit_of_work:
        assert unit_of_work.quarantine.search(after=0, limit=7) == []
        assert unit_of_work.quarantine.search(after=0, limit=7, vessel_id=1, state="held") == []
        assert unit_of_work.quarantine.search(after=0, limit=7, reason="future") == []
