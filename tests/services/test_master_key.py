"""The master key is known again by a value that is kept at its first use, and by nothing else."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support import sql
from tests.support.factories import ACTOR, MASTER_KEY, rolled_back

from harbor_api.database import Database
from harbor_api.domain.errors import WrongMasterKey
from harbor_api.domain.signatures import check_value, derive_secret, secret_key
from harbor_api.services import master_key

OTHER_KEY = b"o" * 32


@pytest.fixture
def unused(database: Database) -> Iterator[Database]:
    """Return a database in which no master key was used yet."""
    sql.run(database, "DELETE FROM master_key")
    yield database
    sql.run(database, "DELETE FROM master_key")


def _demand(database: Database, key: bytes) -> bool:
    try:
        with database.unit_of_work() as unit_of_work:
            master_key.demand(unit_of_work, key)
    except WrongMasterKey:
        return False
    return True


def test_the_first_key_that_is_used_is_the_right_one(unused: Database):
    assert _demand(unused, MASTER_KEY)
    assert _demand(unused, MASTER_KEY)
    assert not _demand(unused, OTHER_KEY)
    assert _demand(unused, MASTER_KEY)


def test_of_two_at_once_one_is_the_first(unused: Database):
    keys = [bytes([n]) * 32 for n in range(1, 5)]
    for _ in range(5):
        sql.run(unused, "DELETE FROM master_key")
        together = threading.Barrier(len(keys))

        def use(key: bytes, together: threading.Barrier = together) -> bool:
            together.wait()
            return _demand(unused, key)

        with ThreadPoolExecutor(len(keys)) as pool:
            accepted = list(pool.map(use, keys))
        assert sum(accepted) == 1
        assert sql.column(unused, "SELECT check_value FROM master_key") == [
            check_value(keys[accepted.index(True)])
        ]


def test_what_is_rolled_back_was_not_used(unused: Database):
    with rolled_back(unused) as unit_of_work:
        master_key.demand(unit_of_work, OTHER_KEY)
    assert _demand(unused, MASTER_KEY)


def test_a_change_is_on_purpose_and_in_the_audit_trail(unused: Database):
    assert _demand(unused, MASTER_KEY)
    with unused.unit_of_work() as unit_of_work:
        assert master_key.change(unit_of_work, OTHER_KEY, actor=ACTOR)
    with unused.unit_of_work() as unit_of_work:
        assert not master_key.change(unit_of_work, OTHER_KEY, actor=ACTOR)
        [entry] = unit_of_work.audit.search(after=None, limit=10, newest_first=True)
    assert _demand(unused, OTHER_KEY)
    assert not _demand(unused, MASTER_KEY)
    assert (entry.action, entry.subject) == ("master_key.changed", "master-key")
    assert entry.after == {"check_value": check_value(OTHER_KEY).hex()}


def test_the_check_value_tells_no_secret():
    value = check_value(MASTER_KEY)
    assert value == check_value(MASTER_KEY)
    assert len(value) == 16
    for tracker in ("trk_0001", "harbor", ""):
        assert value not in secret_key(derive_secret(MASTER_KEY, tracker, 1))
