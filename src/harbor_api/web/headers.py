"""Every header of an answer that the document tells of, described once."""

from typing import Any

HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "Identifies this exchange in the service's logs: the caller's own "
        "X-Request-Id where it was sane, else a new one.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
    "RateLimit-Policy": {
        "description": "How many requests (q) are allowed in how many seconds (w), as in the IETF "
        "draft on RateLimit header fields. A request with a key that is answered with 304 takes a tenth "
        "of one; each needs room for a whole one.",
        "required": True,
        "schema": {"type": "string", "examples": ['"key";q=60;w=60']},
    },
    "RateLimit": {
        "description": "How many whole requests remain (r), and in how many seconds the next one is free "
        "again (t).",
        "required": True,
        "schema": {"type": "string", "examples": ['"key";r=59;t=60']},
    },
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$", "examples": ["12"]},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate here.",
        "required": True,
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "A strong tag, and opaque: it changes with the bytes of the answer, for "
        "`If-None-Match`, and each content coding has its own. A single resource's names its last edit, too, "
        "for `If-Match`: positions that have come since do not matter there, nor does the coding.",
        "required": True,
        "schema": {
            "type": "string",
            "pattern": '^"[^"]+"$',
            "examples": ['"6b1f0c9e27d84a53-0f2f6f5f7c118a534c6e9f5b1f0c9a6e.gzip"'],
        },
    },
    "Content-Encoding": {
        "description": "What the body is coded in: `zstd`, `gzip` or `br`, whichever of them "
        "`Accept-Encoding` likes best. Absent where it goes as it is: what is small, and whatever is sent to "
        "callers that name none of them.",
        "required": False,
        "schema": {"type": "string", "examples": ["gzip"]},
    },
    "Cache-Control": {
        "description": "`private, no-cache`: the caller alone may keep the answer, and asks before each use "
        "whether it still holds, with `If-None-Match`.",
        "required": True,
        "schema": {"type": "string", "examples": ["private, no-cache"]},
    },
    "Vary": {
        "description": "What the answer hangs on beside the address: above all on whose key it is.",
        "required": True,
        "schema": {"type": "string", "examples": ["Authorization, Accept, Accept-Encoding"]},
    },
    "Location": {
        "description": "Where what was created is.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference", "examples": ["/api/v1/vessels/1"]},
    },
    "Link": {
        "description": 'The next page, with `rel="next"`; absent on the last one, and where its address has '
        "more than 2,000 characters, as it repeats long lists: then `links.next` of the body alone has it.",
        "required": False,
        "schema": {
            "type": "string",
            "examples": ['</api/v1/audit?limit=100&cursor=after-100>; rel="next"'],
        },
    },
    "Harbor-Cursor": {
        "description": "Up to where in the committed order this answer has looked, also where nothing has "
        "changed (304). Following goes on from here: a sealed text, for this key alone.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
    },
    "Harbor-Now": {
        "description": "The service's time at this answer, by PostgreSQL's clock. Ages count from here, "
        "whatever the clock of the caller tells.",
        "required": True,
        "schema": {"type": "string", "format": "date-time", "examples": ["2026-01-02T03:04:06.251000Z"]},
    },
    "X-Accel-Buffering": {
        "description": "`no`: a proxy that knows it passes on each event as it comes.",
        "required": True,
        "schema": {"type": "string", "const": "no"},
    },
    "Content-Disposition": {
        "description": "The name of a file to save the answer as.",
        "required": True,
        "schema": {"type": "string", "examples": ['attachment; filename="vessel-1.csv"']},
    },
    "Accept-Encoding": {
        "description": "The encodings that a body may have, where it came in another one.",
        "required": False,
        "schema": {"type": "string", "examples": ["gzip, deflate"]},
    },
    "Allow": {
        "description": "The methods that this resource takes.",
        "required": True,
        "schema": {"type": "string"},
    },
}
# Those that come with a status, whatever the operation.
OF_STATUS: dict[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    415: ("Accept-Encoding",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
