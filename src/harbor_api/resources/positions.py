"""Where trackers post their fixes."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Any, cast

from flask import Response
from flask.views import MethodView

from harbor_api.domain.errors import BodyTooLarge, MalformedJSON, NoFix, ValidationFailed
from harbor_api.domain.positions import Fix, Receipt
from harbor_api.schemas.fix_columns import load_columns
from harbor_api.schemas.positions import (
    LARGEST_BATCH,
    Batch,
    BatchSchema,
    FixSchema,
    ForecastSchema,
    ReceiptSchema,
    VerdictSchema,
    as_answered,
    as_kept,
    as_members,
    ignored,
    is_no_fix,
    load_fix,
    number_of,
    warnings_about,
)
from harbor_api.telemetry import metrics
from harbor_api.web import auth
from harbor_api.web.application import as_json
from harbor_api.web.arguments import body_faults, load
from harbor_api.web.blueprint import Blueprint
from harbor_api.web.documented import View
from harbor_api.web.problems import MOST_TOLD, told
from harbor_api.web.runtime import body, current, signer
from harbor_api.web.strict_json import Doubtful
from harbor_api.web.whole_bodies import WholeAnswer

blueprint = Blueprint("positions", __name__, description="Signed fixes from trackers.", url_prefix="/api/v1")
_STATUS = {"stored": 201, "duplicate": 200, "quarantined": 202}
_LARGEST_BATCH_BYTES = 512 * 1024
_FIX = FixSchema()


def _note_refused(view: View) -> View:
    """Note the number of a fix that is refused for good: it has arrived, and need not be sent again."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return view(*args, **kwargs)
        except (NoFix, ValidationFailed) as error:
            _count_invalid(error.code)
            number = number_of(body())
            if number is not None:
                _accept([], [number])
            raise

    return cast("View", wrapper)


@blueprint.route("/positions")
class Positions(MethodView):
    @auth.requires_signature()
    @_note_refused
    @blueprint.arguments(FixSchema, load=load_fix)
    @blueprint.response(201, VerdictSchema, description="Stored: the fix is durable.")
    @blueprint.alt_response(
        200, schema=VerdictSchema, description="A duplicate: it was stored before.", success=True
    )
    @blueprint.alt_response(
        202, schema=VerdictSchema, description="Held in quarantine for the operator.", success=True
    )
    @blueprint.doc(operationId="postPosition")
    def post(self, fix: Fix) -> Response:
        """Post a signed fix.

        Send one fix and learn what became of it. Any 2xx answer means that the fix is durable in
        PostgreSQL and may be erased; 422 means that it never will be accepted. On 429, 5xx or no
        answer at all, keep it and send it again later, newly signed: a fix that is sent twice is
        stored once. Two fixes of a tracker with one `recorded_at` are the same fix: the first one stays.
        Members that are not known are passed over, and named in the answer as `ignored`. A message with
        the same `webhook-id` and body within ten minutes gets the first answer again, and does not count
        against the limit.
        """
        sent = body()
        receipt = _accept([(fix, as_kept(sent))], [fix.number])
        [verdict] = receipt.verdicts
        members = _told(as_members(verdict), sent, MOST_TOLD)
        return _answer(members, receipt, _STATUS[verdict.verdict])


@blueprint.route("/positions/batch")
class PositionBatch(MethodView):
    @auth.requires_signature(largest_body=_LARGEST_BATCH_BYTES)
    @blueprint.arguments(BatchSchema)
    @blueprint.response(200, ReceiptSchema, description="A verdict for each fix, in order.")
    @blueprint.doc(operationId="postPositionBatch")
    def post(self, batch: Batch) -> Response:
        """Post up to 1,000 signed fixes.

        For what a tracker has stored while it was out of coverage: one signature, one transaction, and a
        verdict for each fix in the order of the batch. A bad fix is `invalid` and blocks no other. After
        a 200 all of them may be erased; after any other answer, or none, no fix has a verdict: keep them.
        A batch that cannot be taken as a whole gets 413 or 400, never 422: send it in smaller parts.
        The order of the fixes and repeats among them do not matter. Bodies may be compressed with gzip (up
        to 2,000 members) or deflate, up to 512 KiB as sent and 1 MiB decompressed; the signature covers the
        bytes as sent.
        """
        items = batch.fixes
        if len(items) > LARGEST_BATCH:
            raise BodyTooLarge(f"The batch has {len(items)} fixes, and may have {LARGEST_BATCH}")
        columns = load_columns(items)
        if columns is not None:
            receipt = current().intake.accept_columns(signer(), columns, items, now=datetime.now(UTC))
            return _answer_batch(as_answered(receipt.verdicts), receipt)
        read = _read_all(items)
        kept = [as_kept(item) if type(fix) is Fix else None for fix, item in zip(read, items, strict=True)]
        fixes = [(fix, raw) for fix, raw in zip(read, kept, strict=True) if type(fix) is Fix]
        # An invalid fix has arrived, too: it need not be sent again.
        numbers = [
            fix.number if type(fix) is Fix else number_of(item.value if type(item) is Doubtful else item)
            for fix, item in zip(read, items, strict=True)
        ]
        receipt = _accept(fixes, numbers)
        following = iter(receipt.verdicts)
        verdicts = [fix if isinstance(fix, dict) else as_members(next(following)) for fix in read]
        left = MOST_TOLD
        for verdict, item, raw in zip(verdicts, items, kept, strict=True):
            if raw is not item and raw is not None and left:
                left -= len(_told(verdict, item, left)["ignored"])
        return _answer_batch(verdicts, receipt)


@blueprint.route("/positions/check")
class PositionCheck(MethodView):
    @auth.requires_signature(explain=True)
    @blueprint.arguments(FixSchema, load=load_fix)
    @blueprint.response(200, ForecastSchema, description="What would become of the fix.")
    @blueprint.doc(operationId="checkPosition")
    def post(self, fix: Fix) -> object:
        """Check a signed fix without storing it.

        Takes what `POST /api/v1/positions` takes, signed the same way, answers the same errors and
        stores nothing: for the workbench. Its `webhook-id` begins with `check-` behind the tracker's id,
        as in `trk_0001-check-1`: such a message is taken here alone, so that nobody can have it stored.
        For a tracker that the operator has marked as one under test, a `signature_invalid` carries
        `expected`: the bytes that the signature had to cover, and what went wrong where it is a usual
        mistake.
        """
        sent = body()
        receipt = current().intake.rehearse(signer(), fix, as_kept(sent), now=datetime.now(UTC))
        members = _told(as_members(receipt.verdicts[0]), sent, MOST_TOLD)
        return members | {"warnings": warnings_about(members.get("ignored", ()))}


def _told(members: dict[str, Any], sent: dict[str, Any], most: int) -> dict[str, Any]:
    """Return what a tracker is told of a fix, with the names of the members that were passed over."""
    names = ignored(sent, most)
    if names:
        members["ignored"] = names
    return members


def _answer(members: dict[str, Any], receipt: Receipt, status: int) -> Response:
    """Return the answer with what else the tracker should know."""
    secret_ends_at = signer().secret_ends_at
    if secret_ends_at is not None:
        members["secret_ends_at"] = secret_ends_at
    if receipt.missing:
        members["missing"] = [{"first": gap.first, "last": gap.last} for gap in receipt.missing]
    return WholeAnswer(as_json(members), status, content_type="application/json")


def _answer_batch(verdicts: Sequence[Any], receipt: Receipt) -> Response:
    members: dict[str, Any] = {"verdicts": verdicts}
    beside = ignored({name: None for name in body() if name != "fixes"}, MOST_TOLD)
    return _answer(members | ({"ignored": beside} if beside else {}), receipt, 200)


def _accept(fixes: Sequence[tuple[Fix, Any]], numbers: Iterable[int | None]) -> Receipt:
    """Hand over what the tracker that has signed sends."""
    return current().intake.accept(signer(), fixes, numbers=numbers, now=datetime.now(UTC))


def _read_all(items: list[Any]) -> list[Fix | dict[str, Any]]:
    """Return the fix that each item of a batch is, or the verdict of one that is none.

    Of a batch the first MOST_TOLD faults are told: to find one takes as long as to read forty fixes.
    """
    read: list[Fix | dict[str, Any]] = []
    left = MOST_TOLD
    for place, item in enumerate(items):
        fix = load_fix(item)
        if fix is None:
            refused = _refused(item, place, left)
            _count_invalid(refused["code"])
            left -= len(refused.get("errors", ()))
            read.append(refused)
        else:
            read.append(fix)
    return read


def _count_invalid(code: str) -> None:
    metrics.FIXES.labels("invalid", code).inc()


def _refused(item: Any, place: int, most_told: int) -> dict[str, Any]:
    pointer = f"#/fixes/{place}"
    if type(item) is Doubtful:
        verdict = {"verdict": "invalid", "latest": False, "code": MalformedJSON.code}
        if most_told > 0:
            verdict["errors"] = told(body_faults(item.messages, pointer))[:most_told]
        return verdict
    code = NoFix.code if is_no_fix(item) else ValidationFailed.code
    verdict = {"verdict": "invalid", "latest": False, "code": code}
    if most_told > 0:
        try:
            load(_FIX, item, pointer=pointer)
        except NoFix:
            pass
        except ValidationFailed as error:
            verdict["errors"] = told(error.faults)[:most_told]
    return verdict
