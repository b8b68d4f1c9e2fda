"""Everything that can go wrong for a caller: each class is one stable ``code`` with its HTTP status.

Whoever finds something wrong raises one of these, on whatever floor, and nobody on the way up turns it into
an answer but one:

    raise Conflict("...")     a rule, a repository, a service, a decorator, a view
        |                     the unit of work that it leaves is rolled back
    web/problems.py           one handler makes it application/problem+json (RFC 9457), with the request's id
        |
    409 {"code": "conflict", "title": ..., "detail": ..., "request_id": ...}

    the class           ``code``, ``status`` and ``title``: for programs, and never changed
    its docstring       what the OpenAPI document tells a developer about the code
    ``detail``          what is wrong this time, for people; nothing secret, no name of ours
    ``faults``          each wrong member of the body or parameter, with its place

A new error is a class here, with a docstring; a name in ``@blueprint.raises`` of the views that answer it, or
in the ``documented`` of the decorator that raises it; and a test that meets it. What no caller is told of is
no HarborError and stands where it is caught, as ``TrackerChanged`` does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong member of the body (``pointer``, an RFC 6901 fragment), parameter of the query or header."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None


class HarborError(Exception):
    """The root of all errors that a caller is told about."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]
    by_code: ClassVar[dict[str, type["HarborError"]]] = {}

    def __init__(
        self,
        detail: str | None = None,
        *,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.faults = tuple(faults)
        self.headers = dict(headers or {})
        # Members of its own that a problem document may have beside the standard ones (RFC 9457, 3.2).
        self.members = dict(members or {})

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" in vars(cls):
            HarborError.by_code[cls.code] = cls


class BadRequest(HarborError):
    """The request cannot be understood as HTTP, or its body is not of its Content-Encoding."""

    status, code, title = 400, "bad_request", "Bad request"


class MalformedJSON(HarborError):
    """The body is not one JSON value in UTF-8, repeats a member name, or holds NaN, Infinity, NUL,
    a lone surrogate or a number too large for a double."""

    status, code, title = 400, "malformed_json", "Malformed JSON"


class NotABatch(HarborError):
    """The JSON is well formed but is no batch: an object whose ``fixes`` is a list of one fix or more. No fix
    of it has a verdict: keep them. A single wrong fix of a batch is no reason for this."""

    status, code, title = 400, "not_a_batch", "Not a batch"


class InvalidParameter(HarborError):
    """A query parameter is unknown, given twice or has a value that it cannot have."""

    status, code, title = 400, "invalid_parameter", "Invalid query parameter"


class CursorMismatch(HarborError):
    """The cursor was given to another API key, or with other parameters. Go on with those that it came with,
    or begin anew without it."""

    status, code, title = 400, "cursor_mismatch", "Cursor of another list"


class TrackTooLong(HarborError):
    """The track is of more fixes, or of more parts, than one answer holds: ask for a shorter time."""

    status, code, title = 400, "track_too_long", "Track too long"


class InvalidHeader(HarborError):
    """A header field has a value that it cannot have; ``errors`` names it."""

    status, code, title = 400, "invalid_header", "Invalid header field"


class KeyMissing(HarborError):
    """No API key came with the request: send ``Authorization: Bearer hbr_...``."""

    status, code, title = 401, "key_missing", "API key missing"


class KeyInvalid(HarborError):
    """The API key is mistyped or was never issued."""

    status, code, title = 401, "key_invalid", "API key invalid"


class KeyRevoked(HarborError):
    """The API key was revoked or has expired."""

    status, code, title = 401, "key_revoked", "API key revoked or expired"


class KeyExpired(KeyRevoked):
    """The API key has come to its end."""


class SignatureMissing(HarborError):
    """A ``webhook-id``, ``webhook-timestamp`` or ``webhook-signature`` header is missing or malformed."""

    status, code, title = 401, "signature_missing", "Signature missing"


class SignatureInvalid(HarborError):
    """No signature fits the bytes that arrived, or the tracker is not known: it is not told which."""

    status, code, title = 401, "signature_invalid", "Signature invalid"


class TimestampOutOfTolerance(HarborError):
    """``webhook-timestamp`` is more than 300 s away from the server's clock. Set the clock from the
    ``Date`` header of this answer and sign again; the time of the fix does not matter here."""

    status, code, title = 401, "timestamp_out_of_tolerance", "Timestamp out of tolerance"


class TrackerDisabled(HarborError):
    """The signature is right, but the operator has disabled this tracker."""

    status, code, title = 403, "tracker_disabled", "Tracker disabled"


class ScopeMissing(HarborError):
    """The API key is valid but does not carry the scope that this operation needs."""

    status, code, title = 403, "scope_missing", "Scope missing"


class ExceedsKey(HarborError):
    """The request would give, change or take over an API key with more than the key that asks has itself:
    vessels, delay, precision, limit or end. Or the other key is one that the asking one comes from."""

    status, code, title = 403, "exceeds_key", "More than the key has"


class NotFound(HarborError):
    """There is no such resource, or the key may not see it."""

    status, code, title = 404, "not_found", "Not found"


class MethodNotAllowed(HarborError):
    """The resource exists but does not take this method; ``Allow`` lists those that it takes."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"


class RequestTimeout(HarborError):
    """The request came too slowly: its head takes more than 10 s, or its body more than 30 s and a second
    for each 1,000 bytes that have come. Nothing was stored; send it again."""

    status, code, title = 408, "request_timeout", "Request timeout"


class Conflict(HarborError):
    """The request contradicts itself or what is stored, such as a vessel whose IMO number is taken."""

    status, code, title = 409, "conflict", "Conflict"


class StillInTheFuture(HarborError):
    """The fix is from the future by more than the tolerance. On the map it would hide where the vessel is
    until then; ``detail`` says from when on it may be released."""

    status, code, title = 409, "still_in_the_future", "Still in the future"


class CursorExpired(HarborError):
    """Something was removed that would come after this cursor, or it is of an order that went further than
    the one there is now. Read the fleet anew and go on with its `cursor`; or go on with `oldest`, and know
    that what came before `oldest_at` is missing."""

    status, code, title = 410, "cursor_expired", "Cursor expired"


class LengthRequired(HarborError):
    """The request has neither ``Content-Length`` nor chunks, so there is no body where one is needed."""

    status, code, title = 411, "length_required", "Length required"


class PreconditionFailed(HarborError):
    """Somebody else has changed the resource since the ``ETag`` in ``If-Match`` was read: read it again,
    decide again."""

    status, code, title = 412, "precondition_failed", "Precondition failed"


class BodyTooLarge(HarborError):
    """The body is larger than this operation takes, or a batch has more than 1,000 fixes: keep them, and send
    them in smaller parts."""

    status, code, title = 413, "body_too_large", "Body too large"


class URITooLong(HarborError):
    """The request line, with the path and its query, is longer than 40,960 bytes."""

    status, code, title = 414, "uri_too_long", "URI too long"


class UnsupportedMediaType(HarborError):
    """The body is not sent as ``application/json``, or with a Content-Encoding that is not taken."""

    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class ValidationFailed(HarborError):
    """The JSON is well formed but a member is missing, unknown or has a value that it cannot have;
    ``errors`` names each one."""

    status, code, title = 422, "validation_failed", "Validation failed"


class NoFix(HarborError):
    """Latitude 91 or longitude 181: AIS for "position not available". There is nothing to store."""

    status, code, title = 422, "no_fix", "No fix"


class IdempotencyKeyReused(HarborError):
    """This key has sent another request with the same ``Idempotency-Key`` within a day."""

    status, code, title = 422, "idempotency_key_reused", "Idempotency key reused"


class PreconditionRequired(HarborError):
    """A change needs ``If-Match`` with the ``ETag`` that was read, so that no other change is lost."""

    status, code, title = 428, "precondition_required", "Precondition required"


class HeadersTooLarge(HarborError):
    """There are more than 100 header fields, or one is longer than 8,190 bytes."""

    status, code, title = 431, "headers_too_large", "Header fields too large"


class RateLimited(HarborError):
    """The key or tracker has used up its requests, or too many authentications have failed from this
    address; ``Retry-After`` says when the next request is free."""

    status, code, title = 429, "rate_limited", "Too many requests"


class InternalError(HarborError):
    """The service failed. Nothing is known to be stored; quote ``request_id`` to the operator."""

    status, code, title = 500, "internal_error", "Internal error"


class Unavailable(HarborError):
    """The database does not answer or the service is overloaded. Take nothing for stored, and try again
    after ``Retry-After`` seconds: sending a fix twice is safe."""

    status, code, title = 503, "unavailable", "Service unavailable"

    def __init__(self, detail: str | None = None, *, retry_after: int = 2, cause: str | None = None) -> None:
        """``cause`` is what operators are told at the command line and in the log, and no caller is."""
        super().__init__(detail, headers={"Retry-After": str(retry_after)})
        self.cause = cause


class MigrationsPending(Unavailable):
    """The database is reachable, but its schema is not the one that this release needs."""

    status, code, title = 503, "migrations_pending", "Migrations pending"


class WrongMasterKey(Unavailable):
    """The service was started with another master key than the one that the trackers' secrets come from."""

    def __init__(self) -> None:
        super().__init__(
            "The master key is not the one of this database",
            cause="HARBOR_TRACKER_MASTER_KEY is not the key that the trackers of this database have their "
            "secrets from: set that one, or change keys on purpose with harbor-api master-key change",
        )
