"""No tag is stale, of two services of two workers each over one database: what a partner gets over HTTP."""

import http.client
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.conftest import NewDatabase
from tests.live.tag_proof import Answer, Get, prove
from tests.support.factories import MASTER_KEY
from tests.support.live_service import LiveService

from harbor_api.app import create_app
from harbor_api.settings import Settings
from harbor_api.web import runtime


def _asking(service: LiveService) -> Get:
    def get(path: str, headers: Mapping[str, str]) -> Answer:
        # A connection for each request, so that any of the workers may take it.
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        connection.request("GET", path, headers={**headers, "Connection": "close"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return Answer(answer.status, answer.headers, body)

    return get


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_in_twenty_thousand_reads_of_two_services_no_tag_is_stale(new_database: NewDatabase, tmp_path: Path):
    url = new_database()
    settings = Settings(database_url=url, tracker_master_key=MASTER_KEY, database_pool=8, stale_after_s=1)
    app = create_app(settings)
    try:
        with (
            LiveService(url, log=tmp_path / "one.log", workers=2, stale_after_s=1) as one,
            LiveService(url, log=tmp_path / "other.log", workers=2, stale_after_s=1) as other,
        ):
            assert [len(each.workers()) for each in (one, other)] == [2, 2]
            readers = prove(app, [_asking(one), _asking(other)], reads=20_000, seed=2)
    finally:
        runtime.of(app).database.dispose()
    assert readers.counted["304"] > 500
    assert readers.counted["compared"] > 5_000
    assert min(readers.counted[f"by service {number}"] for number in range(2)) > 5_000
