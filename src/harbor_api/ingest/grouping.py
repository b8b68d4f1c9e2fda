"""Group commit: what many callers ask for at once is done for all of them in one go.

A transaction costs a worker the same for one fix as for a hundred. Whoever comes first does what is
waiting, his own included; those who come meanwhile wait, and one of them does the next group. There is no
thread of its own to start, to stop or to lose.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from harbor_api.domain.errors import Unavailable

# Two keep PostgreSQL busy while one of them is judged; each takes a database connection for its time.
_ALONE_AT_ONCE = 2

Job = TypeVar("Job")
Result = TypeVar("Result")


class _Ticket(Generic[Job, Result]):
    """One caller's job, and how it ended."""

    __slots__ = ("changed", "error", "is_done", "job", "result", "weight")

    def __init__(self, job: Job, weight: int) -> None:
        self.job = job
        self.weight = weight
        self.changed = threading.Event()
        self.is_done = False
        self.result: Result | None = None
        # Holds where whoever led the group was ended before he could say anything.
        self.error: Exception | None = Unavailable("The service is ending")


class Grouping(Generic[Job, Result]):
    """Does jobs in groups, one group at a time.

    A job that fills a group would only hold up the small ones: a few of those are done side by side.

    ``work`` takes the jobs of a group and returns a result for each, in order, or raises. A group that
    fails is done again one by one, so that a job that cannot be done spoils no other; where the reason is
    that the database is away, it fails whole.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Job]], Sequence[Result]],
        *,
        most_in_group: int,
        most_waiting: int,
        patience_s: float,
    ) -> None:
        """Bound a group and the queue, in weight, and for how long a job may wait."""
        self._work = work
        self._most_in_group = most_in_group
        self._most_waiting = most_waiting
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._places = threading.Semaphore(_ALONE_AT_ONCE)
        self._waiting: deque[_Ticket[Job, Result]] = deque()
        self._weight = 0
        self._is_led = False

    def do(self, job: Job, *, weight: int = 1) -> Result:
        """Have a job done and return its result, or raise what went wrong with it.

        Unavailable at once where too much is waiting, and after a while where nothing moves; it is not
        known then whether the job will still be done.
        """
        if weight >= self._most_in_group:
            return self._do_alone(job, weight)
        ticket: _Ticket[Job, Result] = _Ticket(job, weight)
        with self._lock:
            self._wait_with(weight)
            self._waiting.append(ticket)
            leads = not self._is_led
            self._is_led = True
        if not leads:
            self._await(ticket)
        if not ticket.is_done:
            self._lead()
        if ticket.error is not None:
            raise ticket.error
        result: Result = ticket.result  # type: ignore[assignment]  # done without an error
        return result

    def _wait_with(self, weight: int) -> None:
        """Let more wait, unless that is too much; one job alone never is."""
        if self._weight and self._weight + weight > self._most_waiting:
            raise Unavailable("Too much is waiting for the database")
        self._weight += weight

    def _do_alone(self, job: Job, weight: int) -> Result:
        with self._lock:
            self._wait_with(weight)
        try:
            has_place = self._places.acquire(timeout=self._patience_s)
        finally:
            with self._lock:
                self._weight -= weight
        if not has_place:
            raise Unavailable("The database is too slow")
        try:
            [result] = self._work([job])
        finally:
            self._places.release()
        return result

    def _await(self, ticket: _Ticket[Job, Result]) -> None:
        """Wait until a job is done or its turn to lead has come."""
        try:
            if ticket.changed.wait(self._patience_s):
                return
        except BaseException:
            # Whoever is ended here must not be waited for by those behind him.
            with self._lock:
                self._leave(ticket)
                if ticket.changed.is_set() and not ticket.is_done:
                    self._pass_on()
            raise
        with self._lock:
            if ticket.changed.is_set():
                return
            self._leave(ticket)
        raise Unavailable("The database is too slow")

    def _leave(self, ticket: _Ticket[Job, Result]) -> None:
        if ticket in self._waiting:
            self._waiting.remove(ticket)
            self._weight -= ticket.weight

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting[0].changed.set()
        else:
            self._is_led = False

    def _lead(self) -> None:
        """Do one group, then pass the lead to the first who waits."""
        # Those whose requests have arrived already come along.
        time.sleep(0)
        group = self._take()
        try:
            self._finish(group)
        finally:
            with self._lock:
                for ticket in group:
                    ticket.is_done = True
                self._pass_on()
            for ticket in group:
                ticket.changed.set()

    def _take(self) -> list[_Ticket[Job, Result]]:
        with self._lock:
            group = [self._waiting.popleft()]
            weight = group[0].weight
            while self._waiting and weight + self._waiting[0].weight <= self._most_in_group:
                group.append(self._waiting.popleft())
                weight += group[-1].weight
            self._weight -= weight
        return group

    def _finish(self, group: Sequence[_Ticket[Job, Result]]) -> None:
        try:
            results = self._work([ticket.job for ticket in group])
        except Unavailable as error:
            for ticket in group:
                ticket.error = error
        except Exception as error:
            if len(group) == 1:
                group[0].error = error
                return
            for ticket in group:
                self._finish([ticket])
                if isinstance(ticket.error, Unavailable):
                    # The database has gone meanwhile: the others would only wait for it, one by one.
                    break
        else:
            for ticket, result in zip(group, results, strict=True):
                ticket.result, ticket.error = result, None
