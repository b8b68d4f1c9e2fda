"""Where trackers post their fixes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from flask import g
from flask.views import MethodView

from harbor_api import auth, limits
from harbor_api.api import Blueprint, database, settings
from harbor_api.entities import Fix
from harbor_api.schemas.positions import FixSchema, ForecastSchema, VerdictSchema
from harbor_api.services import positions

blueprint = Blueprint("positions", __name__, description="Signed fixes from trackers.", url_prefix="/api/v1")
_STATUS = {"stored": 201, "duplicate": 200, "quarantined": 202}


@blueprint.route("/positions")
class Positions(MethodView):
    @auth.requires_signature()
    @limits.by_tracker
    @blueprint.arguments(FixSchema)
    @blueprint.response(201, VerdictSchema, description="Stored: the fix is durable.")
    @blueprint.alt_response(
        200, schema=VerdictSchema, description="A duplicate: it was stored before.", success=True
    )
    @blueprint.alt_response(
        202, schema=VerdictSchema, description="Held in quarantine for the operator.", success=True
    )
    @blueprint.doc(operationId="postPosition")
    def post(self, fix: Fix) -> tuple[object, int]:
        """Post a signed fix.

        Send one fix and learn what became of it. Any 2xx answer means that the fix is durable in
        PostgreSQL and may be erased; 422 means that it never will be accepted. On 429, 5xx or no
        answer at all, keep it and send it again later, newly signed: a fix that is sent twice is
        stored once.
        """
        with database().statement() as unit_of_work:
            verdict = positions.accept(
                unit_of_work,
                g.tracker,
                fix,
                now=datetime.now(UTC),
                future_tolerance=timedelta(seconds=settings().future_tolerance_s),
            )
        return replace(verdict, secret_ends_at=g.secret_ends_at), _STATUS[verdict.verdict]


@blueprint.route("/positions/check")
class PositionCheck(MethodView):
    @auth.requires_signature(explain=True)
    @limits.by_tracker
    @blueprint.arguments(FixSchema)
    @blueprint.response(200, ForecastSchema, description="What would become of the fix.")
    @blueprint.doc(operationId="checkPosition")
    def post(self, fix: Fix) -> object:
        """Check a signed fix without storing it.

        Takes what `POST /api/v1/positions` takes, signed the same way, answers the same errors and
        stores nothing: for the workbench. For a tracker that the operator has marked as one under test,
        a `signature_invalid` carries `expected`: the bytes that the signature had to cover, and what
        went wrong where it is a usual mistake.
        """
        with database().statement() as unit_of_work:
            return positions.foresee(
                unit_of_work,
                g.tracker,
                fix,
                now=datetime.now(UTC),
                future_tolerance=timedelta(seconds=settings().future_tolerance_s),
            )
