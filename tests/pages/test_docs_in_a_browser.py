"""The page at /docs as a person uses it: real clicks, real keys, what is on the screen and what is sent."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect
from tests.support.browser import CHROMIUM, CONTRAST, chromium
from tests.support.live_service import LiveService
from tests.support.operations import Operation, operations_of

from harbor_api.domain.api_keys import SCOPES, generate

WIDTHS = [pytest.param(1440, id="desk"), pytest.param(1024, id="tablet"), pytest.param(390, id="phone")]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@dataclass
class Visit:
    """A page, what it has asked for and what the browser complains of."""

    page: Page
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def sent(self) -> list[tuple[str, str]]:
        """Return what was sent to the API, but for the question whose key it is."""
        paths = [(method, urlsplit(url).path) for method, url, _ in self.asked]
        return [(method, path) for method, path in paths if path.startswith("/api/") and path != "/api/v1/me"]


Visiting = Callable[..., Any]


@pytest.fixture(scope="module")
def service(module_service: LiveService) -> LiveService:
    """Return one service for all tests here, with a vessel to be seen."""
    module_service.world.vessel("Skagerrak Trader")
    return module_service


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with chromium() as context:
        yield context


@pytest.fixture
def visit(service: LiveService, browser: BrowserContext) -> Visiting:
    """Return what opens /docs in a browser that remembers nothing of another visit."""

    @contextmanager
    def visiting(at: str = "", *, width: int = 1440) -> Iterator[Visit]:
        page = browser.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme="light")
        visit = Visit(page)
        page.on("request", lambda request: visit.asked.append((request.method, request.url, request.headers)))
        page.on("console", lambda message: visit.said.append(message.text))
        page.on("pageerror", lambda error: visit.said.append(str(error)))
        page.goto(f"{service.base_url}/docs{at}")
        page.locator(".opblock").first.wait_for()
        yield visit
        page.evaluate("localStorage.clear()")
        page.close()

    return visiting


def _dialog(page: Page) -> Locator:
    return page.locator("dialog")


def _authorize(page: Page, key: str) -> None:
    """Do as a person does who has copied a key: click, paste, Enter."""
    page.locator("button.authorize").first.click()
    page.keyboard.insert_text(key)
    page.keyboard.press("Enter")


# As whoever is quick on a slow machine: as soon as there is a button that may be clicked.
CLICK_AT_ONCE = """
    const looking = new MutationObserver(() => {
        const button = document.querySelector("button.execute:enabled");
        if (button) {
            looking.disconnect();
            button.click();
        }
    });
    looking.observe(document, { subtree: true, childList: true, attributes: true });
"""


def _operation(page: Page, tag: str, name: str) -> Locator:
    operation = page.locator(f"#operations-{tag}-{name}")
    if not operation.locator("button.execute").is_visible():
        operation.locator(".opblock-summary-control").click()
    operation.locator("button.execute").wait_for()
    return operation


class TestAuthorize:
    @pytest.mark.parametrize("width", WIDTHS)
    def test_takes_a_key_from_a_click_typing_and_enter(self, service: LiveService, visit: Visiting, width):
        _, key = service.world.key("vessels:read", requests_per_minute=60)
        with visit(width=width) as visiting:
            page = visiting.page
            page.locator("button.authorize").first.click()
            # Nothing else asks to be filled in.
            assert _dialog(page).locator("input:visible").count() == 1
            page.keyboard.type(key)
            page.keyboard.press("Enter")
            told = "Authorized as a partner, vessels:read, 60 requests a minute."
            expect(_dialog(page).get_by_role("status").first).to_have_text(told)
            expect(_dialog(page).locator(".btn-done")).to_be_focused()
            page.keyboard.press("Enter")
            expect(_dialog(page)).to_have_count(0)

            operation = _operation(page, "vessels", "listVessels")
            operation.locator("button.execute").click()
            expect(operation.locator(".live-responses-table")).to_contain_text("Skagerrak Trader")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            # All of it came from this service, and the browser has nothing to complain of.
            hosts = {urlsplit(url).netloc for _, url, _ in visiting.asked if url.startswith("http")}
            assert hosts == {urlsplit(service.base_url).netloc}
            assert visiting.said == []

    def test_keeps_a_key_for_the_next_visit(self, service: LiveService, visit: Visiting):
        _, key = service.world.key()
        with visit() as visiting:
            page = visiting.page
            _authorize(page, key)
            expect(_dialog(page)).to_contain_text("Authorized as a partner")
            # An operation has an address of its own, and opens there.
            page.goto("about:blank")
            page.add_init_script(CLICK_AT_ONCE)
            page.goto(f"{service.base_url}/docs#/vessels/listVessels")
            expect(page.locator(".live-responses-table")).to_contain_text("Skagerrak Trader")

    def test_needs_no_mouse_and_gives_the_focus_back(self, service: LiveService, visit: Visiting):
        _, key = service.world.key()
        with visit() as visiting:
            page = visiting.page
            page.locator("button.authorize").first.focus()
            for leave in ("Escape", "Enter"):
                page.keyboard.press("Enter")
                expect(_dialog(page).get_by_label("API key")).to_be_focused()
                if leave == "Enter":
                    page.keyboard.insert_text(key)
                    page.keyboard.press("Enter")
                    expect(_dialog(page).locator(".btn-done")).to_be_focused()
                page.keyboard.press(leave)
                expect(_dialog(page)).to_have_count(0)
                expect(page.locator("button.authorize").first).to_be_focused()

    def test_says_at_once_that_a_key_is_wrong(self, service: LiveService, visit: Visiting):
        key, revoked = service.world.key()
        service.world.revoke(key)
        wrong = {
            "hbr_mistyped": "This key is not known",
            generate(): "This key is not known",
            "hbr_" + "0" * 3000: "This key is not known",
            "ключ": "This is not a key",
            "": "Paste the key",
            revoked: "This key was revoked or has expired.",
        }
        with visit() as visiting:
            page = visiting.page
            for pasted, told in wrong.items():
                _authorize(page, pasted)
                expect(_dialog(page).get_by_role("status").first).to_contain_text(told)
                expect(_dialog(page).get_by_label("API key")).to_be_focused()
                page.keyboard.press("Escape")
            assert page.evaluate("localStorage.getItem('authorized')") in {None, "{}"}
            expect(page.locator("button.authorize.unlocked")).to_have_count(1)

    def test_takes_what_people_paste_with_a_key_and_forgets_it(self, service: LiveService, visit: Visiting):
        _, key = service.world.key(delay_s=3600, vessel_ids=frozenset({1}))
        with visit() as visiting:
            page = visiting.page
            _authorize(page, f"  Authorization: Bearer {key} \n")
            expect(_dialog(page)).to_contain_text("1 vessel, 3600 s late")
            assert key in json.dumps(page.evaluate("({...localStorage})"))
            _dialog(page).get_by_role("button", name="Forget the key").click()
            expect(_dialog(page)).to_contain_text("The key is forgotten.")
            assert key not in json.dumps(page.evaluate("({...localStorage})"))

    def test_signs_as_a_tracker_where_one_asks_for_it(self, service: LiveService, visit: Visiting):
        tracker_id, secret = service.add_tracker()
        with visit() as visiting:
            page = visiting.page
            page.locator("button.authorize").first.click()
            expect(_dialog(page).get_by_label("Secret")).not_to_be_visible()
            _dialog(page).get_by_text("Sign as a tracker").click()
            expect(_dialog(page).get_by_label("Secret")).to_be_visible()
            page.keyboard.press("Escape")
            # Asked for at an operation of trackers, it is there at once.
            page.locator("#operations-positions-postPosition .authorization__btn").click()
            expect(_dialog(page).get_by_label("Tracker")).to_be_focused()
            page.keyboard.insert_text(tracker_id)
            _dialog(page).get_by_label("Secret").fill(secret)
            page.keyboard.press("Enter")
            expect(_dialog(page)).to_contain_text(f"This page signs as {tracker_id}.")
            page.keyboard.press("Escape")
            for name in ("checkPosition", "postPosition", "postPositionBatch"):
                operation = _operation(page, "positions", name)
                operation.locator("button.execute").click()
                expect(operation.locator(".live-responses-table")).to_contain_text("stored")
            assert secret not in json.dumps(page.evaluate("({...localStorage, ...sessionStorage})"))
            assert visiting.said == []


def test_a_stream_is_shown_as_it_comes_until_the_page_stops_reading(service: LiveService, visit: Visiting):
    _, key = service.world.key()
    with visit() as visiting:
        page = visiting.page
        page.clock.install()
        _authorize(page, key)
        expect(_dialog(page)).to_contain_text("Authorized as a partner")
        page.keyboard.press("Escape")
        operation = _operation(page, "feed", "streamPositions")
        operation.locator('[data-param-name="snapshot"] select').select_option("true")
        operation.locator("button.execute").click()
        shown = operation.locator(".live-responses-table")
        expect(shown).to_contain_text("Skagerrak Trader")
        expect(shown).to_contain_text("event: live")
        told = operation.locator(".harbor-told")
        expect(told).to_contain_text("events so far. This page stops after 30 seconds or 100 events.")
        expect(operation.locator(".curl-command")).to_contain_text("curl -N -X")
        page.clock.fast_forward(31_000)
        expect(told).to_contain_text("This page stopped reading after 30 seconds. The stream itself goes on")
        # What is cleared stays so, and another one is read anew.
        operation.locator("button.execute").click()
        expect(told).to_contain_text("so far")
        operation.locator("button.btn-clear").click()
        expect(shown).to_have_count(0)
        assert visiting.said == []


def _changing(document: dict[str, Any]) -> list[Operation]:
    return [
        each for each in operations_of(document) if each.method != "GET" and "api_key" in each.security[0]
    ]


# By members of the body: they have no path parameter that could be left empty.
_NAME_THEIR_SUBJECT = {"withdrawFix", "releaseFixes", "rejectFixes"}


def _one_of_each_kind(operations: list[Operation]) -> list[Operation]:
    """Return the first of each tag that makes, that names its subject in the body, and that does neither."""
    kinds = {
        (
            *each.described["tags"],
            "201" in each.described["responses"],
            each.described["operationId"] in _NAME_THEIR_SUBJECT,
        ): each
        for each in reversed(operations)
    }
    return list(kinds.values())


# The browser takes seconds to open one.
@pytest.mark.parametrize("which", [_one_of_each_kind, pytest.param(list, marks=pytest.mark.slow)])
def test_a_click_on_execute_changes_nothing_that_is_there(
    service: LiveService, visit: Visiting, document: dict[str, Any], which: Callable[..., list[Operation]]
):
    world = service.world
    world.tracker(world.vessel("Of a tracker"))
    _, key = world.key(*SCOPES)
    bearer = {"Authorization": f"Bearer {key}"}
    before = _state(service, bearer)
    with visit() as visiting:
        page = visiting.page
        _authorize(page, key)
        page.locator(".btn-done").click()
        for described in which(_changing(document)):
            visiting.asked.clear()
            name = described.described["operationId"]
            operation = _operation(page, described.described["tags"][0], name)
            operation.locator("button.execute").click()
            if described.method == "POST" and "201" in described.described["responses"]:
                # To make something is no harm, and a second one is not the first one again.
                operation.locator(".live-responses-table").wait_for()
                [made] = [headers for method, _, headers in visiting.asked if method == "POST"]
                assert "idempotency-key" not in made, name
            elif described.described["operationId"] in _NAME_THEIR_SUBJECT:
                # Their example is only counted, or of a fix that is not there.
                operation.locator(".live-responses-table").wait_for()
            else:
                # It is for the person to say which one, and what was read of it.
                expect(operation.locator("input.invalid").first).to_be_visible()
                assert visiting.sent() == [], name
            operation.locator(".opblock-summary-control").click()
    after = _state(service, bearer)
    assert [each for each in before if each not in after] == []


def _state(service: LiveService, bearer: dict[str, str]) -> list[dict[str, Any]]:
    """Return all vessels, trackers and keys as they are, but for when a key was used."""
    found: list[dict[str, Any]] = []
    for path in ("vessels", "vessels?retired=true", "trackers", "api-keys", "quarantine"):
        answer = service.http.get(f"/api/v1/{path}", headers=bearer).json()
        [items] = [items for items in answer.values() if isinstance(items, list)]
        found += [{**each, "last_used_at": None} for each in items]
    return found


# listVessels has sixteen parameters; without any it was taller while each of its errors had a block.
def test_an_open_operation_is_short_and_breaks_no_code(visit: Visiting):
    with visit(width=1440) as visiting:
        page = visiting.page
        shown = page.eval_on_selector_all(".opblock", "all => all.map(each => each.id.split('-').at(-1))")
        assert shown[:3] == ["getMe", "listVessels", "getVessel"]
        assert shown[-1] == "listAudit"
        operation = _operation(page, "vessels", "listVessels")
        assert _height(operation) < 3_200
        assert operation.locator(".harbor-error .highlight-code").count() == 0
        assert _unnamed_fields(operation) == []

        operation = _operation(page, "positions", "postPosition")
        assert _unnamed_fields(operation) == []
        page.locator(".info summary").click()
        _demand_whole_words(page, width=1440)
        # The same on a phone.
        page.set_viewport_size({"width": 390, "height": 900})
        assert _height(page.locator("#operations-vessels-listVessels")) < 6_200
        _demand_whole_words(page, width=390)


def _height(operation: Locator) -> float:
    box = operation.bounding_box()
    assert box is not None
    return box["height"]


def _demand_whole_words(page: Page, *, width: int) -> None:
    codes = page.eval_on_selector_all(
        ".info code, .harbor-error code",
        "codes => codes.map(code => [code.textContent, code.getClientRects().length])",
    )
    words = [(text, lines) for text, lines in codes if re.fullmatch(r"[\w-]+", text)]
    assert ("timestamp_out_of_tolerance", 1) in words
    assert [text for text, lines in words if lines > 1] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def _unnamed_fields(operation: Locator) -> list[str]:
    """Return what a screen reader has no name for."""
    unnamed: list[str] = operation.evaluate(
        """place => [...place.querySelectorAll("input, select, textarea")]
        .filter((each) => each.labels.length === 0 && !each.getAttribute("aria-label"))
        .map((each) => each.outerHTML.slice(0, 200))"""
    )
    return unnamed


def test_everything_can_be_read_in_the_reader_s_colours(visit: Visiting):
    with visit() as visiting:
        page = visiting.page
        _operation(page, "vessels", "listVessels")
        _authorize(page, "hbr_mistyped")
        expect(_dialog(page)).to_contain_text("not known")
        for scheme, selector in product(
            ("light", "dark"),
            (
                ".opblock-summary-method",
                ".opblock-tag small, .opblock-tag span",
                ".info p",
                ".info a",
                ".info code",
                ".harbor-error code",
                ".harbor-error .response-col_status",
                ".harbor-headers summary",
                "button.execute",
                "dialog h2",
                "dialog label",
                "dialog input",
                "dialog .said.bad",
                "dialog button.authorize",
                "dialog .btn-done",
                "dialog summary",
            ),
        ):
            page.emulate_media(color_scheme=scheme)
            for place in page.locator(selector).all()[:3]:
                assert place.evaluate(CONTRAST) >= 4.5, (scheme, selector)


def test_a_browser_keeps_the_fleet_and_asks_whether_it_still_holds(
    service: LiveService, browser: BrowserContext
):
    for number in range(20):
        service.world.vessel(f"Coded {number}")
    bearer = service.world.bearer()
    page = browser.new_page()
    page.goto(f"{service.base_url}/health/live")
    # What is told of an answer from the network, before the page is handed what was kept.
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    told: list[tuple[int, str]] = []

    def note(event: Any) -> None:
        if "ETag" in event["headers"]:
            told.append((event["statusCode"], event["headers"].get("Content-Encoding", "")))

    network.on("Network.responseReceivedExtraInfo", note)
    read = "async bearer => { const got = await fetch('/api/v1/vessels', { headers: bearer });"
    read += " return [got.status, (await got.json()).features.length]; }"
    first, second = (page.evaluate(read, bearer) for _ in range(2))
    assert first == second
    assert first[0] == 200
    assert first[1] > 20
    while len(told) < 2:
        page.wait_for_timeout(10)
    page.close()
    assert told == [(200, "gzip"), (304, "")]
