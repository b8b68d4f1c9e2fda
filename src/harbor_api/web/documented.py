"""How a decorator says in the OpenAPI document what it does at run time.

flask-smorest collects what decorators leave in a view's ``_apidoc``. Whoever adds behaviour to a view
calls ``documented`` in the same place, so that what a reader sees, the document cannot forget.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeVar

from harbor_api.domain.errors import HarborError

View = TypeVar("View", bound=Callable[..., Any])


def documented(
    view: View,
    *,
    security: Sequence[Mapping[str, Sequence[str]]] | None = None,
    errors: Iterable[type[HarborError]] = (),
    headers: Iterable[str] = (),
    parameters: Iterable[Mapping[str, Any]] = (),
) -> View:
    """Note on a view how callers authenticate, what they may send, which errors and headers may come."""
    notes = deepcopy(getattr(view, "_apidoc", {}))
    notes["errors"] = {*notes.get("errors", ()), *(error.code for error in errors)}
    notes["headers"] = {*notes.get("headers", ()), *headers}
    notes["header_parameters"] = [*notes.get("header_parameters", ()), *parameters]
    if security is not None:
        notes.setdefault("manual_doc", {})["security"] = [dict(each) for each in security]
    view._apidoc = notes  # type: ignore[attr-defined]  # noqa: SLF001 - where flask-smorest looks
    return view
