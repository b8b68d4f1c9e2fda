"""The application: everything is wired here, nothing is decided here."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import orjson
from flask import Flask
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

from harbor_api import __version__
from harbor_api.database import Database
from harbor_api.domain.entities import Delivery, Receipt, Tracker
from harbor_api.domain.judgement import Thresholds
from harbor_api.ingest import settling
from harbor_api.ingest.grouping import Grouping, Job, Result
from harbor_api.ingest.known_trackers import KnownTrackers
from harbor_api.pages import docs
from harbor_api.resources import api_keys, audit, health, positions, quarantine, security, trackers, vessels
from harbor_api.settings import Settings, SettingsError
from harbor_api.telemetry import logs
from harbor_api.web import auth, blueprint, problems, rate_limits

_LARGEST_BODY = 64 * 1024
# The order's lock is held for as long as a group is written: longer groups would make others wait.
_MOST_IN_GROUP = 250
_ABOUT = """Where a fleet's vessels are and were.

**Trackers** post signed fixes to `POST /api/v1/positions`. **Partners** read the fleet as GeoJSON from
`GET /api/v1/vessels` with an API key: press *Authorize*, paste the key, and try it here.

Every error is `application/problem+json` (RFC 9457) with a stable `code`, and every answer carries
`X-Request-Id`.
"""


class _Application(Flask):
    """Flask without its question, asked of each hook and view of each request, whether it is a coroutine."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


def create_app(settings: Settings) -> Flask:
    """Return the WSGI application.

    SettingsError where the tracker master key or the database's address is not set: whoever starts
    the service decides whether that is the embedded one.
    """
    settings.require_master_key()
    if settings.database_url is None:
        raise SettingsError("HARBOR_DATABASE_URL must be set")
    app = _Application(__name__, static_folder=None)
    app.config.update(
        API_TITLE="Harbor API",
        API_VERSION=__version__,
        OPENAPI_VERSION="3.1.0",
        MAX_CONTENT_LENGTH=_LARGEST_BODY,
    )
    app.url_map.strict_slashes = False
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]  # as Flask documents it
    app.extensions["harbor_settings"] = settings
    app.extensions["harbor_database"] = Database(
        settings.database_url,
        pool_size=settings.database_pool,
        timeout_ms=settings.database_timeout_ms,
    )
    app.extensions["harbor_thresholds"] = Thresholds(
        future_tolerance=timedelta(seconds=settings.future_tolerance_s),
        retention=timedelta(days=settings.oldest_fix_days) if settings.oldest_fix_days else None,
        max_speed_kn=settings.max_speed_kn,
        noise_m=settings.noise_m,
    )
    app.extensions["harbor_ingest"] = _ingest(app)
    app.extensions["harbor_trackers"] = KnownTrackers(_tracker_look_up(app).do)
    if settings.cors_origins:
        CORS(app, origins=list(settings.cors_origins), expose_headers=[*blueprint.HEADERS])
    logs.install(app)
    security.install(app)
    blueprint.install(app)
    rate_limits.install(app, settings)
    app.extensions["harbor_openapi"] = orjson.dumps(_document(app), option=orjson.OPT_INDENT_2)
    app.register_blueprint(docs.blueprint)
    app.register_blueprint(security.blueprint)
    return app


def _ingest(app: Flask) -> Grouping[Delivery, Receipt]:
    """Return what stores the fixes of all requests of this process, group by group."""
    database: Database = app.extensions["harbor_database"]
    thresholds: Thresholds = app.extensions["harbor_thresholds"]

    def settle(deliveries: Sequence[Delivery]) -> list[Receipt]:
        return database.transact(
            lambda unit_of_work: settling.settle(unit_of_work, deliveries, thresholds=thresholds)
        )

    return _grouped(settle, app.extensions["harbor_settings"])


def _tracker_look_up(app: Flask) -> Grouping[int, Tracker | None]:
    """Return what finds the trackers of all requests of this process, group by group."""
    database: Database = app.extensions["harbor_database"]

    def find(numbers: Sequence[int]) -> list[Tracker | None]:
        with database.statement() as unit_of_work:
            found = unit_of_work.trackers.find_all(numbers)
        return [found.get(number) for number in numbers]

    return _grouped(find, app.extensions["harbor_settings"])


def _grouped(work: Callable[[Sequence[Job]], Sequence[Result]], settings: Settings) -> Grouping[Job, Result]:
    """Return what does work for all requests of this process, within the operator's bounds."""
    return Grouping(
        work,
        most_in_group=_MOST_IN_GROUP,
        most_waiting=settings.most_waiting,
        patience_s=3 * settings.database_timeout_ms / 1000,
    )


def _about() -> dict[str, Any]:
    return {
        "info": {
            "description": f"{_ABOUT}\n{problems.table()}",
            "contact": {"name": "The operator of this service"},
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # Relative: the document is right wherever the service is reached.
        "servers": [{"url": "/", "description": "This service"}],
    }


def _document(app: Flask) -> dict[str, Any]:
    """Register the resources and return the OpenAPI document that describes them."""
    described = blueprint.Api(app, spec_kwargs=_about())
    described.register_converter(blueprint.IdentifierConverter, blueprint.identifier_schema)
    for name, scheme in auth.SECURITY_SCHEMES.items():
        described.spec.components.security_scheme(name, scheme)
    for resource in (positions, vessels, trackers, quarantine, api_keys, audit, health):
        described.register_blueprint(resource.blueprint)
    document: dict[str, Any] = described.spec.to_dict()
    return document
