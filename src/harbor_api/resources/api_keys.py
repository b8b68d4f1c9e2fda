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
    KeyPageSchema,
    KeySchema,
    KeySecretSchema,
    KeyTermsSchema,
    KeyTermsUpdateSchema,
    MeSchema,
)
from harbor_api.schemas.paging import PageQuery, PageQuerySchema
from harbor_api.schemas.trackers import Rotation, RotationSchema
from harbor_api.services import api_keys
from harbor_api.web import auth, idempotency, paging, preconditions, rate_limits
from harbor_api.web.blueprint import Answer, Blueprint
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
    @blueprint.arguments(PageQuerySchema, location="query")
    @blueprint.response(200, KeyPageSchema, headers=("Link",), description="A page of keys.")
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
    @blueprint.raises(errors.Conflict)
    @blueprint.doc(operationId="createApiKey")
    def post(self, terms: KeyTerms) -> Answer:
        """Issue an API key.

        The answer tells its secret, which nobody can read again. A key gives only scopes that it has
        itself, and one that sees some vessels only, or sees them late or coarsely, only reads.
        """

        def issue(unit_of_work: UnitOfWork, nonce: bytes) -> int:
            key, _ = api_keys.issue(
                unit_of_work, terms, actor=actor(), grantor=caller(), entropy=_entropy(nonce)
            )
            return key.id

        body, _, headers = idempotency.do_once(issue, _with_secret)
        return body, 201, {**headers, "Location": f"/api/v1/api-keys/{body['id']}"}


@blueprint.route("/api-keys/<identifier:key_id>", parameters=[_KEY_ID])
class ApiKeyById(MethodView):
    @auth.requires_key("keys:read")
    @blueprint.response(200, KeySchema, headers=("ETag",), description="The key.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="getApiKey")
    def get(self, key_id: int) -> Answer:
        """Get one API key.

        Without its secret.
        """
        with current().database.autocommit() as unit_of_work:
            return _shown(unit_of_work.api_keys.get(key_id))

    @auth.requires_key("keys:write")
    @preconditions.demands_version
    @blueprint.arguments(KeyTermsUpdateSchema)
    @blueprint.response(200, KeySchema, headers=("ETag",), description="Changed.")
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="updateApiKey")
    def patch(self, edit: Edit[KeyTerms], key_id: int) -> Answer:
        """Change the terms of an API key.

        In force with the key's next request. Members that are left out stay as they are.
        """
        with current().database.unit_of_work() as unit_of_work:
            key = api_keys.change(
                unit_of_work,
                key_id,
                edit,
                versions=versions(),
                actor=actor(),
                grantor=caller(),
            )
        return _shown(key)


@blueprint.route("/api-keys/<identifier:key_id>/rotate", parameters=[_KEY_ID])
class ApiKeyRotation(MethodView):
    @auth.requires_key("keys:write")
    @idempotency.done_once
    @blueprint.arguments(RotationSchema)
    @blueprint.response(200, KeySecretSchema, headers=("ETag",), description="Rotated.")
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="rotateApiKey")
    def post(self, rotation: Rotation, key_id: int) -> Answer:
        """Give an API key a new secret.

        The old one holds for the grace time, so that its user can change over without an interruption.
        409 while an earlier rotation is under way, and for a key that is revoked.
        """

        def rotate(unit_of_work: UnitOfWork, nonce: bytes) -> int:
            api_keys.rotate(
                unit_of_work,
                key_id,
                grace=rotation.grace,
                now=datetime.now(UTC),
                actor=actor(),
                grantor=caller(),
                entropy=_entropy(nonce),
            )
            return key_id

        return idempotency.do_once(rotate, _with_secret)


@blueprint.route("/api-keys/<identifier:key_id>/revoke", parameters=[_KEY_ID])
class ApiKeyRevocation(MethodView):
    @auth.requires_key("keys:write")
    @blueprint.response(200, KeySchema, headers=("ETag",), description="Revoked.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="revokeApiKey")
    def post(self, key_id: int) -> Answer:
        """Revoke an API key.

        With all its secrets, for good: its next request is refused, on every worker.
        """
        with current().database.unit_of_work() as unit_of_work:
            return _shown(api_keys.revoke(unit_of_work, key_id, actor=actor(), grantor=caller()))


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


def _members(key: ApiKey) -> dict[str, Any]:
    members = asdict(key)
    terms = members.pop("terms")
    terms["scopes"] = sorted(terms["scopes"])
    if terms["vessel_ids"] is not None:
        terms["vessel_ids"] = sorted(terms["vessel_ids"])
    return {**members, **terms}


def _shown(key: ApiKey) -> Answer:
    return _members(key), 200, {"ETag": preconditions.etag(key.version)}


def _with_secret(unit_of_work: UnitOfWork, key_id: int, nonce: bytes) -> Answer:
    key, secret = unit_of_work.api_keys.get(key_id), generate(_entropy(nonce))
    if key.prefix != shown(secret):
        raise errors.Conflict("The key has been rotated again since")
    body, status, headers = _shown(key)
    return {**body, "secret": secret}, status, headers


def _entropy(nonce: bytes) -> bytes:
    return entropy_for(current().settings.require_master_key(), nonce)
