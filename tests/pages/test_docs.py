"""The document and Swagger UI, as files and in a real browser."""

import re
import shutil
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from tests.support.checked_client import CheckedClient
from tests.support.live_service import LiveService

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
needs_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def test_the_page_names_only_files_of_ours_and_no_inline_script(client: CheckedClient):
    page = client.get("/docs")
    assert page.mimetype == "text/html"
    assert "://" not in page.text
    assert re.findall(r"<script(?![^>]*src=)", page.text) == []
    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    assert (policy["default-src"], policy["script-src"]) == ("'none'", "'self'")
    files = re.findall(r'(?:src|href|data-document)="([^"]+)"', page.text)
    assert len(files) >= 5
    for file in files:
        with client.get(file) as answer:
            assert answer.status_code == 200


def test_an_unknown_asset_is_a_problem(client: CheckedClient):
    for name in ("nothing.js", "..%2f__init__.py", "LICENSE"):
        answer = client.get(f"/docs/assets/{name}")
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def _run_list_vessels(page: Page) -> None:
    operation = page.locator("#operations-vessels-listVessels")
    if not operation.locator("button.execute").is_visible():
        operation.locator(".opblock-summary-control").click()
    operation.locator("button.execute").click()
    expect(operation.locator(".live-responses-table")).to_contain_text("Skagerrak Trader", timeout=15_000)


@needs_a_browser
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)], ids=["desk", "phone"])
def test_a_frontend_developer_authorises_and_sees_the_vessels(live_service: LiveService, width, height):
    live_service.world.vessel()
    _, key = live_service.world.key()
    asked: list[str] = []
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))

        page.goto(f"{live_service.base_url}/docs")
        page.locator("button.authorize").first.click()
        page.locator(".auth-container input").first.fill(key)
        page.locator(".auth-btn-wrapper button.authorize").first.click()
        page.locator(".btn-done").first.click()
        _run_list_vessels(page)

        # The key stays, and an operation has an address of its own.
        page.goto("about:blank")
        page.goto(f"{live_service.base_url}/docs#/vessels/listVessels")
        expect(page.locator("#operations-vessels-listVessels button.execute")).to_be_visible(timeout=15_000)
        _run_list_vessels(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    assert {urlsplit(url).netloc for url in asked if url.startswith("http")} == {
        urlsplit(live_service.base_url).netloc
    }
    assert said == []
