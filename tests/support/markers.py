"""Which tests need what ``make quick`` does without, told by what their code names."""

import inspect
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any

import pytest

# Whoever names one of these, or calls something of the tests that does.
_TELLS = {
    "LiveService": "process",
    "OwnPostgres": "process",
    "RedisServer": "process",
    "sync_playwright": "browser",
    "node_tools": "node",
}
# Tests of nothing but real processes.
_ROOMS = dict.fromkeys(
    ("tests/system", "tests/neighbours", "tests/faults", "tests/hosts", "tests/soak"), "process"
)
LEFT_OUT = "slow, which --slow and -m slow run"


def mark(items: Iterable[pytest.Item], config: pytest.Config) -> None:
    """Mark tests by what they use, and skip those that are slow unless they are asked for."""
    wanted = config.option.slow or "slow" in config.option.markexpr
    for item in items:
        room = item.path.relative_to(config.rootpath).parent.as_posix()
        names = {name for function in _functions_of(item) for name in _names(function, set())}
        found = {marker for name, marker in _TELLS.items() if name in names}
        for marker in sorted(found | {marker for part, marker in _ROOMS.items() if room.startswith(part)}):
            item.add_marker(marker)
        if item.get_closest_marker("slow") and not wanted:
            item.add_marker(pytest.mark.skip(reason=LEFT_OUT))


def _functions_of(item: pytest.Item) -> Iterator[Any]:
    """Yield a test's function and those of all its fixtures."""
    if isinstance(item, pytest.Function):
        yield item.function
    fixtures: Any = getattr(item, "_fixtureinfo", None)
    if fixtures is not None:
        for definitions in fixtures.name2fixturedefs.values():
            yield definitions[-1].func


def _names(function: Any, met: set[Any]) -> Iterator[str]:
    """Yield all global names in a function's code, and in that of the tests' own functions that it names."""
    function = inspect.unwrap(function)
    if not isinstance(function, FunctionType) or function in met:
        return
    met.add(function)
    for name in _names_in(function.__code__):
        yield name
        named = function.__globals__.get(name)
        if isinstance(named, FunctionType) and str(named.__module__).startswith("tests."):
            yield from _names(named, met)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
