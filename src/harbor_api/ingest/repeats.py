"""Which signed messages have come before: a repeat is answered as the first time, and counts no more.

Whoever has seen a message on its way can send it again for as long as its timestamp is taken. It stores
nothing new, as a fix is stored once; but each repeat counted against its tracker, which was then refused
itself. So a message counts once. What a repeat is told is what the first one was told, which is true: it is
durable.

A message is the same that has the same ``webhook-id``, body and operation, whenever it was signed: a tracker
whose answer was lost signs again. An id with another body is another message: a counter that a board has lost
in a power cut begins anew, and its fix must not be lost. Where the first has no answer that lasts (it failed,
was refused, or is still under way) a repeat is done like any other request: that nothing is stored twice is
the database's business.

This is what one process remembers. It is bounded in bytes, the oldest go first, and losing all of it only
means that a repeat counts once more.
"""

import hashlib
import time
import zlib
from typing import NamedTuple

# A timestamp may be so far ahead, and is taken until it is so far behind.
_KEPT_S = 600
_MOST_BYTES = 32 << 20
# What one of them takes beside its answer, about.
_OVERHEAD_BYTES = 400
# A batch's verdicts are alike, and become a twentieth.
_COMPRESSED_FROM = 1_024


class Answer(NamedTuple):
    """What a message was told: a status and the JSON of a body."""

    status: int
    body: bytes


class _Met(NamedTuple):
    until: float
    status: int
    body: bytes
    is_compressed: bool


class Repeats:
    """The messages that this process has met, in the order in which it met them."""

    def __init__(self, *, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._met: dict[bytes, _Met] = {}

    @staticmethod
    def name(operation: str, message_id: str, body: bytes) -> bytes:
        """Return what a message is remembered by."""
        # Neither of the first two holds a line end.
        return hashlib.sha256(f"{operation}\n{message_id}\n".encode() + body).digest()

    def is_met(self, name: bytes) -> bool:
        """Return whether a message has come before."""
        met = self._met.get(name)
        return met is not None and met.until > time.monotonic()

    def answer(self, name: bytes) -> Answer | None:
        """Return what a message was told that has come before, None where that does not last."""
        met = self._met.get(name)
        if met is None or not met.status:
            return None
        return Answer(met.status, zlib.decompress(met.body) if met.is_compressed else met.body)

    def note(self, name: bytes, answer: Answer | None = None) -> None:
        """Remember that a message has come, and what it was told; the first answer stays."""
        before, now = self._met.get(name), time.monotonic()
        is_met = before is not None and before.until > now
        if before is not None and is_met and before.status:
            return
        status, body = answer or (0, b"")
        is_compressed = len(body) >= _COMPRESSED_FROM
        # A copy of just its size: orjson's own holds 4 kB, whatever is in it.
        body = zlib.compress(body, 1) if is_compressed else memoryview(body).tobytes()
        until = now + _KEPT_S
        if before is not None:
            self._bytes -= len(before.body) + _OVERHEAD_BYTES
            if is_met:
                # It keeps its place, and so its time.
                until = before.until
            else:
                del self._met[name]
        self._met[name] = _Met(until, status, body, is_compressed)
        self._bytes += len(body) + _OVERHEAD_BYTES
        self._forget(now)

    def forget(self) -> None:
        """Forget all of them."""
        self._met.clear()
        self._bytes = 0

    def _forget(self, now: float) -> None:
        while self._met:
            name, oldest = next(iter(self._met.items()))
            if oldest.until > now and self._bytes <= self._most_bytes:
                return
            del self._met[name]
            self._bytes -= len(oldest.body) + _OVERHEAD_BYTES
