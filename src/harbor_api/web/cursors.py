"""Cursors as views give and take them: sealed (``domain/cursors.py``), and bound to the key that calls."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from harbor_api.domain import cursors
from harbor_api.web import runtime

# The cursor of the committed order, which the fleet gives and whoever follows takes.
ORDER = "order"
# What may differ from page to page.
_FREE = {"cursor", "limit"}


def seal(purpose: str, *values: int | str, parameters: Mapping[str, str] | None = None) -> str:
    """Return a cursor for the caller that goes on with a list from some values.

    ``parameters`` are those of the request that made the list; it holds with no others, but for its limit.
    """
    return _sealed(_key(), runtime.caller().id, _fingerprint(purpose, parameters), values)


def unseal(cursor: str, purpose: str, *, parameters: Mapping[str, str] | None = None) -> list[Any]:
    """Return the values of a cursor; InvalidParameter or CursorMismatch where it is none for this."""
    return cursors.unseal(_key(), cursor, holder=runtime.caller().id, of=_fingerprint(purpose, parameters))


@lru_cache(maxsize=100)
def _bare(purpose: str) -> str:
    return cursors.fingerprint(purpose, {})


@lru_cache(maxsize=1_000)
def _sealed(key: bytes, holder: int, of: str, values: tuple[int | str, ...]) -> str:
    """Return a cursor; at rest each answer has the one of the answer before."""
    return cursors.seal(key, holder=holder, of=of, values=[*values])


def _fingerprint(purpose: str, parameters: Mapping[str, str] | None) -> str:
    if parameters is None:
        return _bare(purpose)
    bound = {name: value for name, value in parameters.items() if name not in _FREE}
    return cursors.fingerprint(purpose, bound)


def _key() -> bytes:
    return runtime.current().cursor_key
