"""Optimistic locking: a change names the versions that it may replace."""

from collections.abc import Collection

from harbor_api.domain.errors import PreconditionFailed

# Any version will do: ``If-Match: *``, or a person at the command line.
ANY: Collection[int] | None = None


def demand(current: int, wanted: Collection[int] | None) -> None:
    """Raise PreconditionFailed unless the current version is one of those wanted."""
    if wanted is not None and current not in wanted:
        raise PreconditionFailed("Somebody has changed it since; read it again")
