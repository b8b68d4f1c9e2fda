"""Finds what a changelog does not say of what is broken, or says and is not."""

from collections.abc import Iterable

from tests.contract.breaking_changes.compare_operations import Break


def faults_of(changelog: str, broken: Iterable[Break]) -> list[str]:
    """Return what to do to a changelog so that it names, under Unreleased, just what is broken."""
    items = _items_under(changelog, "Unreleased", "Breaking")
    lines = [str(each) for each in broken]
    return [
        *(f"add: - {line}" for line in lines if not any(_names(item, line) for item in items)),
        *(f"take away: - {item}" for item in items if not any(_names(item, line) for line in lines)),
    ]


def _items_under(changelog: str, *wanted: str) -> list[str]:
    """Return the items of the list under a heading of the second level and one of the third."""
    items: list[str] = []
    version = heading = ""
    for line in changelog.splitlines():
        if line.startswith("## "):
            version, heading = line[3:].strip(), ""
        elif line.startswith("### "):
            heading = line[4:].strip()
        elif (version, heading) == wanted:
            if line.startswith("- "):
                items.append(line[2:].strip())
            elif line.startswith("  ") and items:
                items[-1] += f" {line.strip()}"
    return items


def _names(item: str, line: str) -> bool:
    """Tell whether an item is about a break; what to do about it may follow."""
    return item == line or item.startswith(f"{line}. ")
