"""How a decorator says in the OpenAPI document what it does at run time.

flask-smorest collects what decorators leave in a view's ``_apidoc``. Whoever adds behaviour to a view
calls ``documented`` in the same place, so that what a reader sees, the document cannot forget.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeVar

from apispec import APISpec

from harbor_api.domain import errors
from harbor_api.domain.errors import HarborError
from harbor_api.schemas.problems import MEDIA_TYPE, ProblemSchema
from harbor_api.web.headers import HEADERS, OF_STATUS

# Any operation can fail like this, whatever it does.
_EVERYWHERE = (
    errors.BadRequest,
    errors.InvalidParameter,
    errors.URITooLong,
    errors.HeadersTooLarge,
    errors.InternalError,
)

View = TypeVar("View", bound=Callable[..., Any])


def documented(
    view: View,
    *,
    security: Sequence[Mapping[str, Sequence[str]]] | None = None,
    errors: Iterable[type[HarborError]] = (),
    headers: Iterable[str] = (),
    parameters: Iterable[Mapping[str, Any]] = (),
    answers: Mapping[int, tuple[str, Iterable[str]]] | None = None,
    further: Mapping[int, Iterable[str]] | None = None,
) -> View:
    """Note on a view how callers authenticate, what they may send, which errors and headers may come.

    ``answers`` are those without a body that are no error, each with a description and its own headers, and
    ``further`` are headers of answers that are noted already.
    """
    notes = deepcopy(getattr(view, "_apidoc", {}))
    for status, names in (further or {}).items():
        for noted in notes["response"]["responses"][status]:
            noted["headers"] |= {name: {} for name in names}
    for status, (description, names) in (answers or {}).items():
        answer: dict[str, Any] = {"description": description, "content_type": None}
        answer["headers"] = {name: {} for name in names}
        notes.setdefault("response", {}).setdefault("responses", {})[status] = [answer]
    notes["errors"] = {*notes.get("errors", ()), *(error.code for error in errors)}
    notes["headers"] = {*notes.get("headers", ()), *headers}
    notes["header_parameters"] = [*notes.get("header_parameters", ()), *parameters]
    if security is not None:
        notes.setdefault("manual_doc", {})["security"] = [dict(each) for each in security]
    view._apidoc = notes  # type: ignore[attr-defined]  # noqa: SLF001 - where flask-smorest looks
    return view


def headers_of(view: Callable[..., Any], status: int) -> list[str]:
    """Return the names of the headers that are noted of an answer of a view."""
    noted = view._apidoc["response"]["responses"][status]  # type: ignore[attr-defined]  # noqa: SLF001 - as above
    return [name for each in noted for name in each["headers"]]


def describe_errors(
    doc: dict[str, Any], doc_info: dict[str, Any], *, spec: APISpec, **_: Any
) -> dict[str, Any]:
    """Return an operation's description with its errors, and with the headers of all its answers."""
    codes = {*doc_info.get("errors", ()), *(error.code for error in _EVERYWHERE)}
    if doc_info.get("header_parameters"):
        doc["parameters"] = [*doc.get("parameters", ()), *doc_info["header_parameters"]]
    responses = doc.setdefault("responses", {})
    by_status: dict[int, list[type[HarborError]]] = {}
    for code in sorted(codes):
        error = HarborError.by_code[code]
        by_status.setdefault(error.status, []).append(error)
    for status, kinds in sorted(by_status.items()):
        if status in responses:
            raise TypeError(f"{status} is both an answer and an error")
        responses[status] = _problem_response(kinds)
    for status, response in responses.items():
        names = ["X-Request-Id", *OF_STATUS.get(int(status), ())]
        components = {name: name for name in names}
        # Limits are counted once the caller is known: some refusals come before that.
        counted = int(status) in {*range(200, 400), 409, 412, 422, 428, 429}
        for name in sorted(doc_info.get("headers", ())):
            components[name] = name if counted else f"{name}-Where-Counted"
        for name, noted in response.get("headers", {}).items():
            components[name] = name if noted.get("required", True) else f"{name}-Sometimes"
        response.setdefault("headers", {}).update(
            {name: {"$ref": f"#/components/headers/{key}"} for name, key in components.items()}
        )
        for name, key in components.items():
            if key not in spec.components.headers:
                always = HEADERS[name].get("required", False) and key == name
                spec.components.header(key, HEADERS[name] | {"required": always})
    return doc


def _problem_response(kinds: list[type[HarborError]]) -> dict[str, Any]:
    """Document one error status of an operation by the codes that it can carry.

    What each of them means is told once, in the table at the top of the document, and what a problem looks
    like by the one example of its schema: told with every status of every operation, they hid the answers.
    """
    return {
        "description": ", ".join(f"`{kind.code}`" for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": ProblemSchema}},
    }
