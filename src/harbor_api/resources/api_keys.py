"""API keys, as operators issue them."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from flask.views import MethodView

from harbor_api.database import UnitOfWork
from harbor_api.domain import errors
from harbor_api.domain.api_keys import ApiKey, KeyTerms, entropy_for, generate, shown
from harbor_api.domain.changes import Edit
from harbor_api.schemas.api_keys import (
    ROTATED,
    KeyPageSchema,
    KeySchema,
    KeySecretSchema,
    KeyTermsSchema,
    KeyTermsUpdateSchema,
    MeSchema,
    RotatedKeySchema,
)
from harbor_api.schemas.paging import PageQuery, PageQuerySchema
from harbor_api.schemas.trackers import Rotation, RotationSchema
from harbor_api.services import api_keys
from harbor_api.services.api_keys import Grantor
from harbor_api.web import auth, idempotency, paging, preconditions, rate_limits
from harbor_api.web.blueprint import Answer, Blueprint
from harbor_api.web.idempotency import Rendered
from harbor_api.web.runtime import actor, caller, current, versions

blueprint = Blueprint(
    "api-keys",
    __name__,
    description="Who may do what: keys, their scopes, grants and limits.",
    url_prefix="/api/v1",
)
_KEY_ID = {"in": "path", "name": "key_id", "description": "The key's `id`."}


@blueprint.route("/api-keys")
class ApiKeys(MethodView):
    @auth.requires_key("keys:read")
    @preconditions.revalidated
    @blueprint.arguments(PageQuerySchema, location="query")
    @blueprint.response(200, KeyPageSchema, headers=("ETag", "Link"), description="A page of keys.")
    @blueprint.doc(operationId="listApiKeys")
    def get(self, query: PageQuery) -> Answer:
        """List the API keys.

        In the order in which they were issued, revoked ones included, without their secrets.
        """
        with current().database.autocommit() as unit_of_work:
            found = unit_of_work.api_keys.search(after=query.after or 0, limit=query.to_read)
        return paging.answer(query, "api_keys", found, show=_members, number=lambda each: each.id)

    @auth.requires_key("keys:write")
    @idempotency.done_once
    @blueprint.arguments(KeyTermsSchema)
    @blueprint.response(201, KeySecretSchema, headers=("ETag", "Location"), description="Issued.")
    @blueprint.raises(errors.Conflict, errors.ExceedsKey)
    @blueprint.doc(operationId="createApiKey")
    def post(self, terms: KeyTerms) -> Rendered:
        """Issue an API key.

        The answer tells its secret, which nobody can read again. A key gives no more than it has itself:
        scopes, vessels, delay, precision, limit (each key has its own) and end. What it issues ends with it,
        unless it is `independent`. One that sees some vessels only, or sees them late or coarsely, only
        reads.
        """

        def issue(unit_of_work: UnitOfWork, nonce: bytes) -> Answer:
            key, _ = api_keys.issue(
                unit_of_work, terms, actor=actor(), grantor=_grantor(), entropy=_entropy(nonce)
            )
            return _shown(key)

        return idempotency.do_once(issue, KeySchema, below="/api/v1/api-keys", tell=_secret)


@blueprint.route("/api-keys/<identifier:key_id>", parameters=[_KEY_ID])
class ApiKeyById(MethodView):
    @auth.requires_key("keys:read")
    @preconditions.revalidated
    @blueprint.response(200, KeySchema, headers=("ETag",), description="The key.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="getApiKey")
    def get(self, key_id: int) -> Answer:
        """Get one API key.

        Without its secret.
        """
        with current().database.autocommit() as unit_of_work:
            return _shown(unit_of_work.api_keys.get(key_id))

    @auth.requires_key("keys:write", told="keys:read")
    @preconditions.demands_version
    @preconditions.tagged
    @blueprint.arguments(KeyTermsUpdateSchema)
    @blueprint.response(200, KeySchema, headers=("ETag",), description="Changed.")
    @blueprint.raises(errors.NotFound, errors.Conflict, errors.ExceedsKey)
    @blueprint.doc(operationId="updateApiKey")
    def patch(self, edit: Edit[KeyTerms], key_id: int) -> Answer:
        """Change the terms of an API key.

        In force with the key's next request. Members that are left out stay as they are. No key gives more
        than it has, or changes one that has more than itself or that it comes from. What is taken from a key
        is taken from those that it has issued, too. 409 where it would have more than the one that issued
        it.
        """
        with current().database.unit_of_work() as unit_of_work:
            key = api_keys.change(
                unit_of_work,
                key_id,
                edit,
                versions=versions(),
                actor=actor(),
                grantor=_grantor(),
            )
        return _shown(key)


@blueprint.route("/api-keys/<identifier:key_id>/rotate", parameters=[_KEY_ID])
class ApiKeyRotation(MethodView):
    @auth.requires_key("keys:write")
    @idempotency.done_once
    @blueprint.arguments(RotationSchema)
    @blueprint.response(200, RotatedKeySchema, headers=("ETag",), description="Rotated.")
    @blueprint.raises(errors.NotFound, errors.Conflict, errors.ExceedsKey)
    @blueprint.doc(operationId="rotateApiKey")
    def post(self, rotation: Rotation, key_id: int) -> Rendered:
        """Give an API key a new secret.

        The old one holds for the grace time, so that its user can change over without an interruption.
        409 while an earlier rotation is under way, and for a key that is revoked. Who rotates a key learns
        its secret: none rotates one that has more than itself, or that it comes from.

        A key without `keys:read` is told the secret and what belongs to it, and nothing else.
        """

        def rotate(unit_of_work: UnitOfWork, nonce: bytes) -> Answer:
            key, _ = api_keys.rotate(
                unit_of_work,
                key_id,
                grace=rotation.grace,
                now=datetime.now(UTC),
                actor=actor(),
                grantor=_grantor(),
                entropy=_entropy(nonce),
            )
            members, status, headers = _shown(key)
            if "keys:read" not in caller().scopes:
                members = {name: members[name] for name in ROTATED}
            return members, status, headers

        return idempotency.do_once(rotate, RotatedKeySchema, tell=_secret)


@blueprint.route("/api-keys/<identifier:key_id>/revoke", parameters=[_KEY_ID])
class ApiKeyRevocation(MethodView):
    @auth.requires_key("keys:write", told="keys:read")
    @preconditions.tagged
    @blueprint.response(200, KeySchema, headers=("ETag",), description="Revoked.")
    @blueprint.raises(errors.NotFound, errors.ExceedsKey)
    @blueprint.doc(operationId="revokeApiKey")
    def post(self, key_id: int) -> Answer:
        """Revoke an API key.

        With all its secrets, for good: its next request is refused, on every worker. So are those of all
        keys that it has issued and that are not independent. None revokes a key that has more than itself.
        """
        with current().database.unit_of_work() as unit_of_work:
            return _shown(api_keys.revoke(unit_of_work, key_id, actor=actor(), grantor=_grantor()))


@blueprint.route("/me", tags=["api-keys", "me"])
class Me(MethodView):
    @auth.requires_key()
    @blueprint.response(200, MeSchema, description="The key.")
    @blueprint.doc(operationId="getMe")
    def get(self) -> dict[str, Any]:
        """Tell about the key that asks.

        What it is, what it may do and see, and what it has left.
        """
        with current().database.autocommit() as unit_of_work:
            key = unit_of_work.api_keys.get(caller().id)
        return {**_members(key), "rate_limit": rate_limits.left()}


def _grantor() -> Grantor:
    return Grantor(caller().id, current().settings.key_requests_per_minute)


def _members(key: ApiKey) -> dict[str, Any]:
    members = asdict(key)
    terms = members.pop("terms")
    terms["scopes"] = sorted(terms["scopes"])
    if terms["vessel_ids"] is not None:
        terms["vessel_ids"] = sorted(terms["vessel_ids"])
    return {**members, **terms}


def _shown(key: ApiKey) -> Answer:
    return _members(key), 200, preconditions.edit_of(key.id, key.version)


def _secret(unit_of_work: UnitOfWork, told: dict[str, Any], nonce: bytes) -> str:
    """Return the secret that was told with a key; Conflict where it is not the one that it has now."""
    key, secret = unit_of_work.api_keys.get(told["id"]), generate(_entropy(nonce))
    if key.prefix != shown(secret) or key.revoked_at is not None:
        raise errors.Conflict("The key has been rotated or revoked since; its secret is not told again")
    return secret


def _entropy(nonce: bytes) -> bytes:
    return entropy_for(current().settings.require_master_key(), nonce)
