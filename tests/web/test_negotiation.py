"""Which format an answer goes out in, by ``format=`` and by Accept."""

import pytest

from harbor_api.web.negotiation import liked

ALL = ("json", "geojson", "csv", "gpx")
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/*", "json"),
        (BROWSER, "json"),
        ("text/csv", "csv"),
        ("TEXT/CSV; header=present", "csv"),
        ("text/*", "csv"),
        ("application/gpx+xml", "gpx"),
        ("application/geo+json", "geojson"),
        ("text/csv;q=0.5, application/gpx+xml;q=0.8", "gpx"),
        # The closest range decides about a type, and of types alike the one that is named, and named first.
        ("text/*;q=0.9, text/csv;q=0.1, application/gpx+xml;q=0.5", "gpx"),
        ("application/json;q=0, */*", "geojson"),
        ("*/*, text/csv", "csv"),
        ("application/geo+json, application/json", "geojson"),
        ("application/json, application/geo+json", "json"),
        # Nothing that there is: the usual format, never 406.
        ("image/png", "json"),
        ("application/json;q=0", "json"),
        ("text/plain", "json"),
    ],
)
def test_what_is_liked_best_is_chosen(accept: str, name: str):
    assert liked(accept, ALL) == name


def test_gdal_gets_geojson_where_there_is_no_plain_json():
    assert liked("text/plain, application/json", ("geojson", "gpx")) == "geojson"
    assert liked("text/plain, application/json", ALL) == "json"


@pytest.mark.parametrize(
    "accept",
    [
        "text/csv;q=nan",
        "text/csv;q=2",
        "text/csv;q=-1",
        ",,;;q",
        "*",
        "text",
        "\xff",
        '"',
        "text/csv;q=1," * 100_000,
    ],
)
def test_what_is_no_list_is_like_none(accept: str):
    assert liked(accept, ALL) == "json"
