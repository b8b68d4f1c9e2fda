"""The formats of answers that have several: their short names, and their media types."""

from marshmallow.fields import String
from marshmallow.validate import OneOf

from harbor_api.schemas import geojson

MEDIA_TYPES = {
    "json": "application/json",
    "geojson": geojson.MEDIA_TYPE,
    "csv": "text/csv",
    "gpx": "application/gpx+xml",
}
"""By the name that ``format=`` takes."""


def format_of(*names: str) -> String:
    """Return the field of a query that says in which format to answer: the first of them is the usual one."""
    return String(
        validate=OneOf(names),
        metadata={
            "description": "In which format to answer; it wins over `Accept`. Without both, or where "
            f"`Accept` names none that there is, it is `{names[0]}`.",
        },
    )
