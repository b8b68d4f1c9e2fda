"""What a request says of who sends it: the key that it presents, or the message that it has signed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from flask import request

from harbor_api.domain import errors
from harbor_api.domain.api_keys import Caller
from harbor_api.domain.authentication import demand_fresh, read_headers
from harbor_api.domain.signatures import SignedMessage
from harbor_api.services import api_keys
from harbor_api.web import rate_limits, runtime

_BEARER = 'Bearer realm="harbor"'
_WEBHOOK = 'StandardWebhooks realm="harbor"'


def presented_key() -> Caller:
    """Return the API key that a request presents; KeyMissing, KeyInvalid or KeyRevoked where it has none."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        error = errors.KeyMissing("Send your API key as Authorization: Bearer hbr_...")
        error.headers["WWW-Authenticate"] = _BEARER
        rate_limits.refuse_failure(error)
    try:
        with runtime.current().database.autocommit() as unit_of_work:
            return api_keys.recognise(unit_of_work, secret.strip(), now=datetime.now(UTC))
    except (errors.KeyInvalid, errors.KeyRevoked) as error:
        error.headers["WWW-Authenticate"] = f'{_BEARER}, error="invalid_token"'
        rate_limits.refuse_failure(error)


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
    headers = request.headers
    return read_headers(
        id=headers.get("webhook-id", ""),
        timestamp=headers.get("webhook-timestamp", ""),
        signature=headers.get("webhook-signature", ""),
        body=b"",
        now=datetime.now(UTC),
        is_check=is_check,
    )


def _whole(message: SignedMessage) -> SignedMessage:
    return replace(message, body=request.get_data(cache=True))


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
