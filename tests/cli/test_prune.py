"""The daily job, where more is to go than one transaction takes, and while somebody decides."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner, Result
from tests.support import sql
from tests.support.factories import World

from harbor_api.cli import prune
from harbor_api.database import Database

_AT_ONCE = 10


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "_AT_ONCE", _AT_ONCE)


def _hold(world: World, count: int, *, days: int) -> list[int]:
    """Hold fixes that came some days ago, and return their ids."""
    vessel = world.vessel().id
    with world.database.unit_of_work() as unit_of_work:
        sql.run(
            unit_of_work,
            "INSERT INTO quarantine (vessel_id, recorded_at, tracker_id, received_at, reason, fix) "
            f"SELECT {vessel}, now() - n * interval '1 second', 1, now() - interval '{days} days', 'future', "
            f"""'{{"lat": 1, "lon": 1}}' FROM generate_series(1, {count}) AS n""",
        )
        page = unit_of_work.quarantine.search(after=0, limit=count, vessel_id=vessel)
    return [each.id for each in page]


def _prune(database: Database) -> Result:
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    others = {name: None for name in os.environ if name.startswith("HARBOR_")}
    runner = CliRunner(env={**others, "HARBOR_DATABASE_URL": url})
    return runner.invoke(prune.command, ["--quarantine-days", "30"], catch_exceptions=False)


def _left(database: Database) -> list[int]:
    with database.autocommit() as unit_of_work:
        return [each.id for each in unit_of_work.quarantine.search(after=0, limit=1000)]


@pytest.mark.parametrize("count", [0, 9, 10, 11, 25])
def test_all_that_is_too_old_goes_however_much_it_is(database: Database, world: World, count):
    kept = _hold(world, 3, days=29)
    _hold(world, count, days=31)
    assert _prune(database).output == f"{count} fixes deleted from quarantine\n"
    assert _left(database) == kept


def test_what_is_being_decided_on_is_passed_over_and_not_waited_for(database: Database, world: World):
    old = _hold(world, 25, days=31)
    with database.unit_of_work() as unit_of_work:
        unit_of_work.quarantine.lock(old[3])
        began = datetime.now(UTC)
        assert _prune(database).output == "24 fixes deleted from quarantine\n"
        assert datetime.now(UTC) - began < timedelta(seconds=4)
    assert _left(database) == [old[3]]
    assert _prune(database).output == "1 fixes deleted from quarantine\n"
