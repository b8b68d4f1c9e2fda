"""Cursors as views give and take them: sealed (``domain/cursors.py``), and bound to the key that calls."""

from collections.abc import Mapping
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
    return cursors.seal(
        _key(), holder=runtime.caller().id, of=_fingerprint(purpose, parameters), values=[*values]
    )


def unseal(cursor: str, purpose: str, *, parameters: Mapping[str, str] | None = None) -> list[Any]:
    """Return the values of a cursor; InvalidParameter or CursorMismatch where it is none for this."""
    return cursors.unseal(_key(), cursor, holder=runtime.caller().id, of=_fingerprint(purpose, parameters))


def _fingerprint(purpose: str, parameters: Mapping[str, str] | None) -> str:
    bound = {name: value for name, value in (parameters or {}).items() if name not in _FREE}
    return cursors.fingerprint(purpose, bound)


def _key() -> bytes:
    return cursors.cursor_key(runtime.current().settings.require_master_key())
