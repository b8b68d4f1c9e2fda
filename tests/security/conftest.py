"""The service that the tests of security attack."""

from collections.abc import Iterator

import pytest
from tests.conftest import NewDatabase
from tests.support.live_service import LiveService


@pytest.fixture(scope="module")
def service(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """Return a service in a process of its own that logs all it can."""
    log = tmp_path_factory.mktemp("security") / "service.log"
    with LiveService(new_database(), log=log, log_level="debug") as service:
        yield service
