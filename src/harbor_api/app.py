"""The application: everything is wired here, nothing is decided here."""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from harbor_api import __version__
from harbor_api.database import Database
from harbor_api.domain import cursors, feed_cursors, tags
from harbor_api.ingest.intake import Intake
from harbor_api.live.fleet import LiveFleet
from harbor_api.live.hub import Hub
from harbor_api.pages import docs, guides, home, live_map, security_txt
from harbor_api.resources import (
    api_keys,
    audit,
    consumers,
    feed,
    health,
    history,
    keeping,
    positions,
    quarantine,
    summaries,
    trackers,
    tracks,
    vessels,
)
from harbor_api.settings import Settings, SettingsError
from harbor_api.telemetry import error_reports, traces
from harbor_api.web import (
    cors,
    hardening,
    openapi,
    rate_limits,
    request_log,
    request_metrics,
    request_traces,
    runtime,
)
from harbor_api.web.application import Application
from harbor_api.web.known_keys import KnownKeys
from harbor_api.web.rate_counters import RateCounters
from harbor_api.web.runtime import Runtime

_LARGEST_BODY = 64 * 1024
# In the order in which the document shows them: administration last.
_RESOURCES = (
    vessels,
    keeping,
    history,
    tracks,
    summaries,
    consumers,
    feed,
    positions,
    health,
    trackers,
    quarantine,
    api_keys,
    audit,
)
_PAGES = (home, docs, guides, live_map, security_txt)


def create_app(settings: Settings) -> Flask:
    """Return the WSGI application.

    SettingsError where the tracker master key or the database's address is not set: whoever starts
    the service decides whether that is the embedded one.
    """
    master_key = settings.require_master_key()
    if settings.database_url is None:
        raise SettingsError("HARBOR_DATABASE_URL must be set")
    app = Application(__name__, static_folder=None)
    app.config.update(
        API_TITLE="Harbor API",
        API_VERSION=__version__,
        OPENAPI_VERSION="3.1.0",
        MAX_CONTENT_LENGTH=_LARGEST_BODY,
    )
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]  # as Flask documents it
    request_log.install(app)
    if settings.sentry_dsn is not None:
        error_reports.start(settings.sentry_dsn, version=__version__)
    if settings.traces_url is not None:
        traces.start(settings.traces_url, percent=settings.traces_percent, version=__version__)
        request_traces.install(app)
    request_metrics.install(app)
    cors.install(app, frozenset(settings.cors_origins))
    hardening.install(app)
    rate_limits.install(app)
    document = openapi.register(
        app,
        (each.blueprint for each in _RESOURCES),
        contact=settings.support_contact,
        terms=settings.terms_of_service,
    )
    for page in _PAGES:
        app.register_blueprint(page.blueprint)
    cursor_key = cursors.cursor_key(master_key)
    database = Database(
        settings.database_url,
        pool_size=settings.database_pool,
        timeout_ms=settings.database_timeout_ms,
        is_pooled=settings.is_pooled,
        direct_url=settings.database_direct_url,
        replica_url=settings.database_replica_url,
    )
    item_key = feed_cursors.item_key(cursor_key)
    fleet, known_keys = LiveFleet(database, settings), KnownKeys(database, settings)
    runtime.install(
        app,
        Runtime(
            settings=settings,
            tag_key=tags.tag_key(master_key),
            cursor_key=cursor_key,
            item_key=item_key,
            database=database,
            intake=Intake(database, settings),
            fleet=fleet,
            hub=Hub(
                database,
                fleet,
                settings,
                cursor_key=cursor_key,
                item_key=item_key,
                recognise=known_keys.recognise,
            ),
            counters=RateCounters(settings.redis_url),
            document=document,
            known_keys=known_keys,
        ),
    )
    return app
