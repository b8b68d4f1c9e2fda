"""What is told of the service itself."""

from harbor_api.schemas.examples.night import Answers

_WELL = {"status": "ok", "version": "0.2.0"}

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
    "getReadiness": {200: {"well": ("Send requests here", _WELL)}},
}
