"""Whether requests may be sent to this worker, part by part."""

import time
from typing import Any

from harbor_api import __version__
from harbor_api.domain.errors import MigrationsPending, Unavailable
from harbor_api.postgres.migrations import Standing
from harbor_api.services import master_key
from harbor_api.web import problems
from harbor_api.web.runtime import Runtime

_API_VERSION = "1"
_WORST_LAST = ("pass", "warn", "fail")
_NEWER = "A newer release has migrated the database: replace this one"
_ALONE = "Redis does not answer: each worker counts requests for itself"
_REPLICA = {
    "away": "The replica does not answer: all is read at the primary",
    "lagging": "The replica is behind, or none any more: all is read at the primary",
}

Check = dict[str, Any]


def look(now: Runtime) -> dict[str, Any]:
    """Return the members of ``ReadinessSchema``; why requests cannot be answered is logged."""
    checks = _of_database(now)
    replica = _of_replica(now)
    if replica is not None:
        checks["postgresql:replica"] = replica
    if now.settings.redis_url is not None:
        checks["redis:limits"] = _of_limits(now)
    return {
        "status": max((each["status"] for each in checks.values()), key=_WORST_LAST.index),
        "version": _API_VERSION,
        "release_id": __version__,
        "checks": {name: [each] for name, each in checks.items()},
    }


def _of_database(now: Runtime) -> dict[str, Check]:
    began = time.perf_counter()
    found: dict[str, Check] = {}
    asked = found["postgresql:responseTime"] = {"component_type": "datastore", "status": "pass"}
    try:
        standing = now.database.demand_schema(or_newer=True)
    except MigrationsPending as pending:
        problems.tell_of(pending)
        found["postgresql:schema"] = {"status": "fail", "output": pending.detail}
    except Unavailable as away:
        problems.tell_of(away)
        return {"postgresql:responseTime": asked | {"status": "fail", "output": away.detail}}
    else:
        is_newer = standing is Standing.NEWER
        found["postgresql:schema"] = {"status": "warn", "output": _NEWER} if is_newer else {"status": "pass"}
        found["postgresql:masterKey"] = _of_master_key(now)
    asked |= {"observed_value": round((time.perf_counter() - began) * 1000, 1), "observed_unit": "ms"}
    return found


def _of_master_key(now: Runtime) -> Check:
    try:
        with now.database.autocommit() as unit_of_work:
            master_key.demand(unit_of_work, now.settings.require_master_key())
    except Unavailable as wrong:
        problems.tell_of(wrong)
        return {"status": "fail", "output": wrong.detail}
    return {"status": "pass"}


def _of_replica(now: Runtime) -> Check | None:
    """Return how the replica is, None where there is none or it is not known: requests do without it."""
    try:
        state = now.database.replica_state()
    except Unavailable:
        return None
    if state is None:
        return None
    found: Check = {"component_type": "datastore", "status": "pass" if state.status == "ok" else "warn"}
    if state.lag_s is not None:
        found |= {"observed_value": round(state.lag_s, 1), "observed_unit": "s"}
    return found if state.status == "ok" else {**found, "output": _REPLICA[state.status]}


def _of_limits(now: Runtime) -> Check:
    if now.counters.are_shared():
        return {"component_type": "datastore", "status": "pass"}
    return {"component_type": "datastore", "status": "warn", "output": _ALONE}
