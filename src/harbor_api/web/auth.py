"""Who may call a view: a partner with an API key, a tracker with a signature, or anybody.

Every view carries exactly one of these decorators, outermost, so that nothing else of a request is looked
at before its caller is known. It authenticates, counts the request against the caller's limit, and documents
both. A test proves that no view forgot.

The order of a view's decorators is the order in which a request meets them, from the top down:

    @auth.requires_key("vessels:write")      1  401, 429  who calls, how often, and may it? Only then:
                                                403, 400  parameters that nothing takes
    @idempotency.done_once                   2  400       headers that the change hangs on; needs the caller
      or @preconditions.demands_version         428
    @preconditions.tagged                    -            on the way back: the tag of what is answered
    @blueprint.arguments(VesselSchema)       3  4xx       the body or the query, as a frozen dataclass
    @blueprint.response(201, ...)            4            on the way back: what the view returns, rendered
    @blueprint.raises(errors.Conflict)       -  409       changes nothing: what the view itself may raise
    @blueprint.doc(operationId="...")        -            changes nothing: the operation's name
    def post(self, details): ...

Python applies them from the bottom up, and each adds to the notes in ``_apidoc`` that those below it left:
what a decorator does and what the document says of it stand in one place (see ``documented``). Were a body
parsed first, strangers would get 422 for a mistake in it instead of 401, and make the service work for them.
A decorator that comes too early finds nobody: ``runtime.caller()`` then names the one that is missing.

``requires_signature`` has an order of its own inside: the three headers, then the body (it is not read for
whoever did not sign), then the signature, then limit and parameters. Each failed authentication is counted
against its address, and only failures are refused for that.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from flask import Response

from harbor_api.domain import errors, tags
from harbor_api.domain.api_keys import demand_scope
from harbor_api.domain.signatures import SignedMessage
from harbor_api.ingest.repeats import Answer
from harbor_api.web import callers, rate_limits, runtime
from harbor_api.web.blueprint import refuse_unknown_query
from harbor_api.web.documented import View, documented, headers_of
from harbor_api.web.whole_bodies import WholeAnswer

SECURITY_SCHEMES = {
    "api_key": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "hbr_ and 36 letters and digits",
        "description": "The API key that the operator gave you, as `Authorization: Bearer hbr_...`.",
    },
    "webhook_id": {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-id",
        "description": "The tracker's id, a hyphen, and anything unique of up to 64 letters, digits, "
        "`_` and `-`: `trk_0001-8f3a`. To be checked and never stored it begins with `check-`: "
        "`trk_0001-check-8f3a`.",
    },
    "webhook_timestamp": {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-timestamp",
        "description": "Unix time of this attempt in seconds; at most 300 s off the server's clock.",
    },
    "webhook_signature": {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": "`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, with the "
        "tracker's secret (Standard Webhooks). Up to 4, separated by spaces.",
    },
}


def public(view: View) -> View:
    """Let anybody call a view, from each address as often as all that is public."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        rate_limits.count_stranger()
        return call(*args, **kwargs)

    call = probe(view)
    return documented(cast("View", wrapper), security=[], errors=[errors.RateLimited])


def probe(view: View) -> View:
    """Let anybody call a view however often: a load balancer that is refused takes the service for dead."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        refuse_unknown_query()
        return view(*args, **kwargs)

    return documented(cast("View", wrapper), security=[])


def requires_key(scope: str | None = None, *, told: str | None = None) -> Callable[[View], View]:
    """Let only API keys call a view, those with a scope where one is named.

    ``runtime.caller()`` is the key. ``told`` is the scope with which one may read what a change answers: a
    key without it is told by 204 that it is done, and nothing else.
    """

    def decorator(view: View) -> View:
        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            key = callers.presented_key()
            if scope is not None:
                demand_scope(key, scope)
            refuse_unknown_query()
            answer = view(*args, **kwargs)
            return answer if told is None or told in key.scopes else _done(answer)

        return documented(
            cast("View", wrapper),
            security=[{"api_key": [] if scope is None else [scope]}],
            answers=None
            if told is None
            else {204: (f"Done; the key does not carry `{told}`.", _headers(view))},
            errors=(
                errors.KeyMissing,
                errors.KeyInvalid,
                errors.KeyRevoked,
                *(() if scope is None else (errors.ScopeMissing,)),
                errors.RateLimited,
                errors.Unavailable,
            ),
            headers=rate_limits.HEADERS,
        )

    return decorator


def _done(answer: Response) -> Response:
    """Return that something is done, without what it is now; a tag only names the edit."""
    done = Response(status=204)
    del done.headers["Content-Type"]
    tag, _ = answer.get_etag()
    if tag is not None:
        done.set_etag(tags.edit_in(tag))
    return done


def _headers(view: View) -> list[str]:
    """Return the headers that a view documents for what it answers, and that tell nothing of it."""
    return [name for name in headers_of(view, 200) if name == "ETag"]


def requires_signature(*, explain: bool = False, largest_body: int | None = None) -> Callable[[View], View]:
    """Let only trackers call a view that signed the raw body; ``runtime.signer()`` is who has signed.

    With ``explain`` a tracker under test is told what it had to sign, where it signed wrong.
    ``largest_body`` is in bytes, where it is not the usual one.
    """

    def decorator(view: View) -> View:
        def call(message: SignedMessage, *args: Any, **kwargs: Any) -> Any:
            state = runtime.here()
            repeats = state.runtime.intake.repeats
            name = repeats.name(state.request.endpoint or "", message.id, message.body)
            if repeats.is_met(name):
                rate_limits.count_repeat()
                told = repeats.answer(name)
                if told is not None:
                    # It is told only to who may send it still.
                    runtime.signer().look_up()
                    return WholeAnswer(told.body, told.status, content_type="application/json")
            else:
                rate_limits.count_tracker()
                repeats.note(name)
            refuse_unknown_query()
            response = cast("Response", view(*args, **kwargs))
            if not explain:
                # What would become of a fix changes with what is stored.
                repeats.note(name, Answer(response.status_code, response.get_data()))
            return response

        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            state = runtime.here()
            if largest_body is not None:
                state.request.max_content_length = largest_body
            with callers.challenged(is_check=explain):
                message = callers.signed_message(is_check=explain)
                signer = state.runtime.intake.signer(message, explain=explain)
                is_known = not explain and signer.is_known()
                if not is_known:
                    signer.look_up()
                state.signer = signer
                try:
                    return call(message, *args, **kwargs)
                except errors.Unavailable:
                    raise
                except errors.HarborError:
                    if is_known:
                        # By now it may have to be refused for another reason.
                        signer.look_up()
                    raise

        return documented(
            cast("View", wrapper),
            security=[{"webhook_id": [], "webhook_timestamp": [], "webhook_signature": []}],
            errors=(
                errors.SignatureMissing,
                errors.SignatureInvalid,
                errors.TimestampOutOfTolerance,
                errors.TrackerDisabled,
                errors.RequestTimeout,
                errors.RateLimited,
                errors.Unavailable,
            ),
            headers=rate_limits.HEADERS,
        )

    return decorator
