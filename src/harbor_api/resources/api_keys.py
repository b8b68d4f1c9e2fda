"""API keys, as operators issue them."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import g
from flask.views import MethodView

from harbor_api.domain import errors
from harbor_api.domain.entities import ApiKey, KeyTerms
from harbor_api.schemas.api_keys import (
    KeyPageSchema,
    KeySchema,
    KeySecretSchema,
    KeyTermsSchema,
    KeyTermsUpdateSchema,
    MeSchema,
)
from harbor_api.schemas.paging import PageQuerySchema
from harbor_api.schemas.trackers import RotationSchema
from harbor_api.services import api_keys, idempotency
from harbor_api.services.idempotency import Claim
from harbor_api.web import auth, paging, preconditions, rate_limits
from harbor_api.web.blueprint import Blueprint, actor, database, settings

blueprint = Blueprint(
    "api-keys",
    __name__,
    description="Who may do what: keys, their scopes, grants and limits.",
    url_prefix="/api/v1",
)
_KEY_ID = {"in": "path", "name": "key_id", "description": "The key's `id`.", "example": 1}
Answer = tuple[dict[str, Any], int, Mapping[str, str]]


@blueprint.route("/api-keys")
class ApiKeys(MethodView):
    @auth.requires_key("keys:read")
    @rate_limits.by_key
    @blueprint.arguments(PageQuerySchema, location="query")
    @blueprint.response(200, KeyPageSchema, headers=("Link",), description="A page of keys.")
    @blueprint.doc(operationId="listApiKeys")
    def get(self, query: Mapping[str, Any]) -> Answer:
        """List the API keys.

        In the order in which they were issued, revoked ones included, without their secrets.
        """
        page = paging.read(query)
        with database().statement() as unit_of_work:
            found = unit_of_work.api_keys.search(after=page.after or 0, limit=page.to_read)
        return page.answer("api_keys", found, [_members(each) for each in found], lambda each: each.id)

    @auth.requires_key("keys:write")
    @rate_limits.by_key
    @preconditions.done_once
    @blueprint.arguments(KeyTermsSchema)
    @blueprint.response(201, KeySecretSchema, headers=("ETag", "Location"), description="Issued.")
    @blueprint.raises(errors.Conflict)
    @blueprint.doc(operationId="createApiKey")
    def post(self, members: Mapping[str, Any]) -> Answer:
        """Issue an API key.

        The answer tells its secret, which nobody can read again. A key gives only scopes that it has
        itself, and one that sees some vessels only, or sees them late or coarsely, only reads.
        """
        with database().unit_of_work() as unit_of_work:
            claim = idempotency.claim(unit_of_work, g.once)
            entropy = _entropy(claim)
            if claim.subject_id is None:
                key, secret = api_keys.issue(
                    unit_of_work, _terms(members), actor=actor(), grantor=g.api_key, entropy=entropy
                )
                claim.done(key.id)
            else:
                key, secret = unit_of_work.api_keys.get(claim.subject_id), api_keys.generate(entropy)
        body, _, headers = _shown(key)
        return {**body, "secret": secret}, 201, {**headers, "Location": f"/api/v1/api-keys/{key.id}"}


@blueprint.route("/api-keys/<identifier:key_id>", parameters=[_KEY_ID])
class ApiKeyById(MethodView):
    @auth.requires_key("keys:read")
    @rate_limits.by_key
    @blueprint.response(200, KeySchema, headers=("ETag",), description="The key.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="getApiKey")
    def get(self, key_id: int) -> Answer:
        """Get one API key.

        Without its secret.
        """
        with database().statement() as unit_of_work:
            return _shown(unit_of_work.api_keys.get(key_id))

    @auth.requires_key("keys:write")
    @rate_limits.by_key
    @preconditions.demands_version
    @blueprint.arguments(KeyTermsUpdateSchema)
    @blueprint.response(200, KeySchema, headers=("ETag",), description="Changed.")
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="updateApiKey")
    def patch(self, members: Mapping[str, Any], key_id: int) -> Answer:
        """Change the terms of an API key.

        In force with the key's next request. Members that are left out stay as they are.
        """
        with database().unit_of_work() as unit_of_work:
            key = api_keys.change(
                unit_of_work,
                key_id,
                _sets(members),
                versions=g.versions,
                actor=actor(),
                grantor=g.api_key,
            )
        return _shown(key)


@blueprint.route("/api-keys/<identifier:key_id>/rotate", parameters=[_KEY_ID])
class ApiKeyRotation(MethodView):
    @auth.requires_key("keys:write")
    @rate_limits.by_key
    @preconditions.done_once
    @blueprint.arguments(RotationSchema)
    @blueprint.response(200, KeySecretSchema, headers=("ETag",), description="Rotated.")
    @blueprint.raises(errors.NotFound, errors.Conflict)
    @blueprint.doc(operationId="rotateApiKey")
    def post(self, members: Mapping[str, Any], key_id: int) -> Answer:
        """Give an API key a new secret.

        The old one holds for the grace time, so that its user can change over without an interruption.
        409 while an earlier rotation is under way, and for a key that is revoked.
        """
        with database().unit_of_work() as unit_of_work:
            claim = idempotency.claim(unit_of_work, g.once)
            entropy = _entropy(claim)
            if claim.subject_id is None:
                key, secret = api_keys.rotate(
                    unit_of_work,
                    key_id,
                    grace=timedelta(seconds=members["grace_s"]),
                    now=datetime.now(UTC),
                    actor=actor(),
                    grantor=g.api_key,
                    entropy=entropy,
                )
                claim.done(key_id)
            else:
                key, secret = unit_of_work.api_keys.get(key_id), api_keys.generate(entropy)
                if key.prefix != api_keys.shown(secret):
                    raise errors.Conflict("The key has been rotated again since")
        body, status, headers = _shown(key)
        return {**body, "secret": secret}, status, headers


@blueprint.route("/api-keys/<identifier:key_id>/revoke", parameters=[_KEY_ID])
class ApiKeyRevocation(MethodView):
    @auth.requires_key("keys:write")
    @rate_limits.by_key
    @blueprint.response(200, KeySchema, headers=("ETag",), description="Revoked.")
    @blueprint.raises(errors.NotFound)
    @blueprint.doc(operationId="revokeApiKey")
    def post(self, key_id: int) -> Answer:
        """Revoke an API key.

        With all its secrets, for good: its next request is refused, on every worker.
        """
        with database().unit_of_work() as unit_of_work:
            return _shown(api_keys.revoke(unit_of_work, key_id, actor=actor(), grantor=g.api_key))


@blueprint.route("/me")
class Me(MethodView):
    @auth.requires_key()
    @rate_limits.by_key
    @blueprint.response(200, MeSchema, description="The key.")
    @blueprint.doc(operationId="getMe")
    def get(self) -> dict[str, Any]:
        """Tell about the key that asks.

        What it is, what it may do and see, and what it has left.
        """
        with database().statement() as unit_of_work:
            key = unit_of_work.api_keys.get(g.api_key.id)
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


def _sets(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members with lists as the sets that they stand for."""
    return {name: frozenset(value) if isinstance(value, list) else value for name, value in members.items()}


def _terms(members: Mapping[str, Any]) -> KeyTerms:
    return KeyTerms(**_sets(members))


def _entropy(claim: Claim) -> bytes:
    return api_keys.entropy_for(settings().require_master_key(), claim.nonce)
