"""Answers that are sent as they are read, for what is too much to be held at once.

A part is read when the one before is with the kernel, so nothing is held of what the client has not asked
for, and no connection to the database while a slow one reads. What goes wrong on the way cannot be told any
more: the connection is ended instead of the body, so that nobody takes a part for the whole.
"""

import errno
from collections import Counter
from collections.abc import Iterable, Iterator

import structlog

from harbor_api.domain.errors import HarborError, RateLimited

# A client that reads fast keeps PostgreSQL busy: one partner must not fill all connections to it with that.
MOST_OF_A_KEY = 4
_RETRY_AFTER_S = 5

log = structlog.get_logger(__name__)


class Streams:
    """The answers that this process is sending, by key."""

    def __init__(self) -> None:
        self._of_key: Counter[int] = Counter()

    def demand_room(self, key_id: int) -> None:
        """Raise RateLimited where a key is sent as many at once as it may."""
        if self._of_key[key_id] >= MOST_OF_A_KEY:
            raise RateLimited(
                f"This key is sent {MOST_OF_A_KEY} whole windows already: read one of them to its end",
                headers={"Retry-After": str(_RETRY_AFTER_S)},
            )

    def sent(self, key_id: int, parts: Iterable[bytes], *, request_id: str) -> Iterator[bytes]:
        """Yield the parts, and count them as one answer for as long as that takes.

        BrokenPipeError in place of what goes wrong: for that the server ends the connection without a word.
        """
        self._of_key[key_id] += 1
        try:
            yield from parts
        except HarborError as error:
            cause = getattr(error, "cause", None) or error.detail
            log.warning("stream_broken", code=error.code, cause=cause, request_id=request_id)
            raise BrokenPipeError(errno.EPIPE, "an answer ended before its end") from error
        except Exception as error:
            log.exception("stream_broken", request_id=request_id)
            raise BrokenPipeError(errno.EPIPE, "an answer ended before its end") from error
        finally:
            self._of_key[key_id] -= 1
            if not self._of_key[key_id]:
                del self._of_key[key_id]
