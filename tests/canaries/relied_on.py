"""How a canary says what an upgrade has changed: the library, its version, the part, and who uses it.

Where an upgrade keeps the service from being imported at all, all tests end before the first of them begins.
Those that need no database tell why even then: ``pytest --noconftest tests/canaries``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import pytest


@contextmanager
def relied_on(library: str, part: str, *, by: str) -> Iterator[None]:
    """Fail for whatever goes wrong inside, as a decorator of a test or as a block.

    ``part`` says what the library has or does, ``by`` which file of ours is built on that, and how.
    """
    try:
        yield
    except Exception as error:
        raise pytest.fail.Exception(
            f"{library} {version(library)}: no longer so: {part}.\n"
            f"{by}: look there, and at what has changed in {library}.\n"
            f"What this test met: {type(error).__name__}: {error}"
        ) from error
