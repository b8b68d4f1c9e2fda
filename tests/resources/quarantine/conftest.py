"""The operator who decides."""

import pytest
from tests.support.factories import World


@pytest.fixture
def operator(world: World) -> dict[str, str]:
    """Return the headers of a key that decides about the quarantine and reads everything else."""
    return world.bearer("quarantine:read", "quarantine:write", "audit:read", "vessels:read")
