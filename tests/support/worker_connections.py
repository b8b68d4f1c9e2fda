"""Connections to every worker of a service, for tests in which it matters which one answers."""

import itertools
import ssl
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx
from tests.support.live_service import LiveService

_ALL_MET_S = 30
_BATCH = 8
# A worker that is crowded lets go of what was idle longest.
_MOST_OF_WORKER = 64
# Made once: to make one for each client costs more than all its requests.
_NO_TLS = ssl.create_default_context()


def _local_port(response: httpx.Response) -> int:
    port: int = response.extensions["network_stream"].get_extra_info("client_addr")[1]
    return port


def _worker_of(service: LiveService) -> dict[int, int]:
    """Return the process id of the worker at the other end of each connection, by this end's port."""
    return {
        connection.raddr.port: worker.pid
        for worker in service.workers()
        for connection in worker.net_connections("tcp")
        if connection.raddr
    }


@contextmanager
def connections_by_worker(
    service: LiveService, workers: int, *, least: int = 1
) -> Iterator[dict[int, list[httpx.Client]]]:
    """Open connections until each worker has accepted one and there are ``least`` of them.

    Each client keeps its one connection, and so its worker, and raises where it has lost it. All that
    come back is held against the document, as with ``service.http``.
    """

    def open_one() -> tuple[int, httpx.Client]:
        ports: list[int] = []

        def same_connection(response: httpx.Response) -> None:
            ports.append(_local_port(response))
            assert ports[-1] == ports[0], "the service closed a connection that was to be kept"

        client = httpx.Client(
            base_url=service.base_url,
            timeout=30,
            limits=httpx.Limits(max_connections=1, keepalive_expiry=None),
            verify=_NO_TLS,
            event_hooks={"response": [same_connection, *service.http.event_hooks["response"]]},
        )
        client.get("/health/live")
        return ports[0], client

    found: dict[int, list[httpx.Client]] = defaultdict(list)
    deadline = time.monotonic() + _ALL_MET_S
    with ExitStack() as clients, ThreadPoolExecutor(_BATCH) as pool:
        while len(found) < workers or sum(map(len, found.values())) < least:
            assert time.monotonic() < deadline, f"{len(found)} of {workers} workers accept connections"
            opened = list(pool.map(lambda _: open_one(), range(_BATCH)))
            worker_of = _worker_of(service)
            for port, client in opened:
                clients.callback(client.close)
                of_worker = found[worker_of[port]]
                if len(of_worker) < _MOST_OF_WORKER:
                    of_worker.append(client)
                else:
                    client.close()
        yield dict(found)


def in_turn(by_worker: Mapping[int, Sequence[httpx.Client]]) -> list[httpx.Client]:
    """Return all clients, one of each worker after the other: the first few of them meet all workers."""
    rounds = itertools.zip_longest(*by_worker.values())
    return [client for each in rounds for client in each if client is not None]
