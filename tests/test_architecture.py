"""The arrows between the layers run one way, and each library has one home."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "harbor_api"
EVERYWHERE = {"domain", "__init__"}
ARROWS = {
    "app": {"database", "ingest", "pages", "resources", "services", "settings", "telemetry", "web"},
    "cli": {
        "app",
        "cli",
        "database",
        "postgres",
        "schemas",
        "server",
        "services",
        "settings",
        "simulation",
        "telemetry",
        "web",
    },
    "server": {"schemas", "server", "web"},
    "simulation": {"simulation"},
    "resources": {"database", "ingest", "postgres", "schemas", "services", "web"},
    "pages": {"web"},
    "web": {"database", "ingest", "schemas", "services", "settings", "web"},
    "schemas": {"schemas", "services"},
    "services": {"services"},
    "ingest": {"ingest", "services"},
    "database": {"postgres", "repositories"},
    "repositories": {"postgres"},
    "postgres": {"database", "postgres", "settings"},
}
HOMES = {
    "flask": {"app", "pages", "resources", "telemetry", "web"},
    "marshmallow": {"schemas", "web"},
    "sqlalchemy": {"database", "postgres", "repositories"},
    "alembic": {"postgres"},
}
MODULES = sorted(SOURCE.rglob("*.py"))


def _place(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imports(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    # What stands under TYPE_CHECKING is never run: services name the unit of work that they are handed.
    hidden = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_follow_the_arrows(path: Path):
    place = _place(path)
    for name in _imports(path):
        top, *rest = name.split(".")
        if top == "harbor_api":
            other = rest[0].removesuffix("__version__") or "__init__"
            assert other in EVERYWHERE | ARROWS.get(place, set()), f"{place} must not import {name}"
        elif top in HOMES:
            assert place in HOMES[top], f"{top} does not live in {place}"


@pytest.mark.parametrize("layer", ["resources", "repositories"])
def test_no_sideways_imports(layer: str):
    for path in (SOURCE / layer).glob("*.py"):
        assert not [name for name in _imports(path) if name.startswith(f"harbor_api.{layer}")]


def test_only_the_database_module_ends_transactions():
    for path in MODULES:
        calls = [
            node.func.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        ]
        assert _place(path) == "database" or not {"begin", "commit", "rollback"} & set(calls), path
