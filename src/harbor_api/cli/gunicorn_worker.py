"""gunicorn's gevent worker, taught to let go of idle connections when it is told to end."""

import time
from typing import Any

import gevent
from gunicorn.workers.ggevent import GeventWorker

_IDLE_S = 0.5


class _IdleWait(gevent.Timeout):
    """The time that a connection may wait for its next request, known to the worker meanwhile."""

    def __init__(self, waiting: "set[_IdleWait]", seconds: float) -> None:
        super().__init__(seconds, exception=False)
        self._waiting = waiting
        self._greenlet: Any = gevent.getcurrent()
        self._since = time.monotonic()

    @property
    def is_idle(self) -> bool:
        """Whether nothing came for so long that no request is likely to be on its way just now."""
        return time.monotonic() - self._since > _IDLE_S

    def end_now(self) -> None:
        """Let the wait end as if its time were over."""
        self._greenlet.kill(self, block=False)

    def __enter__(self) -> Any:
        self._waiting.add(self)
        return super().__enter__()

    def __exit__(self, *error: object) -> Any:
        self._waiting.discard(self)
        return super().__exit__(*error)


class Worker(GeventWorker):
    """A worker that ends as soon as the requests under way are answered.

    The stock one counts connections that a proxy keeps open, and waits for its whole graceful timeout.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: set[_IdleWait] = set()

    def timeout_ctx(self) -> Any:
        return _IdleWait(self._waiting, self.cfg.keepalive)

    def handle_exit(self, sig: Any, frame: Any) -> None:
        super().handle_exit(sig, frame)
        gevent.spawn(self._let_go)

    def _let_go(self) -> None:
        # One that is in use gets its last answer with "Connection: close" first, or falls idle.
        while True:
            for wait in list(self._waiting):
                if wait.is_idle:
                    wait.end_now()
            gevent.sleep(_IDLE_S / 2)
