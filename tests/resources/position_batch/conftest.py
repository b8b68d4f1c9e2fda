"""Small batches, as tests have them, taken by the column as large ones are."""

import pytest

from harbor_api.schemas import fix_columns
from harbor_api.schemas.positions import LARGEST_BATCH


@pytest.fixture(params=[1, LARGEST_BATCH + 1], ids=["by column", "one by one"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have batches taken by the column from one fix on, and then none of them."""
    monkeypatch.setattr(fix_columns, "LEAST", request.param)
