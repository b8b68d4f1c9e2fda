"""One vector: its fields, and how it is made of a request."""

import base64
import contextlib
from typing import Any

from tests.firmware.vectors.signer import NOW, Request, whsec

FIELDS = {
    "name": "A unique name, snake_case.",
    "why": "What a signer or a verifier that fails this vector has got wrong.",
    "accept": "Whether the service takes the request as signed.",
    "code": "Only where accept is false: the `code` of the service's 401.",
    "harbor_only": "True where a plain Standard Webhooks verifier would decide otherwise.",
    "master_key": "The operator's key, hex. Here to check the derivation; no tracker ever has it.",
    "tracker_id": "Whose secret signed.",
    "generation": "The generation of that secret.",
    "secret": "whsec_ and base64 of HKDF-SHA256(ikm = master_key, "
    "salt = 'harbor/tracker-hmac/v1', info = '<tracker_id>:<generation>', 32 bytes).",
    "other_generation": "Only while keys rotate: the generation of the second signature.",
    "other_secret": "Only while keys rotate: the secret of the second signature.",
    "webhook_id": "The header, null where it is not sent.",
    "webhook_timestamp": "The header, null where it is not sent.",
    "webhook_signature": "The header, null where it is not sent.",
    "body_base64": "The body. Absent where body_repeat stands.",
    "body_text": "The body once more, where it is UTF-8.",
    "body_repeat": "The body is `text`, `times` times over.",
    "body_bytes": "The length of the body in bytes.",
    "signed_bytes": "The length of webhook_id + '.' + webhook_timestamp + '.' + body.",
    "signer_makes": "True where a right signer, given secret (and other_secret), webhook_id, "
    "webhook_timestamp and body, makes exactly webhook_signature. False where the header is wrong "
    "on purpose or holds more than a signer would send.",
    "server_time": "The service's clock in unix seconds when the request comes.",
    "server_master_key": "The service's master key, only where it is not master_key.",
    "server_generations": "The trackers that the service knows, each with its valid generations.",
}


def vector(
    name: str,
    why: str,
    request: Request,
    *,
    code: str | None = None,
    harbor_only: bool = False,
    signer_makes: bool | None = None,
    server_time: int = NOW,
    server: dict[str, list[int]] | None = None,
    server_master: bytes | None = None,
    repeat: tuple[str, int] | None = None,
    **sent: Any,
) -> dict[str, Any]:
    """Return one vector; ``sent`` replaces headers or the body by what arrives instead."""
    headers = {
        "webhook_id": sent.get("webhook_id", request.id),
        "webhook_timestamp": sent.get("webhook_timestamp", request.timestamp),
        "webhook_signature": sent.get("webhook_signature", request.header()),
    }
    body: bytes = sent.get("body", request.body)
    made: dict[str, Any] = {"name": name, "why": why, "accept": code is None}
    if code is not None:
        made["code"] = code
    if harbor_only:
        made["harbor_only"] = True
    made |= {
        "master_key": request.master.hex(),
        "tracker_id": request.tracker,
        "generation": request.generation,
        "secret": whsec(request.key()),
    }
    if request.other is not None:
        made |= {
            "other_generation": request.other,
            "other_secret": whsec(request.key(request.other)),
        }
    made |= {
        "webhook_id": headers["webhook_id"],
        "webhook_timestamp": headers["webhook_timestamp"],
    }
    if repeat is None:
        made["body_base64"] = base64.b64encode(body).decode()
        with contextlib.suppress(UnicodeDecodeError):
            made["body_text"] = body.decode()
    else:
        made["body_repeat"] = {"text": repeat[0], "times": repeat[1]}
    made["body_bytes"] = len(body)
    if None not in headers.values():
        prefix = f"{headers['webhook_id']}.{headers['webhook_timestamp']}."
        made["signed_bytes"] = len(prefix) + len(body)
    made["webhook_signature"] = headers["webhook_signature"]
    made["signer_makes"] = not sent if signer_makes is None else signer_makes
    made["server_time"] = server_time
    if server_master is not None:
        made["server_master_key"] = server_master.hex()
    made["server_generations"] = server or {request.tracker: [request.generation]}
    return made
