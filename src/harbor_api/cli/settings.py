"""harbor-api settings"""

import os

import click

from harbor_api.cli.output import as_json, print_list
from harbor_api.settings import Settings


@click.command(name="settings")
@as_json
def command(*, as_json: bool) -> None:
    """Print what holds for each setting and where it came from, with secrets masked."""
    rows = [
        {
            "variable": variable,
            "value": value,
            "source": "environment" if variable in os.environ else "default",
        }
        for variable, value in Settings.from_environ(os.environ).shown().items()
    ]
    print_list(rows, ("variable", "value", "source"), as_json=as_json)
