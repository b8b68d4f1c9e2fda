"""What all lists have in common."""

from marshmallow import Schema
from marshmallow.fields import String
from marshmallow.validate import Range, Regexp

from harbor_api.schemas.fields import QueryWhole

CURSOR = "after-"


class LinksSchema(Schema):
    """Where to go on."""

    next = String(
        required=True,
        allow_none=True,
        metadata={
            "description": "The address of the next page, as in the `Link` header; null on the last one.",
            "examples": ["/api/v1/audit?limit=100&cursor=after-100"],
        },
    )


class PageQuerySchema(Schema):
    """Which page of a list."""

    limit = QueryWhole(
        load_default=100,
        validate=Range(1, 1000),
        metadata={"description": "At most so many items.", "examples": [100]},
    )
    cursor = String(
        validate=Regexp(rf"\A{CURSOR}[0-9]{{1,18}}\Z"),
        metadata={
            "description": "From `links.next` of the page before. Take it as it is: it may come to look "
            "otherwise.",
            "pattern": f"^{CURSOR}[0-9]{{1,18}}$",
            "examples": [f"{CURSOR}0"],
        },
    )
