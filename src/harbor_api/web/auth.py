"""Who is calling: a partner with an API key, a tracker with a signature, or anybody.

Every view carries exactly one of these decorators, outermost, so that nothing else of a request is
looked at before its caller is known. A test proves that no view forgot.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import wraps
from typing import Any, cast

from flask import g, request

from harbor_api.domain import errors
from harbor_api.domain.entities import Caller, Tracker, tracker_number
from harbor_api.domain.signatures import SignedMessage
from harbor_api.services import api_keys, trackers
from harbor_api.web import blueprint, rate_limits
from harbor_api.web.documented import View, documented

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
        "`_` and `-`: `trk_0001-8f3a`.",
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
# How often a request is begun anew whose tracker is changed meanwhile.
_ATTEMPTS = 3
_BEARER = 'Bearer realm="harbor"'
_WEBHOOK = 'StandardWebhooks realm="harbor"'


def public(view: View) -> View:
    """Let anybody call a view."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        blueprint.refuse_unknown_query()
        return view(*args, **kwargs)

    return documented(cast("View", wrapper), security=[])


def requires_key(scope: str | None = None) -> Callable[[View], View]:
    """Let only API keys call a view, those with a scope where one is named.

    The caller is left in ``g.api_key``.
    """

    def decorator(view: View) -> View:
        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            g.api_key = _presented_key()
            if scope is not None:
                api_keys.demand_scope(g.api_key, scope)
            blueprint.refuse_unknown_query()
            return view(*args, **kwargs)

        return documented(
            cast("View", wrapper),
            security=[{"api_key": [] if scope is None else [scope]}],
            errors=(
                errors.KeyMissing,
                errors.KeyInvalid,
                errors.KeyRevoked,
                *(() if scope is None else (errors.ScopeMissing,)),
                errors.Unavailable,
            ),
        )

    return decorator


def requires_signature(*, explain: bool = False, largest_body: int | None = None) -> Callable[[View], View]:
    """Let only trackers call a view that signed the raw body; the tracker is left in ``g.tracker``.

    Where it signs with its previous secret, ``g.secret_ends_at`` says until when it may.

    With ``explain`` a tracker under test is told what it had to sign, where it signed wrong.
    ``largest_body`` is in bytes, where it is not the usual one.
    """

    def decorator(view: View) -> View:
        def call(*args: Any, **kwargs: Any) -> Any:
            blueprint.refuse_unknown_query()
            return view(*args, **kwargs)

        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if largest_body is not None:
                request.max_content_length = largest_body
            signer = _Signer(explain=explain)
            if not explain and signer.is_known():
                try:
                    return call(*args, **kwargs)
                except errors.Unavailable:
                    raise
                except errors.HarborError:
                    # By now it may have to be refused for another reason.
                    signer.look_up()
                    raise
                except errors.TrackerChanged:
                    pass
            for _ in range(_ATTEMPTS):
                signer.look_up()
                with suppress(errors.TrackerChanged):
                    return call(*args, **kwargs)
            raise errors.Unavailable("The tracker is being changed")

        return documented(
            cast("View", wrapper),
            security=[{"webhook_id": [], "webhook_timestamp": [], "webhook_signature": []}],
            errors=(
                errors.SignatureMissing,
                errors.SignatureInvalid,
                errors.TimestampOutOfTolerance,
                errors.TrackerDisabled,
                errors.RequestTimeout,
                errors.Unavailable,
            ),
        )

    return decorator


def _presented_key() -> Caller:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        error = errors.KeyMissing("Send your API key as Authorization: Bearer hbr_...")
        error.headers["WWW-Authenticate"] = _BEARER
        rate_limits.refuse_failure(error)
    try:
        with blueprint.database().statement() as unit_of_work:
            return api_keys.recognise(unit_of_work, secret.strip(), now=datetime.now(UTC))
    except (errors.KeyInvalid, errors.KeyRevoked) as error:
        error.headers["WWW-Authenticate"] = f'{_BEARER}, error="invalid_token"'
        rate_limits.refuse_failure(error)


class _Signer:
    """Whoever has signed the present request; the tracker is left in ``g.tracker``.

    A signature is checked once, be the tracker known, looked up or none at all, so that time does not tell
    which trackers there are; only one that was changed since it was met takes a second check.
    """

    def __init__(self, *, explain: bool) -> None:
        self._explain = explain
        with _challenged():
            self._message = _signed_message()
        self._number = tracker_number(self._message.tracker_id)
        self._known: Tracker | None = None
        self._wrong: errors.HarborError | None = None

    def is_known(self) -> bool:
        """Tell whether the tracker has signed as far as this process knows."""
        self._known = None if self._number is None else blueprint.known_trackers().recall(self._number)
        if self._known is None:
            return False
        try:
            self._accept(self._known)
        except errors.HarborError as error:
            self._wrong = error
        return self._wrong is None

    def look_up(self) -> None:
        """Look the tracker up, and raise what is wrong with it or with its signature."""
        tracker = None if self._number is None else blueprint.known_trackers().look_up(self._number)
        with _challenged():
            if tracker is None or tracker != self._known:
                self._accept(tracker)
            elif self._wrong is not None:
                raise self._wrong

    def _accept(self, tracker: Tracker | None) -> None:
        signing = trackers.authenticate(
            tracker,
            self._message,
            master_key=blueprint.settings().require_master_key(),
            explain=self._explain,
        )
        g.tracker, g.secret_ends_at = signing.tracker, signing.secret_ends_at


def _signed_message() -> SignedMessage:
    headers = request.headers
    message = trackers.read_headers(
        id=headers.get("webhook-id", ""),
        timestamp=headers.get("webhook-timestamp", ""),
        signature=headers.get("webhook-signature", ""),
        body=b"",
        now=datetime.now(UTC),
    )
    # Whoever did not sign is told before his body is read: it would be held for a stranger.
    return replace(message, body=request.get_data(cache=True))


@contextmanager
def _challenged() -> Iterator[None]:
    """Tell how to sign where somebody did not, and count it."""
    try:
        yield
    except (errors.SignatureMissing, errors.SignatureInvalid, errors.TimestampOutOfTolerance) as error:
        error.headers["WWW-Authenticate"] = _WEBHOOK
        rate_limits.refuse_failure(error)
