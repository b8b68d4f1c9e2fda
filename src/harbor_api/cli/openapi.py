"""harbor-api openapi: the document as files, for those who generate clients or review a change."""

import json
from pathlib import Path
from typing import Any

import click
import orjson

from harbor_api.app import create_app
from harbor_api.settings import MASTER_KEY_BYTES, Settings
from harbor_api.web import runtime
from harbor_api.web.openapi_3_0 import as_3_0

NEWEST = "harbor-api.json"
TWIN = "harbor-api-3.0.json"


@click.command(name="openapi")
@click.argument("folder", type=click.Path(file_okay=False, exists=True, path_type=Path))
def command(folder: Path) -> None:
    """Write the OpenAPI document to FOLDER, as 3.1.0 and, for tools that cannot read it, as 3.0.3."""
    for name, document in documents().items():
        (folder / name).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        click.echo(folder / name)


def documents() -> dict[str, dict[str, Any]]:
    """Return the document in both versions, by the names of their files."""
    # Nothing is connected to and nothing is signed: describing the service needs neither.
    settings = Settings(database_url="postgresql:///", tracker_master_key=bytes(MASTER_KEY_BYTES))
    newest: dict[str, Any] = orjson.loads(runtime.of(create_app(settings)).document)
    return {NEWEST: newest, TWIN: as_3_0(newest)}
