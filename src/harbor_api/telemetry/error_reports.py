"""What nobody foresaw is reported to Sentry, where that is asked for."""

from typing import Any

# One for all applications of a process, once reporting has begun.
_clients: list[Any] = []


def start(dsn: str, *, version: str) -> None:
    """Report to the project of a DSN; ImportError.

    Only what ``report`` is given, and the trace of the code without the values of its variables: nothing is
    collected of requests, in which there are keys and positions.
    """
    import sentry_sdk  # noqa: PLC0415 - an extra

    sentry_sdk.init(
        dsn=dsn,
        release=f"harbor-api@{version}",
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        send_default_pii=False,
        max_breadcrumbs=0,
    )
    _clients[:] = [sentry_sdk]


def report(error: BaseException, **tags: str | None) -> None:
    """Report an error, with tags that say which request it was; nothing where nobody asked for it."""
    for client in _clients:
        with client.new_scope() as scope:
            scope.set_tags({name: value for name, value in tags.items() if value is not None})
            scope.capture_exception(error)
