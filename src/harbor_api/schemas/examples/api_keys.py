"""Two partners' keys."""

from harbor_api.schemas.examples.night import Answers, Json, Requests, at, page

# Its check digits are wrong.
_OPENS_NOTHING = "hbr_ThisIsAnExampleAndNotASecret00000000"
_PARTNER: Json = {
    "id": 2,
    "prefix": _OPENS_NOTHING[:10],
    "name": "Nordic Logistics",
    "owner": "it@nordic.example",
    "scopes": ["vessels:read"],
    "vessel_ids": None,
    "delay_s": 0,
    "coordinate_decimals": None,
    "history_days": None,
    "requests_per_minute": None,
    "parent_id": 1,
    "created_at": at("2026-01-01T09:00:00"),
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": at("03:04:00"),
    "previous_valid_until": None,
}
_PORT_TERMS: Json = {
    "name": "Port agent",
    "owner": "agent@port.example",
    "scopes": ["vessels:read"],
    "vessel_ids": [1, 2],
    "delay_s": 3600,
    "coordinate_decimals": 2,
    "history_days": 30,
    "requests_per_minute": 30,
    "expires_at": at("2027-01-01T00:00:00"),
}
_PORT: Json = {**_PARTNER, **_PORT_TERMS, "id": 3, "prefix": "hbr_4fT1xZ", "last_used_at": None}
_NEW_KEY: Json = {**_PARTNER, "last_used_at": None}

REQUESTS: Requests = {
    "createApiKey": {
        "partner": (
            "A partner who sees the whole fleet",
            {
                "name": "Nordic Logistics",
                "owner": "it@nordic.example",
                "scopes": ["vessels:read"],
                "independent": True,
            },
        ),
        "limited": (
            "Some vessels, an hour late, to about 1 km, thirty days back, until the year ends",
            _PORT_TERMS,
        ),
    },
    "updateApiKey": {
        "extend": ("It holds for longer", {"expires_at": "2028-01-01T00:00:00Z", "independent": True}),
        "narrow": ("It sees less", {"vessel_ids": [1], "delay_s": 3600}),
    },
    "rotateApiKey": {
        "a_week": ("The old secret holds for a week", {"grace_s": 604_800}),
        "at_once": ("The old secret has leaked: it ends at once", {"grace_s": 0}),
    },
}

ANSWERS: Answers = {
    "getMe": {
        200: {
            "partner": (
                "A partner's key",
                {**_PARTNER, "rate_limit": {"limit": 60, "remaining": 59}},
            ),
            "limited": (
                "One that sees some vessels, late, coarsely and not far back",
                {**_PORT, "last_used_at": at("03:04:00"), "rate_limit": {"limit": 30, "remaining": 29}},
            ),
        }
    },
    "listApiKeys": {
        200: {
            "page": (
                "There are more",
                page("api_keys", _PARTNER, _PORT, more="/api/v1/api-keys?limit=2&cursor=after-3"),
            ),
            "last": ("The last page", page("api_keys", _PORT)),
        }
    },
    "createApiKey": {
        201: {
            "partner": ("With its secret", {**_NEW_KEY, "secret": _OPENS_NOTHING}),
            "limited": (
                "With its secret",
                {**_PORT, "prefix": _OPENS_NOTHING[:10], "secret": _OPENS_NOTHING},
            ),
        }
    },
    "getApiKey": {200: {"partner": ("A partner's key", _PARTNER), "limited": ("One that sees less", _PORT)}},
    "updateApiKey": {
        200: {
            "extend": ("It holds for longer", {**_PORT, "expires_at": at("2028-01-01T00:00:00")}),
            "narrow": ("It sees less", {**_PARTNER, "vessel_ids": [1], "delay_s": 3600}),
        }
    },
    "rotateApiKey": {
        200: {
            "a_week": (
                "Both secrets hold for a week",
                {**_PARTNER, "previous_valid_until": at("2026-01-09T03:04:05"), "secret": _OPENS_NOTHING},
            ),
            "at_once": ("Only the new one holds", {**_PARTNER, "secret": _OPENS_NOTHING}),
        }
    },
    "revokeApiKey": {200: {"revoked": ("Refused from now on", {**_PARTNER, "revoked_at": at("08:00:00")})}},
}
