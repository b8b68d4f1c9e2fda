"""flask-swagger-ui: where it keeps Swagger UI's own files."""

from pathlib import Path

import flask_swagger_ui
import pytest
from tests.canaries.relied_on import relied_on


@relied_on(
    "flask-swagger-ui",
    "the files of Swagger UI are in dist/ beside the module",
    by="pages/docs.py serves them from there",
)
@pytest.mark.parametrize("name", ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"])
def test_the_files_are_in_dist(name: str):
    assert (Path(flask_swagger_ui.__file__).parent / "dist" / name).stat().st_size > 500
