"""How many examples Hypothesis makes up for a property: all of them with ``--slow``, else a third."""

import pytest
from hypothesis import settings

_DEFAULT, _LEAST = 100, 20
_is_short = True


def configure(config: pytest.Config) -> None:
    """Choose for all tests that are imported from now on."""
    global _is_short  # noqa: PLW0603 - decorators ask for it, which know of no configuration
    _is_short = not config.option.slow
    # How long one takes says how busy the machine is.
    settings.register_profile("suite", max_examples=many(_DEFAULT), deadline=None)
    settings.load_profile("suite")


def many(examples: int, *, least: int = _LEAST) -> int:
    """Return how many of so many examples this run tries."""
    return max(least, examples // 3) if _is_short else examples
