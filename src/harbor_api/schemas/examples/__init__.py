"""Whole examples of what is sent and answered, which the document and its page show for each operation.

All of them tell of one small fleet on one night, so that what belongs together agrees: ids, names, verdicts
and times. tests/contract/test_examples.py holds them to the schemas and to each other, and sends each request
to the service. Values that are not known stand in the examples, too: a caller has to expect them.
"""

from harbor_api.schemas.examples import (
    api_keys,
    audit,
    consumers,
    feed,
    health,
    history,
    keeping,
    positions,
    problems,
    quarantine,
    summaries,
    trackers,
    tracks,
    vessels,
)
from harbor_api.schemas.examples.night import Answers, Otherwise, Requests

PROBLEM = problems.PROBLEM
REQUESTS: Requests = {
    **positions.REQUESTS,
    **vessels.REQUESTS,
    **keeping.REQUESTS,
    **consumers.REQUESTS,
    **trackers.REQUESTS,
    **quarantine.REQUESTS,
    **api_keys.REQUESTS,
}
"""By operationId. The first one is what Swagger UI fills in."""
ANSWERS: Answers = {
    **positions.ANSWERS,
    **vessels.ANSWERS,
    **keeping.ANSWERS,
    **tracks.ANSWERS,
    **summaries.ANSWERS,
    **history.ANSWERS,
    **feed.ANSWERS,
    **consumers.ANSWERS,
    **trackers.ANSWERS,
    **quarantine.ANSWERS,
    **api_keys.ANSWERS,
    **audit.ANSWERS,
    **health.ANSWERS,
}
"""By operationId and status."""
OTHERWISE: Otherwise = {**tracks.OTHERWISE, **history.OTHERWISE}
"""What else 200 may look like where it comes in several media types, by operation and media type."""
