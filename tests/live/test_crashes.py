"""The kept fleet beside a database that is killed, restored from an older copy, or made anew."""

import shutil
import subprocess
from pathlib import Path

import pytest
from flask import Flask
from tests.live.uncached import uncached
from tests.support import sql
from tests.support.factories import MASTER_KEY, World
from tests.support.live_service import OwnPostgres
from tests.support.urls import VESSELS as URL

from harbor_api.app import create_app
from harbor_api.domain.fleet_search import EVERYTHING
from harbor_api.settings import Settings
from harbor_api.web import runtime

TERMS = ({}, {"vessel_ids": frozenset({1, 3})}, {"coordinate_decimals": 2}, {"delay_s": 1})


def _read(app: Flask, secrets: list[str]) -> list[bytes]:
    """Return what keys are answered, which has to be what is so now."""
    found = []
    for secret in secrets:
        answer = app.test_client().get(URL, headers={"Authorization": f"Bearer {secret}"})
        assert answer.status_code == 200, answer.text
        viewer = runtime.of(app).known_keys.look_up(secret)
        assert answer.data == uncached(app, viewer, EVERYTHING, retired=False)
        found.append(answer.data)
    return found


def _rename(app: Flask, name: str) -> None:
    statement = "UPDATE vessels SET name = :name || id, seq = nextval('fleet_order')"
    sql.run(runtime.of(app).database, statement, name=name)


def _copy(one: Path, other: Path) -> None:
    # With its owner: PostgreSQL runs as nobody's root.
    subprocess.run(["cp", "-a", one, other], check=True)


@pytest.mark.slow
def test_readers_are_told_what_is_there_after_a_crash_and_after_a_restore(tmp_path: Path):
    with OwnPostgres() as postgres:
        app = create_app(Settings(database_url=postgres.url, tracker_master_key=MASTER_KEY))
        world = World(runtime.of(app).database)
        for name in ("One", "Two", "Three"):
            world.vessel(name)
        secrets = [world.key(**terms)[1] for terms in TERMS]
        kept = _read(app, secrets)

        postgres.crash()
        _copy(postgres.cluster, tmp_path / "copy")
        bearer = {"Authorization": f"Bearer {secrets[0]}"}
        assert app.test_client().get(URL, headers=bearer).status_code == 503
        postgres.start()
        assert _read(app, secrets) == kept

        # What is acknowledged survives a crash; readers see it.
        _rename(app, "Before ")
        postgres.crash()
        postgres.start()
        before = _read(app, secrets)
        assert all(b"Before 1" in each for each in before)

        # Restored to what was, and changed again by as many numbers of the order.
        postgres.crash()
        shutil.rmtree(postgres.cluster)
        _copy(tmp_path / "copy", postgres.cluster)
        postgres.start()
        _rename(app, "After ")
        after = _read(app, secrets)
        assert all(b"After 1" in each and b"Before" not in each for each in after)
        runtime.of(app).database.dispose()
