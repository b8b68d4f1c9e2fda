"""What a request says of who sends it: the key that it presents, or the message that it has signed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

from flask import request

from harbor_api.domain import errors, presented_keys
from harbor_api.domain.api_keys import Caller, demand_scope
from harbor_api.domain.authentication import demand_fresh, read_headers
from harbor_api.domain.signatures import SignedMessage
from harbor_api.web import rate_limits, runtime

_BEARER = 'Bearer realm="harbor"'
_WEBHOOK = 'StandardWebhooks realm="harbor"'


def presented_key() -> Caller:
    """Return the API key that a request presents, and count the request against it.

    KeyMissing, KeyInvalid or KeyRevoked where it has none that holds; RateLimited where that has none left. A
    key that this process has met is counted before it is looked up: who asks too often, or for nothing, costs
    no connection to the database.
    """
    here, now = runtime.here(), runtime.current()
    known = None
    try:
        secret = presented_keys.read(request.headers.get("Authorization", ""))
        known = now.known_keys.recall(secret)
        if known is not None:
            here.caller = known
            rate_limits.count_key()
        try:
            here.caller = now.known_keys.look_up(secret)
        except (errors.KeyInvalid, errors.KeyRevoked):
            here.caller = here.counted = None
            raise
    except errors.KeyMissing as error:
        error.headers["WWW-Authenticate"] = _BEARER
        rate_limits.refuse_failure(error)
    except (errors.KeyInvalid, errors.KeyRevoked) as error:
        error.headers["WWW-Authenticate"] = f'{_BEARER}, error="invalid_token"'
        rate_limits.refuse_failure(error)
    if known is None:
        rate_limits.count_key()
    return here.caller


def present_again(scope: str) -> None:
    """Find out again whose key a request presents, which has waited since; it is not counted again.

    KeyInvalid or KeyRevoked where it does not hold any more, ScopeMissing where it may not do this.
    """
    here = runtime.here()
    secret = presented_keys.read(request.headers.get("Authorization", ""))
    try:
        here.caller = runtime.current().known_keys.look_up(secret)
    except (errors.KeyInvalid, errors.KeyRevoked) as error:
        here.caller = here.counted = None
        error.headers["WWW-Authenticate"] = f'{_BEARER}, error="invalid_token"'
        raise
    demand_scope(here.caller, scope)


def signed_message(*, is_check: bool) -> SignedMessage:
    """Return the message that a request has signed, or not.

    SignatureMissing as with ``read_headers``, TimestampOutOfTolerance as with ``demand_fresh``.
    """
    message = _claimed(is_check=is_check)
    demand_fresh(message)
    # Whoever did not sign is told before the body is read: it would be held for a stranger.
    return _whole(message)


@contextmanager
def challenged(*, is_check: bool) -> Iterator[None]:
    """Tell how to sign where somebody did not, and count it."""
    try:
        yield
    except (errors.SignatureMissing, errors.SignatureInvalid) as error:
        error.headers["WWW-Authenticate"] = _WEBHOOK
        rate_limits.refuse_failure(error)
    except errors.TimestampOutOfTolerance as error:
        error.headers["WWW-Authenticate"] = _WEBHOOK
        # Whose clock is off has to learn that, whoever else fails behind the same address; it has a secret to
        # show for it.
        rate_limits.refuse_failure(error, unless=partial(_is_signed, is_check=is_check))


def _claimed(*, is_check: bool) -> SignedMessage:
    headers = runtime.sent().headers
    return read_headers(
        id=headers.get("webhook-id", ""),
        timestamp=headers.get("webhook-timestamp", ""),
        signature=headers.get("webhook-signature", ""),
        body=b"",
        now=datetime.now(UTC),
        is_check=is_check,
    )


def _whole(message: SignedMessage) -> SignedMessage:
    return message._replace(body=runtime.sent().get_data(cache=True))


def _is_signed(*, is_check: bool) -> bool:
    """Return whether a request is rightly signed, whenever that was."""
    signer = runtime.current().intake.signer(_whole(_claimed(is_check=is_check)))
    try:
        if not signer.is_known():
            signer.look_up()
    except errors.TrackerDisabled:
        return True
    except errors.SignatureInvalid:
        return False
    return True
