"""What PostgreSQL knows, as Prometheus reads it: asked once for all who ask at about the same time.

Whoever asks waits for a second at most. Where PostgreSQL does not answer by then, the figures are left out
and ``harbor_database_up`` is 0: what is not known is no number.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Generic, TypeVar

import structlog
from prometheus_client.metrics_core import GaugeHistogramMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from harbor_api.database import Database
from harbor_api.domain.errors import HarborError
from harbor_api.domain.figures import AGES_S, Figures
from harbor_api.postgres.replica import State

_PATIENCE_S = 1.0
# For how long figures are told again, and how many times as long as it took to find them: of a fleet of a
# million, PostgreSQL must not be busy with little else. Those are told for as long again while new ones are
# being found and nobody can wait for them.
_FRESH_S, _FRESH_TIMES = 5.0, 20

log = structlog.get_logger(__name__)
Found = TypeVar("Found")


class Latest(Generic[Found]):
    """What was found last, found anew by one thread at a time where that is too long ago."""

    def __init__(self, find: Callable[[], Found], *, fresh_times: float = _FRESH_TIMES) -> None:
        """Find by ``find``, whose HarborError means that there is nothing to be known now.

        What was found is fresh for ``fresh_times`` as long as it took, and for some seconds at least.
        """
        self._find = find
        self._fresh_times = fresh_times
        self._lock = threading.Lock()
        self._is_found = threading.Event()
        self._is_looking = False
        self._fresh_until = self._told_until = 0.0
        self._found: Found | None = None

    def get(self) -> Found | None:
        """Return what was found a few seconds ago at most; None where nothing is known."""
        with self._lock:
            if time.monotonic() < self._fresh_until:
                return self._found
            if not self._is_looking:
                self._is_looking = True
                self._is_found.clear()
                threading.Thread(target=self._look, daemon=True).start()
        if self._is_found.wait(_PATIENCE_S) or time.monotonic() < self._told_until:
            return self._found
        return None

    def _look(self) -> None:
        began = time.monotonic()
        found = None
        try:
            found = self._find()
        except HarborError:
            # It is told by what is left out; each worker logs it as well.
            pass
        except Exception:
            log.exception("figures_failed")
        finally:
            now = time.monotonic()
            fresh_s = max(_FRESH_S, self._fresh_times * (now - began)) if found else 0
            with self._lock:
                self._found = found
                self._fresh_until, self._told_until = now + fresh_s, now + 2 * fresh_s
                self._is_looking = False
                self._is_found.set()


class DatabaseFigures(Collector):
    """The figures of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._latest = Latest(self._read)
        # By itself: a replica that hangs must not make PostgreSQL look away. That it hung is found out by
        # waiting, which says nothing of what it costs to ask.
        self._replica = Latest(database.replica_state, fresh_times=0)

    def collect(self) -> Iterator[Metric]:
        """Yield what is known now."""
        figures = self._latest.get()
        is_up = figures is not None
        yield _gauge("harbor_database_up", "1 where PostgreSQL has told the figures, else 0.", float(is_up))
        if figures is not None:
            yield from _told(figures)
            if self._database.replica is not None:
                yield from _told_of_replica(self._replica.get())

    def _read(self) -> Figures:
        self._database.demand_schema(or_newer=True)
        with self._database.autocommit() as unit_of_work:
            read = unit_of_work.figures
            return Figures(
                counts=read.counts(),
                ages=read.ages(),
                feed=read.feed(),
                held=read.held(),
                consumers=read.late_consumers(),
                partitions_ahead_s=unit_of_work.partitions.ahead(datetime.now(UTC)).total_seconds(),
            )


def _told(figures: Figures) -> Iterator[Metric]:
    counts, feed = figures.counts, figures.feed
    yield _gauge("harbor_vessels", "Vessels that are not retired.", counts.vessels)
    yield _gauge("harbor_trackers", "Trackers that are not disabled.", counts.trackers)
    yield _gauge("harbor_api_keys", "API keys that hold.", counts.keys)
    yield _gauge("harbor_api_keys_ending", "API keys that end within 7 days.", counts.keys_ending)
    yield _gauge(
        "harbor_positions", "Fixes that are stored, as PostgreSQL estimates now and then.", counts.positions
    )
    yield _gauge("harbor_database_size_bytes", "What the database takes on disk.", counts.database_bytes)
    yield _ages(figures)
    yield _labelled(
        "harbor_silent_vessel_age_seconds",
        "How long ago the latest position was recorded, of the ten vessels of whom that is longest.",
        ("vessel_id", "name"),
        (((str(each.id), each.name), each.age_s) for each in figures.ages.worst),
    )
    yield _gauge(
        "harbor_partitions_ahead_seconds",
        "For how long from now on there are partitions for positions, without a gap.",
        figures.partitions_ahead_s,
    )
    yield _gauge("harbor_feed_head", "The newest number of the change feed.", feed.head)
    yield _gauge("harbor_feed_floor", "Up to which number the change feed was pruned.", feed.floor)
    if feed.newest_age_s is not None:
        yield _gauge(
            "harbor_newest_fix_age_seconds", "How long ago the newest fix was received.", feed.newest_age_s
        )
    if feed.floor_age_s is not None:
        yield _gauge(
            "harbor_feed_floor_age_seconds", "How far back the change feed reaches.", feed.floor_age_s
        )
    yield _labelled(
        "harbor_quarantine_held",
        "Fixes that are held and wait for a decision, by reason; 10000 where there are more.",
        ("reason",),
        (((reason,), many) for reason, many in figures.held.items()),
    )
    named = [((str(each.key_id), each.name), each) for each in figures.consumers]
    yield _labelled(
        "harbor_consumer_behind_changes",
        "How many changes a named consumer is behind, of the ten that are most.",
        ("key_id", "consumer"),
        ((names, each.behind) for names, each in named),
    )
    yield _labelled(
        "harbor_consumer_behind_seconds",
        "How long ago that came in which such a consumer was not told, without the delay of its key.",
        ("key_id", "consumer"),
        ((names, each.behind_s) for names, each in named),
    )


def _told_of_replica(state: State | None) -> Iterator[Metric]:
    """Yield how the replica is; None is one that did not answer in time."""
    is_up = state is not None and state.status != "away"
    yield _gauge("harbor_replica_up", "1 where the replica for reading answers, else 0.", float(is_up))
    if state is not None and state.lag_s is not None:
        yield _gauge("harbor_replica_lag_seconds", "How far the replica is behind the primary.", state.lag_s)


def _ages(figures: Figures) -> Metric:
    total = 0
    buckets = []
    for bound, many in zip((*map(float, AGES_S), "+Inf"), figures.ages.counts, strict=True):
        total += many
        buckets.append((str(bound), float(total)))
    return GaugeHistogramMetricFamily(
        "harbor_vessel_age_seconds",
        "How long ago the latest position of each vessel was recorded.",
        buckets=buckets,
        gsum_value=figures.ages.sum_s,
    )


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _labelled(
    name: str, meaning: str, labels: Iterable[str], values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=[*labels])
    for names, value in values:
        family.add_metric(names, value)
    return family
