"""What is stored of a fix and sent again is the same fix: judged is what is kept."""

from datetime import timedelta
from typing import Any

import pytest
from tests.resources.position_batch.batches import verdicts_of
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import EPOCH, World, a_fix

from harbor_api.domain.positions import Fix
from harbor_api.domain.times import rfc3339
from harbor_api.postgres.rows import MOTION
from harbor_api.schemas.positions import load_fix

pytestmark = pytest.mark.usefixtures("either_way")

ODD: dict[str, tuple[float, ...]] = {
    "sog": (0, -0.0, -0.0004, 1e-30, 0.0005, 33.3335, 102.29999, 1023 * 0.1, 102.3004, 102.2994),
    "cog": (-0.0, 0.00049, 359.9994, 359.9999999, 360, 360.0004, 123.4565),
    "heading": (-0.0, 359.9999999, 360.0004, 510.9999, 511, 179.9995),
    "accuracy_m": (-0.0004, 1234.56789, 9999.9996, 10_000.049, 16_384.777, 999_999.96, 1_000_000.0004),
    "battery_v": (-1e-9, 3.30049, 1000.0004, 999.9996),
    "lat": (59.9000004, 59.9000005, 59.90000049999),
    "lon": (10.6999996, 10.70000049, 10.7),
}


def test_what_is_stored_and_sent_again_is_the_same(client: CheckedClient, world: World):
    tracker = world.tracker()
    cases = [(name, value) for name, values in ODD.items() for value in values]
    sent = [a_fix(place, **{name: value}) for place, (name, value) in enumerate(cases)]
    sent.append(a_fix(recorded_at=rfc3339(EPOCH + timedelta(hours=1)).replace("000000Z", "1234567Z")))
    assert {each["verdict"] for each in verdicts_of(client, tracker, sent)} == {"stored"}

    rows = sql.run(world.database, "SELECT * FROM positions ORDER BY recorded_at")
    again: list[dict[str, Any]] = [
        {
            "recorded_at": rfc3339(row.recorded_at),
            **{name: value for name in MOTION if (value := getattr(row, name)) is not None},
        }
        for row in rows
    ]

    for first, second in zip(sent, again, strict=True):
        fix = load_fix(first)
        assert isinstance(fix, Fix)
        # The text tells 0.0 from -0.0.
        assert repr(load_fix(second)) == repr(fix)
    told = verdicts_of(client, tracker, again)
    assert {(each["verdict"], each["differs"]) for each in told} == {("duplicate", False)}
