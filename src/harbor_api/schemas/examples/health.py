"""What is told of the service itself."""

from harbor_api.schemas.examples.night import Answers

_WELL = {"status": "ok", "version": "0.2.0"}
_RELEASE = {"version": "1", "releaseId": "0.2.0"}
_PART = {"componentType": "datastore", "status": "pass"}
_DATABASE = {
    "postgresql:responseTime": [{**_PART, "observedValue": 1.4, "observedUnit": "ms"}],
    "postgresql:schema": [{"status": "pass"}],
    "postgresql:masterKey": [{"status": "pass"}],
}
_AWAY = {"postgresql:responseTime": [{**_PART, "status": "fail", "output": "The database does not answer"}]}
_REDIS = {"redis:limits": [_PART]}
_WITHOUT_REDIS = {
    "redis:limits": [
        {
            **_PART,
            "status": "warn",
            "output": "Redis does not answer: each worker counts requests for itself",
        }
    ]
}

ANSWERS: Answers = {
    "getHealth": {
        200: {
            "well": ("All is well", {**_WELL, "schema": "current", "limits": "shared"}),
            "degraded": (
                "Redis does not answer: it goes on without",
                {**_WELL, "status": "degraded", "schema": "current", "limits": "per_process"},
            ),
        }
    },
    "getLiveness": {200: {"well": ("The process answers", _WELL)}},
    "getReadiness": {
        200: {
            "well": ("Send requests here", {"status": "pass", **_RELEASE, "checks": _DATABASE | _REDIS}),
            "warn": (
                "Send requests here; Redis does not answer",
                {"status": "warn", **_RELEASE, "checks": _DATABASE | _WITHOUT_REDIS},
            ),
        },
        503: {
            "away": (
                "PostgreSQL does not answer",
                {"status": "fail", **_RELEASE, "checks": _AWAY | _REDIS},
            )
        },
    },
}
