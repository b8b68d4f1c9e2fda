"""How a query or a body arrives in a view: as a frozen dataclass, not as a dict of anything."""

from collections.abc import Callable
from typing import Any, ClassVar

from marshmallow import Schema, post_load

from harbor_api.domain.changes import Edit

UNKNOWN_PARAMETER = "Unknown parameter."
"""What is told of a parameter that an operation does not take."""


def edit(**members: Any) -> Edit[Any]:
    """Return what to change: the members that were sent."""
    return Edit(members)


class TypedSchema(Schema):
    """A schema whose ``load`` returns what ``makes`` makes of the members."""

    makes: ClassVar[Callable[..., Any]]

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Any:
        return type(self).makes(**data)


class QuerySchema(TypedSchema):
    """What an operation is asked with in its address."""

    error_messages = {"unknown": UNKNOWN_PARAMETER}
