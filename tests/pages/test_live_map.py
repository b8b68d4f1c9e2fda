"""The live map as it is sent: all of it from here, with nothing inline, and in every package."""

import gzip
import json
import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
from hatchling.builders.wheel import WheelBuilder
from tests.support.checked_client import CheckedClient

_ROOT = Path(__file__).parents[2]
_STATIC = "src/harbor_api/pages/static/live-map"
_COAST = "/docs/static/live-map/vendor/natural-earth"


@pytest.fixture
def page(client: CheckedClient) -> str:
    return client.get("/docs/live-map").text


def _loaded(client: CheckedClient, page: str) -> dict[str, bytes]:
    """Return all files that the page loads at once, by address, as a browser takes them."""
    wanted = [*re.findall(r'(?:src|href)="(/docs/(?:static|assets)/[^"]+)"', page), f"{_COAST}/land-50m.json"]
    found: dict[str, bytes] = {}
    while wanted:
        url = wanted.pop()
        answer = client.get(url, headers={"Accept-Encoding": "gzip"})
        assert answer.status_code == 200, url
        found[url] = answer.data
        if url.partition("?")[0].endswith(".js"):
            script = gzip.decompress(answer.data).decode()
            imported = re.findall(r'^import .* from "([^"]+)";$', script, re.MULTILINE)
            wanted += [urljoin(url, name) for name in imported]
    return found


def test_the_page_names_only_files_of_ours_and_nothing_inline(client: CheckedClient, page: str):
    assert "://" not in page
    assert re.findall(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", page) == []
    policy = dict(
        part.strip().split(" ", 1)
        for part in client.get("/docs/live-map").headers["Content-Security-Policy"].split(";")
    )
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("connect-src") == "'self'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src")} == {"'self'"}
    named = re.findall(r'"(/docs/static/[^"]+\?v=[^"]+)"', page)
    assert len(named) == 4
    for file in named:
        assert client.get(file).headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_all_that_is_loaded_at_once_is_small(client: CheckedClient, page: str):
    loaded = _loaded(client, page)
    assert sum(map(len, loaded.values())) < 180_000
    assert {"follow.js", "api-key.js", "live-map.js"} <= {Path(url.partition("?")[0]).name for url in loaded}


def test_the_map_follows_by_the_client_that_is_published(client: CheckedClient):
    served = client.get("/docs/static/live-map/follow.js")
    assert served.mimetype == "text/javascript"
    assert served.data == (_ROOT / "openapi/examples/follow.js").read_bytes()


def test_every_cell_of_the_coast_is_there_and_closed(client: CheckedClient):
    world = client.get(f"{_COAST}/land-50m.json").json
    folder = _ROOT / _STATIC / "vendor/natural-earth/land-10m"
    assert {each.stem for each in folder.iterdir()} == set(world["cells"])
    for cell in ("0_50", "-180_-90", "160_50"):
        land = client.get(f"{_COAST}/land-10m/{cell}.json").json
        west, south, east, north = land["box"]
        for ring in land["rings"]:
            x = y = 0
            for step in zip(ring[::2], ring[1::2], strict=True):
                x, y = x + step[0], y + step[1]
                assert west <= x <= east
                assert south <= y <= north


def test_the_package_holds_the_map_and_says_whose_its_parts_are():
    builder = WheelBuilder(str(_ROOT))
    packed = {each.distribution_path for each in builder.recurse_included_files()}
    static = _STATIC.removeprefix("src/")
    for name in (
        "live-map.js",
        "live-map.css",
        "vendor/README.md",
        "vendor/leaflet/leaflet.js",
        "vendor/leaflet/leaflet.css",
        "vendor/leaflet/LICENSE",
        "vendor/natural-earth/LICENSE",
        "vendor/natural-earth/land-50m.json",
        "vendor/natural-earth/land-10m/0_50.json",
    ):
        assert f"{static}/{name}" in packed
    assert {"openapi/examples"} <= {
        Path(each).relative_to(_ROOT).as_posix() for each in builder.config.force_include
    }
    told = (_ROOT / _STATIC / "vendor/README.md").read_text()
    [version] = re.findall(r"Leaflet ([0-9.]+),", (_ROOT / _STATIC / "vendor/leaflet/leaflet.js").read_text())
    assert f"| {version} | BSD-2-Clause" in told
    assert "Natural Earth" in told


def test_the_map_is_found_from_the_other_pages(client: CheckedClient):
    for url in ("/docs", "/docs/getting-started"):
        assert 'href="/docs/live-map"' in client.get(url).text
    assert "/docs/live-map" in json.dumps(client.get("/", headers={"Accept": "application/json"}).json)
