"""What a worker has now, said once a second: what is waited for, connections, those who follow.

To say it whenever it changes would cost each request; so a peak that is shorter than a second may be missed,
and is to be found in what is counted.
"""

import resource
from pathlib import Path
from typing import Any

import gevent
import structlog

from harbor_api.telemetry import metrics

EVERY_S = 1.0
_MEMORY = Path("/proc/self/statm")
_PAGE_BYTES = resource.getpagesize()

log = structlog.get_logger(__name__)


def sample(runtime: Any, *, connections: int) -> None:
    """Say what an application has now, by its ``Runtime``, and how many connections its worker holds."""
    metrics.WORKERS.set(1)
    metrics.CONNECTIONS.set(connections)
    size, in_use = runtime.database.pool()
    metrics.POOL_SIZE.set(size)
    metrics.POOL_IN_USE.set(in_use)
    for queue in (*runtime.intake.queues, runtime.known_keys.queue):
        requests, weight = queue.waiting
        metrics.WAITING_REQUESTS.labels(queue.name).set(requests)
        metrics.WAITING_WEIGHT.labels(queue.name).set(weight)
    hub = runtime.hub
    for seats in (hub.streams, hub.waits):
        metrics.FOLLOWERS.labels(seats.kind).set(seats.taken)
        metrics.FOLLOWERS_MOST.labels(seats.kind).set(seats.most)
    metrics.SLOWEST_FOLLOWER.set(hub.stalled_s())
    metrics.FEED_LAG.set(hub.lag_s())
    if _MEMORY.exists():
        metrics.WORKER_MEMORY.set(int(_MEMORY.read_text().split()[1]) * _PAGE_BYTES)


def sample_for_ever(runtime: Any, place: Any) -> None:
    """Do so once a second, in a greenlet of its own; ``place`` is the worker's on the board."""
    while True:
        try:
            sample(runtime, connections=place.held)
        except Exception:
            # The next one may go well; a worker is not to end for this.
            log.exception("sampling_failed")
        gevent.sleep(EVERY_S)
