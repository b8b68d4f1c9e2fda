"""Group commit: what many callers ask for at once is done for all of them in one go.

A transaction costs a worker the same for one fix as for a hundred, and a look-up the same for one key as for
several. Whoever comes first does what is waiting, its own request included; those who come meanwhile wait,
and one of them does the next group. There is no thread of its own to start, to stop or to lose.

    A  comes, nobody leads: leads [A] ------>| answered
    B      comes, waits .................... | leads [B C D] ------>| answered
    C          comes, waits ................ | .................... | answered
    D              comes, waits ............ | .................... | answered
    E                                        |    comes, waits .... | leads [E] ------>| answered

Who waits is woken once (``_Ticket.changed``) and looks which of two things has happened: the request is
done, or the turn to lead has come. While somebody leads, ``_is_led`` holds; whoever ends a group wakes the
first who waits, and where nobody does, lets ``_is_led`` go. So the lead is never lost, and never held by two.

What may go wrong, and who is told:

- Too much waits: whoever comes is refused at once, and nothing of it is done.
- Nothing moves for ``patience_s``: who waits leaves the queue. What a leader has taken already may still be
  done: a fix that is sent again is a duplicate, so nothing is lost by not knowing.
- A group fails: each request is done again alone, so that one that cannot be done spoils no other. But where
  the database is away all are told at once: the others would only wait for it, one by one.
- A thread is ended while it waits: it takes its ticket along, and passes on the lead if that has just come.

A request that is a whole group by itself (a large batch) does not queue: it would gain nothing and hold up
the small ones. It goes beside the groups, two at a time.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from harbor_api.domain.errors import Unavailable
from harbor_api.telemetry import metrics

# Two keep PostgreSQL busy while one of them is judged; each takes a database connection for its time.
_ALONE_AT_ONCE = 2

Request = TypeVar("Request")
Result = TypeVar("Result")


class _Ticket(Generic[Request, Result]):
    """One caller's request, and how it ended."""

    __slots__ = ("changed", "error", "is_done", "is_told", "request", "result", "weight")

    def __init__(self, request: Request, weight: int) -> None:
        self.request = request
        self.weight = weight
        self.changed = threading.Event()
        self.is_done = False
        # It is done and nothing was told where whoever led the group was ended.
        self.is_told = False
        self.result: Result | None = None
        self.error: Exception | None = None

    def tell(self, result: Result | None = None, *, error: Exception | None = None) -> None:
        self.is_told, self.result, self.error = True, result, error


class Grouping(Generic[Request, Result]):
    """Does requests in groups, one group at a time.

    A request that fills a group would only hold up the small ones: a few of those are done side by side.

    ``work`` takes the requests of a group and returns a result for each, in order, or raises. A group that
    fails is done again one by one, so that a request that cannot be done spoils no other; where the reason is
    that the database is away, it fails whole.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Request]], Sequence[Result]],
        *,
        name: str,
        most_in_group: int,
        most_waiting: int,
        patience_s: float,
        gathered_s: float = 0,
    ) -> None:
        """Bound a group and the queue, in weight, and for how long a request may wait.

        Where several wait already, more are about to come: they are waited for so long. ``name`` is what its
        figures are told under.
        """
        self.name = name
        self._observe_size = metrics.GROUP_SIZE.labels(name).observe
        self._observe_seconds = metrics.GROUP_SECONDS.labels(name).observe
        self._work = work
        self._most_in_group = most_in_group
        self._most_waiting = most_waiting
        self._patience_s = patience_s
        self._gathered_s = gathered_s
        self._lock = threading.Lock()
        self._places = threading.Semaphore(_ALONE_AT_ONCE)
        self._waiting: deque[_Ticket[Request, Result]] = deque()
        self._weight = 0
        self._is_led = False

    @property
    def waiting(self) -> tuple[int, int]:
        """How many requests wait for their group, and what they and those that go alone weigh."""
        return len(self._waiting), self._weight

    def do(self, request: Request, *, weight: int = 1) -> Result:
        """Have a request done and return its result, or raise what went wrong with it.

        Unavailable at once where too much is waiting, and after a while where nothing moves; it is not
        known then whether the request will still be done.
        """
        if weight >= self._most_in_group:
            return self._do_alone(request, weight)
        ticket: _Ticket[Request, Result] = _Ticket(request, weight)
        with self._lock:
            self._wait_with(weight)
            self._waiting.append(ticket)
            leads = not self._is_led
            self._is_led = True
        if not leads:
            self._await(ticket)
        if not ticket.is_done:
            self._lead()
        if not ticket.is_told:
            raise Unavailable("The service is ending")
        if ticket.error is not None:
            raise ticket.error
        result: Result = ticket.result  # type: ignore[assignment]  # done without an error
        return result

    def _wait_with(self, weight: int) -> None:
        """Let more wait, unless that is too much; one request alone never is."""
        if self._weight and self._weight + weight > self._most_waiting:
            raise self._refused("full", "Too much is waiting for the database")
        self._weight += weight

    def _do_alone(self, request: Request, weight: int) -> Result:
        with self._lock:
            self._wait_with(weight)
        try:
            has_place = self._places.acquire(timeout=self._patience_s)
        finally:
            with self._lock:
                self._weight -= weight
        if not has_place:
            raise self._refused("slow", "The database is too slow")
        try:
            [result] = self._worked([request], weight)
        finally:
            self._places.release()
        return result

    def _await(self, ticket: _Ticket[Request, Result]) -> None:
        """Wait until a request is done or its turn to lead has come."""
        try:
            if ticket.changed.wait(self._patience_s):
                return
        except BaseException:
            # Whoever is ended here must not be waited for by those behind.
            with self._lock:
                self._leave(ticket)
                if ticket.changed.is_set() and not ticket.is_done:
                    self._pass_on()
            raise
        with self._lock:
            if ticket.changed.is_set():
                return
            self._leave(ticket)
        raise self._refused("slow", "The database is too slow")

    def _refused(self, reason: str, detail: str) -> Unavailable:
        metrics.GROUPS_REFUSED.labels(self.name, reason).inc()
        return Unavailable(detail)

    def _worked(self, requests: Sequence[Request], weight: int) -> Sequence[Result]:
        began = time.perf_counter()
        results = self._work(requests)
        self._observe_seconds(time.perf_counter() - began)
        self._observe_size(weight)
        return results

    def _leave(self, ticket: _Ticket[Request, Result]) -> None:
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
        time.sleep(self._gathered_s if len(self._waiting) > 1 else 0)
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

    def _take(self) -> list[_Ticket[Request, Result]]:
        with self._lock:
            group = [self._waiting.popleft()]
            weight = group[0].weight
            while self._waiting and weight + self._waiting[0].weight <= self._most_in_group:
                group.append(self._waiting.popleft())
                weight += group[-1].weight
            self._weight -= weight
        return group

    def _finish(self, group: Sequence[_Ticket[Request, Result]]) -> None:
        try:
            weight = sum(ticket.weight for ticket in group)
            results = self._worked([ticket.request for ticket in group], weight)
        except Unavailable as error:
            for ticket in group:
                ticket.tell(error=error)
        except Exception as error:
            if len(group) == 1:
                group[0].tell(error=error)
                return
            for ticket in group:
                self._finish([ticket])
                if isinstance(ticket.error, Unavailable):
                    # The database has gone meanwhile: the others would only wait for it, one by one.
                    break
        else:
            for ticket, result in zip(group, results, strict=True):
                ticket.tell(result)
