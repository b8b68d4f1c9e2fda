"""Turns: what takes long lets others have theirs.

A worker serves all its callers on one thread, and nobody takes it from whoever has it. Waiting for PostgreSQL
or for a client gives it away; arithmetic does not. What may take tens of milliseconds comes in pieces.
"""

import time
from collections.abc import Iterable, Iterator


def between(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield pieces as they are made, and give others their turns between two of them."""
    for piece in pieces:
        yield piece
        time.sleep(0)
