"""harbor-api settings"""

import os

import click

from harbor_api.cli.output import as_json, print_list
from harbor_api.settings import OF_FILE, Settings


@click.command(name="settings")
@as_json
def command(*, as_json: bool) -> None:
    """Print what holds for each setting and where it came from, with secrets masked."""
    rows = [
        {
            "variable": variable,
            "value": value,
            "source": _source(variable),
        }
        for variable, value in Settings.from_environ(os.environ).shown().items()
    ]
    print_list(rows, ("variable", "value", "source"), as_json=as_json)


def _source(variable: str) -> str:
    if variable in os.environ:
        return "environment"
    return "file" if variable + OF_FILE in os.environ else "default"
