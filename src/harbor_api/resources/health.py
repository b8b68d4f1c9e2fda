"""What load balancers and operators ask."""

from flask.views import MethodView

from harbor_api import __version__
from harbor_api.domain import errors
from harbor_api.schemas.health import HEALTH_MEDIA_TYPE, HealthSchema, ReadinessSchema, ServiceHealthSchema
from harbor_api.web import auth, readiness
from harbor_api.web.blueprint import Answer, Blueprint
from harbor_api.web.runtime import current

blueprint = Blueprint("health", __name__, description="Whether the service is well.", url_prefix="/health")
_RETRY = {"Retry-After": "2"}
_WELL = {"status": "ok", "version": __version__}


@blueprint.route("")
class Health(MethodView):
    @auth.public
    @blueprint.response(200, ServiceHealthSchema, description="The service and its database answer.")
    @blueprint.raises(errors.Unavailable, errors.MigrationsPending)
    @blueprint.doc(operationId="getHealth")
    def get(self) -> dict[str, str]:
        """Check the service and its database.

        Asks PostgreSQL, and answers 503 where it does not answer, its tables are missing or older than this
        release, or its trackers have their secrets from another master key. Without Redis the service goes
        on, and each worker counts limits for itself: `status` is `degraded` then, as it is where a newer
        release has migrated the database already.
        """
        is_newer = current().demand_ready()
        counters = current().counters
        shared = counters.are_shared()
        return {
            **_WELL,
            "status": "degraded" if counters.is_degraded or is_newer else "ok",
            "limits": "shared" if shared else "per_process",
            "schema": "newer" if is_newer else "current",
        }


@blueprint.route("/live")
class Live(MethodView):
    @auth.probe
    @blueprint.response(200, HealthSchema, description="The process answers.")
    @blueprint.doc(operationId="getLiveness")
    def get(self) -> dict[str, str]:
        """Check the process.

        Touches nothing else: a process that answers this need not be restarted.
        """
        return _WELL


@blueprint.route("/ready")
class Ready(MethodView):
    @auth.probe
    @blueprint.response(
        200, ReadinessSchema, content_type=HEALTH_MEDIA_TYPE, description="Send requests here."
    )
    @blueprint.alt_response(
        503, schema=ReadinessSchema, content_type=HEALTH_MEDIA_TYPE, description="Send no requests here."
    )
    @blueprint.doc(operationId="getReadiness")
    def get(self) -> Answer:
        """Check readiness.

        Says of each part how it is. The status is `fail`, and the answer's 503, where PostgreSQL does not
        answer, its tables are missing or older than this release, or its trackers have their secrets from
        another master key; `output` says to operators what to do. It is `warn` without Redis, and once a
        newer release has migrated the database: this one stays ready until it is replaced.
        """
        found = readiness.look(current())
        return (found, 503, _RETRY) if found["status"] == "fail" else (found, 200, {})
