"""No tag is stale, of two services in one process; tests/system has the long form, over HTTP."""

from collections.abc import Mapping

from flask import Flask
from tests.conftest import NewDatabase
from tests.live.tag_proof import Answer, Get, prove
from tests.support.factories import MASTER_KEY

from harbor_api.app import create_app
from harbor_api.settings import Settings
from harbor_api.web import runtime


def _asking(app: Flask) -> Get:
    def get(path: str, headers: Mapping[str, str]) -> Answer:
        answer = app.test_client().get(path, headers=headers)
        return Answer(answer.status_code, answer.headers, answer.data)

    return get


def test_a_tag_stands_for_its_bytes_and_they_are_those_of_now(new_database: NewDatabase):
    settings = Settings(
        database_url=new_database(), tracker_master_key=MASTER_KEY, database_pool=4, stale_after_s=1
    )
    apps = create_app(settings), create_app(settings)
    try:
        readers = prove(apps[0], [_asking(app) for app in apps], reads=150, seed=1)
    finally:
        for app in apps:
            runtime.of(app).database.dispose()
    assert readers.counted["200"] > 50
    assert readers.counted["compared"] > 20
