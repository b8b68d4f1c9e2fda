"""Who changed what."""

from dataclasses import asdict
from typing import Any

from flask.views import MethodView

from harbor_api.domain.audit import AuditEntry
from harbor_api.schemas.audit import AuditPageSchema, AuditQuery, AuditQuerySchema
from harbor_api.web import auth, paging, preconditions
from harbor_api.web.blueprint import Answer, Blueprint
from harbor_api.web.runtime import current

blueprint = Blueprint("audit", __name__, description="Who changed what.", url_prefix="/api/v1/audit")


@blueprint.route("")
class Audit(MethodView):
    @auth.requires_key("audit:read")
    @preconditions.revalidated
    @blueprint.arguments(AuditQuerySchema, location="query")
    @blueprint.response(200, AuditPageSchema, headers=("ETag", "Link"), description="A page of the trail.")
    @blueprint.doc(operationId="listAudit")
    def get(self, query: AuditQuery) -> Answer:
        """Read the audit trail.

        Every administrative change, over HTTP or at the command line, written in the transaction of the
        change itself. Nothing secret is in it.
        """
        with current().database.autocommit() as unit_of_work:
            found = unit_of_work.audit.search(
                after=query.after,
                limit=query.to_read,
                newest_first=query.order == "newest_first",
                subject=query.subject,
            )
        return paging.answer(query, "audit", found, show=_members, number=lambda each: each.id)


def _members(entry: AuditEntry) -> dict[str, Any]:
    members = asdict(entry)
    actor = members.pop("actor")
    return {**members, **actor, "actor": actor["name"]}
