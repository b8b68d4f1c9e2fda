"""The exporter: what is asked of it, by whom, and what it tells while PostgreSQL does not answer."""

import gzip
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tests.support.live_service import free_port
from tests.support.scraped import samples_of, total, value

from harbor_api.database import Database
from harbor_api.domain.errors import Unavailable
from harbor_api.domain.figures import AGES_S, Ages, Counts, FeedFigures, Figures
from harbor_api.server.database_figures import DatabaseFigures, Latest
from harbor_api.server.exporter import Build, Server, application

_NOTHING = Figures(
    counts=Counts(vessels=0, trackers=0, keys=0, keys_ending=0, positions=0, database_bytes=0),
    ages=Ages(counts=[0] * (len(AGES_S) + 1), sum_s=0, worst=[]),
    feed=FeedFigures(head=0, newest_age_s=None, floor=0, floor_age_s=None),
    held={},
    consumers=[],
    partitions_ahead_s=8e6,
)


@contextmanager
def _served(database: Database) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    is_over = threading.Event()
    with Server(listener, application(Build(), DatabaseFigures(database))) as server:
        thread = threading.Thread(target=server.serve_while, args=(lambda: not is_over.is_set(),))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            is_over.set()
            thread.join()


def test_it_answers_at_one_address_in_the_format_that_is_asked_for(database: Database):
    with _served(database) as url, httpx.Client(base_url=url, verify=False) as http:
        text = http.get("/metrics", headers={"Accept-Encoding": "identity"})
        assert text.headers["content-type"].startswith("text/plain")
        samples = samples_of(text.text)
        assert value(samples, "harbor_database_up") == 1
        assert total(samples, "harbor_build_info") == 1
        asked = {"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"}
        with http.stream("GET", "/metrics", headers=asked) as answer:
            assert answer.headers["content-encoding"] == "gzip"
            assert answer.headers["content-type"].startswith("application/openmetrics-text")
            body = gzip.decompress(b"".join(answer.iter_raw())).decode()
        families = {each.name: each.type for each in text_string_to_metric_families(body)}
        assert families["harbor_vessel_age_seconds"] == "gaugehistogram"
        assert families["harbor_database_up"] == "gauge"
        for path in ("/", "/health", "/health/live", "/api/v1/vessels", "/metrics/", "/openapi.json"):
            assert http.get(path).status_code == 404
        assert http.post("/metrics", content=b"x").status_code == 405


def test_who_says_nothing_keeps_nobody_waiting(database: Database):
    with _served(database) as url:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        silent = [socket.create_connection(address) for _ in range(4)]
        try:
            assert httpx.get(f"{url}/metrics", verify=False).status_code == 200
        finally:
            for each in silent:
                each.close()


def test_without_a_database_it_says_so_at_once():
    database = Database(f"postgresql://u@127.0.0.1:{free_port()}/h", pool_size=1)
    with _served(database) as url:
        for _ in range(2):
            answer = httpx.get(f"{url}/metrics", verify=False)
            samples = samples_of(answer.text)
            assert (answer.status_code, value(samples, "harbor_database_up")) == (200, 0)
            assert total(samples, "harbor_build_info") == 1
            assert not any(name.startswith(("harbor_feed", "harbor_vessels")) for name, _ in samples)
    database.dispose()


def test_a_replica_that_hangs_is_told_to_be_away_and_postgresql_to_be_there(database: Database):
    url = database.engine.url.render_as_string(hide_password=False)
    # It takes what it is asked, and says nothing.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        replica_url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/h"
        replicated = Database(url, pool_size=2, timeout_ms=1_000, replica_url=replica_url)
        with _served(replicated) as served:
            for _ in range(2):
                samples = samples_of(httpx.get(f"{served}/metrics", verify=False, timeout=30).text)
                assert value(samples, "harbor_database_up") == 1
                assert value(samples, "harbor_replica_up") == 0
                assert value(samples, "harbor_vessels") == 0
    replicated.dispose()


class TestLatest:
    """Whoever asks waits for a second at most, and several ask once."""

    def _asked(self, find: Callable[[], Figures], *, at_once: int) -> list[Figures | None]:
        latest = Latest(find)
        found: list[Figures | None] = []
        threads = [threading.Thread(target=lambda: found.append(latest.get())) for _ in range(at_once)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return found

    def test_those_who_ask_together_ask_once(self):
        asked = []

        def find() -> Figures:
            asked.append(1)
            time.sleep(0.05)
            return _NOTHING

        assert self._asked(find, at_once=8) == [_NOTHING] * 8
        assert len(asked) == 1

    def test_one_that_hangs_is_waited_for_by_nobody(self):
        let_go = threading.Event()
        asked = []

        def find() -> Figures:
            asked.append(1)
            assert let_go.wait(30)
            return _NOTHING

        latest = Latest(find)
        assert [latest.get(), latest.get()] == [None, None]
        let_go.set()
        while (found := latest.get()) is None:
            pass
        assert (found, len(asked)) == (_NOTHING, 1)

    def test_what_was_found_before_is_told_while_it_takes_long(self, monkeypatch: pytest.MonkeyPatch):
        let_go = threading.Event()
        asked = []

        def find() -> Figures:
            asked.append(1)
            assert len(asked) == 1 or let_go.wait(30)
            return _NOTHING

        latest = Latest(find)
        assert latest.get() is _NOTHING
        monkeypatch.setattr(latest, "_fresh_until", 0.0)
        monkeypatch.setattr(latest, "_told_until", math.inf)
        assert latest.get() is _NOTHING
        assert len(asked) == 2
        let_go.set()

    def test_a_failure_is_not_kept(self):
        asked = []

        def find() -> Figures:
            asked.append(1)
            if len(asked) == 1:
                raise Unavailable
            return _NOTHING

        latest = Latest(find)
        assert [latest.get(), latest.get()] == [None, _NOTHING]
