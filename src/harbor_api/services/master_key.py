"""The master key: which one it is, and what a change of it does.

Every tracker's secret is derived from it, so a wrong one gives secrets that never work, and refuses all that
trackers sign. Whoever is about to use it asks here first.
"""

from harbor_api.database import UnitOfWork
from harbor_api.domain.audit import Actor
from harbor_api.domain.errors import WrongMasterKey
from harbor_api.domain.signatures import check_value
from harbor_api.services import audit

_SUBJECT = "master-key"


def demand(unit_of_work: UnitOfWork, master_key: bytes) -> None:
    """Raise WrongMasterKey unless it is the key of this database; the first that is used becomes it."""
    if not is_right(unit_of_work, master_key):
        raise WrongMasterKey


def is_right(unit_of_work: UnitOfWork, master_key: bytes) -> bool:
    """Return whether it is the key of this database; the first that is asked about becomes it."""
    value = check_value(master_key)
    found = unit_of_work.master_key.find()
    if found is None:
        unit_of_work.master_key.add(value)
        found = unit_of_work.master_key.find()
    return found == value


def change(unit_of_work: UnitOfWork, master_key: bytes, *, actor: Actor) -> bool:
    """Make it the key of this database, whatever that was; False where it is already.

    From then on every tracker is refused until it has its new secret, and so is a service that was started
    with the key before.
    """
    value = check_value(master_key)
    unit_of_work.master_key.add(value)
    before = unit_of_work.master_key.lock()
    if before == value:
        return False
    unit_of_work.master_key.replace(value)
    audit.note(
        unit_of_work,
        actor,
        "master_key.changed",
        _SUBJECT,
        before={"check_value": None if before is None else before.hex()},
        after={"check_value": value.hex()},
    )
    return True
