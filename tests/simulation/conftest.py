"""The service that the simulator's clients post to."""

from collections.abc import Iterator

import pytest
from tests.support.http_service import Service, running


@pytest.fixture
def service() -> Iterator[Service]:
    """Return a tiny HTTP service that checks signatures as the real one does."""
    with running() as service:
        yield service
