"""Who changed what."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from flask.views import MethodView

from harbor_api.domain.entities import AuditEntry
from harbor_api.schemas.audit import AuditPageSchema, AuditQuerySchema
from harbor_api.web import auth, paging, rate_limits
from harbor_api.web.blueprint import Blueprint, database

blueprint = Blueprint("audit", __name__, description="Who changed what.", url_prefix="/api/v1/audit")


@blueprint.route("")
class Audit(MethodView):
    @auth.requires_key("audit:read")
    @rate_limits.by_key
    @blueprint.arguments(AuditQuerySchema, location="query")
    @blueprint.response(200, AuditPageSchema, headers=("Link",), description="A page of the trail.")
    @blueprint.doc(operationId="listAudit")
    def get(self, query: Mapping[str, Any]) -> tuple[dict[str, Any], int, Mapping[str, str]]:
        """Read the audit trail.

        Every administrative change, over HTTP or at the command line, written in the transaction of the
        change itself. Nothing secret is in it.
        """
        page = paging.read(query)
        with database().statement() as unit_of_work:
            found = unit_of_work.audit.search(
                after=page.after,
                limit=page.to_read,
                newest_first=query["order"] == "newest_first",
                subject=query.get("subject"),
            )
        return page.answer("audit", found, [_members(each) for each in found], lambda each: each.id)


def _members(entry: AuditEntry) -> dict[str, Any]:
    members = asdict(entry)
    actor = members.pop("actor")
    return {**members, **actor, "actor": actor["name"]}
