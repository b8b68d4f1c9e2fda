"""The live map as people use it: what is drawn, said and asked for, by mouse, by keyboard and on a phone."""

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect
from tests.support import sql
from tests.support.browser import CHROMIUM, CONTRAST, chromium
from tests.support.factories import ACTOR, SigningTracker
from tests.support.live_service import LiveService
from tests.support.signed_posts import register_fleet, send

from harbor_api.domain.times import rfc3339
from harbor_api.services import vessels

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
NAMES = [f"Skerry {letter}" for letter in "ABCDEFGHIJKL"]


@dataclass
class Fleet:
    """Twelve vessels off a coast: the first has a track with a gap, the last was heard of an hour ago."""

    service: LiveService
    trackers: list[SigningTracker]
    began: datetime
    key: str = ""

    def report(self, number: int, lon: float, lat: float, at: datetime, **motion: Any) -> None:
        """Send a fix of a vessel as her tracker does."""
        body = {"recorded_at": rfc3339(at), "lat": lat, "lon": lon, "sog": 9.5, "cog": 90, **motion}
        assert send(self.service.http, self.trackers[number].signed(body)).status_code == 201


@dataclass
class Visit:
    """A page, what it has asked for and what the browser complains of."""

    page: Page
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def expect_drawn(self, many: int) -> None:
        """Wait until the map shows so many vessels: it is drawn after all else."""
        self.page.wait_for_function(
            "many => new Set(liveMap.vessels.points.map(({ vessel }) => vessel.id)).size === many", arg=many
        )

    def point(self, name: str) -> dict[str, float]:
        """Return where on the page a vessel is drawn."""
        found: dict[str, float] = self.page.evaluate(
            """name => {
                const vessel = [...liveMap.shown().values()].find((each) => each.name === name);
                const { x, y } = liveMap.map.latLngToContainerPoint([vessel.lat, vessel.lon]);
                const { left, top } = liveMap.map.getContainer().getBoundingClientRect();
                return { x: left + x, y: top + y };
            }""",
            name,
        )
        return found


@pytest.fixture(scope="module")
def fleet(module_service: LiveService) -> Fleet:
    world, now = module_service.world, datetime.now(UTC).replace(microsecond=0)
    trackers = [
        world.tracker(world.vessel(name, kind=("cargo", "tanker")[number % 2]))
        for number, name in enumerate(NAMES)
    ]
    fleet = Fleet(module_service, trackers, now)
    fleet.key = world.key()[1]
    for minutes in (150, 149, 148, 20, 19, 1):
        fleet.report(0, 10.6 - minutes / 1000, 58.9, now - timedelta(minutes=minutes), heading=90)
    for number in range(1, 11):
        fleet.report(number, 10.2 + 0.1 * number, 58.5, now - timedelta(seconds=90), sog=0.1 * (number % 3))
    fleet.report(11, 10.4, 58.7, now - timedelta(hours=1))
    return fleet


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with chromium() as context:
        yield context


Visiting = Callable[..., Any]


@pytest.fixture
def visit(fleet: Fleet, browser: BrowserContext) -> Visiting:
    """Return what opens the map and signs in, in a browser that remembers nothing of another visit."""

    @contextmanager
    def visiting(
        at: str = "",
        *,
        width: int = 1280,
        scheme: Any = "light",
        key: str | None = None,
        has_its_own_clock: bool = False,
    ) -> Iterator[Visit]:
        page = browser.new_page()
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        visit = Visit(page)
        page.on("request", lambda request: visit.asked.append(request.url))
        page.on("console", lambda message: visit.said.append(message.text))
        page.on("pageerror", lambda error: visit.said.append(str(error)))
        if has_its_own_clock:
            page.clock.install()
        page.goto(f"{fleet.service.base_url}/docs/live-map{at}")
        _sign_in(page, key or fleet.key)
        expect(page.locator("#count")).to_have_text(re.compile("vessel"))
        try:
            yield visit
        finally:
            page.evaluate("localStorage.clear()")
            page.close()

    return visiting


def _sign_in(page: Page, key: str) -> None:
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.insert_text(f" Bearer {key}\n")
    page.keyboard.press("Enter")


def _fact(page: Page, name: str) -> Locator:
    return page.locator(f'[data-fact="{name}"] dd')


def _live(page: Page) -> None:
    expect(page.locator("#state-text")).to_contain_text("Live, newest position")


def test_the_fleet_is_drawn_and_moves_and_one_is_looked_at(fleet: Fleet, visit: Visiting):
    with visit() as visiting:
        page = visiting.page
        expect(page.locator("#count")).to_have_text("12 vessels")
        _live(page)
        page.wait_for_function("() => liveMap.vessels.points.length >= 12")
        visiting.expect_drawn(12)
        # Who is stale looks it, in the list as on the map.
        stale = page.get_by_role("option", name="Skerry L")
        expect(stale).to_contain_text("Stale, 60 min ago")
        expect(stale.locator(".glyph.stale")).to_have_count(1)
        expect(page.locator("#legend .n-stale")).to_have_text("1")

        page.mouse.click(**visiting.point("Skerry A"))
        expect(page.get_by_role("heading", name="Skerry A")).to_be_visible()
        expect(_fact(page, "Speed")).to_have_text("9.5 kn")
        expect(_fact(page, "Heading")).to_have_text("90°")
        expect(_fact(page, "Source")).to_contain_text("Fix of her tracker")
        expect(page.locator("#track-state")).to_have_text("Track of 24 hours: 6 fixes, 1 gap (dashed).")
        expect(page.locator("path.track.gap")).to_have_count(1)

        now = datetime.now(UTC)
        before = visiting.point("Skerry A")
        fleet.report(0, 10.61, 58.9, now, sog=11.5, cog=91)
        expect(_fact(page, "Speed")).to_have_text("11.5 kn")
        expect(_fact(page, "Last fix")).to_contain_text(f"{now:%H:%M:%S} UTC")
        assert visiting.point("Skerry A")["x"] > before["x"] + 2
        # A late one is history, and moves nobody.
        fleet.report(0, 10.596, 58.9, now - timedelta(minutes=3), sog=1.0)
        fleet.report(1, 10.3, 58.5, datetime.now(UTC), sog=7.5)
        expect(page.get_by_role("option", name="Skerry B")).to_contain_text("7.5 kn")
        expect(_fact(page, "Speed")).to_have_text("11.5 kn")

        expect(page).to_have_url(re.compile(r"vessel=1\b"))
        hosts = {urlsplit(url).netloc for url in visiting.asked if not url.startswith("data:")}
        assert hosts == {urlsplit(fleet.service.base_url).netloc}
        assert not [url for url in [page.url, *visiting.asked] if "hbr_" in url]
        assert visiting.said == []


def test_a_link_shows_the_same_and_the_past_is_replayed(fleet: Fleet, visit: Visiting):
    then = fleet.began - timedelta(minutes=149)
    link = f"#map=9/58.8000/10.5000&vessel=1&time={then:%Y-%m-%dT%H:%M:%S}Z&speed=600&kind=cargo"
    with visit(link) as visiting:
        page = visiting.page
        expect(page.locator("#moment")).to_contain_text(f"{then:%H:%M:%S} UTC")
        expect(page.locator("#count")).to_have_text("6 vessels")
        expect(_fact(page, "Position")).to_contain_text("10° 27.060′ E")
        expect(_fact(page, "Source")).to_contain_text("Fix of her tracker")
        # Nobody else was known then.
        expect(page.get_by_role("option", name="Skerry C")).to_contain_text("Never seen")
        visiting.expect_drawn(1)
        assert page.evaluate("[liveMap.map.getZoom(), liveMap.state.speed]") == [9, 600]
        page.get_by_role("button", name="Play").click()
        page.wait_for_function("from => liveMap.state.time > from", arg=then.timestamp() * 1000 + 60_000)
        page.get_by_role("button", name="Pause").click()
        expect(page).to_have_url(re.compile(rf"time=(?!{then:%Y-%m-%dT%H:%M:%S}).*&speed=600&kind=cargo"))
        page.get_by_role("button", name="Live", exact=True).click()
        expect(_fact(page, "Last fix")).not_to_contain_text("h ago")
        visiting.expect_drawn(6)
        assert "time=" not in page.url.partition("kind")[2]
        assert visiting.said == []


def test_all_of_it_goes_by_keyboard_and_is_named(fleet: Fleet, visit: Visiting):
    with visit() as visiting:
        page = visiting.page
        _live(page)
        page.locator("#search").focus()
        page.keyboard.type("skerry")
        page.keyboard.press("ArrowDown")
        listed = page.get_by_role("listbox")
        expect(listed).to_be_focused()
        page.keyboard.press("ArrowDown")
        expect(listed).to_have_attribute("aria-activedescendant", "vessel-2")
        page.keyboard.press("End")
        page.keyboard.press("ArrowUp")
        expect(listed).to_have_attribute("aria-activedescendant", "vessel-11")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Skerry K")).to_be_visible()
        expect(page.locator("#announcements")).to_contain_text("Skerry K, stopped, 0.1 knots")
        expect(page.get_by_role("option", name="Skerry K")).to_have_attribute("aria-selected", "true")
        page.keyboard.press("Escape")
        expect(page.get_by_role("heading", name="Skerry K")).to_be_hidden()
        expect(listed).to_be_focused()
        unnamed = page.evaluate(
            """[...document.querySelectorAll("button, input, select, [role]")].filter((each) =>
                each.checkVisibility() && !each.labels?.length && !each.getAttribute("aria-label")
                && !each.getAttribute("aria-labelledby") && !each.textContent.trim() && each.role !== "status"
            ).map((each) => each.outerHTML)"""
        )
        assert unnamed == []
        # Each stop of the Tab key can be seen.
        for _ in range(12):
            page.keyboard.press("Tab")
            ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert ring != "none", page.evaluate("document.activeElement.outerHTML.slice(0, 200)")


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")], ids=["phone", "desk"])
def test_it_fits_and_can_be_read(visit: Visiting, width: int, scheme: str):
    with visit("#vessel=1", width=width, scheme=scheme) as visiting:
        page = visiting.page
        _live(page)
        expect(page.locator("#track-state")).to_contain_text("Track")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.documentElement.scrollHeight") <= 800
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == (scheme == "dark")
        told = ("h1", "#state-text", "dt", "dd", "#details-kind", "#moment", "#legend li")
        for selector in (*told, "header button", "#go-live"):
            for place in page.locator(selector).all()[:3]:
                assert place.evaluate(CONTRAST) >= 4.5, selector
        page.get_by_role("button", name="Colours: auto").click()
        page.get_by_role("button", name="Colours: light").click()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_silence_and_sleep_are_told_of_and_nothing_comes_twice(fleet: Fleet, visit: Visiting):
    with visit("#vessel=3", has_its_own_clock=True) as visiting:
        page = visiting.page
        _live(page)
        expect(page.locator("#track-state")).to_contain_text("Track of 24 hours")
        banner = page.locator("#banner")
        expect(banner).to_be_hidden()
        # A heartbeat is overdue: its service says nothing, as if it were stopped.
        page.clock.fast_forward(27_000)
        expect(banner).to_contain_text("Nothing has come from the service for a heartbeat.")
        # A machine that has slept: the connection is made anew, and goes on where it was.
        page.clock.fast_forward(3_600_000)
        expect(banner).to_be_hidden()
        points = "document.querySelectorAll('path.track').length"
        before = page.evaluate(points)
        fleet.report(2, 10.4, 58.5, datetime.now(UTC), sog=3.5)
        expect(_fact(page, "Speed")).to_have_text("3.5 kn")
        assert page.evaluate(points) == before
        expect(page.locator("#count")).to_have_text("12 vessels")
        # A tab that nobody looks at draws nothing.
        page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
        drawn = page.evaluate("liveMap.vessels.drawn")
        page.evaluate("liveMap.redraw()")
        page.clock.run_for(3_000)
        assert page.evaluate("liveMap.vessels.drawn") <= drawn + 1


def test_a_cut_and_a_loss_are_told_of_and_the_fleet_is_followed_again(fleet: Fleet, visit: Visiting):
    with visit("#vessel=4") as visiting:
        page = visiting.page
        _live(page)
        fleet.service.kill()
        expect(page.locator("#banner")).to_contain_text("The stream was cut. Positions are those of")
        expect(page.locator("#state-text")).to_have_text("Not connected")
        fleet.service.start()
        fleet.report(3, 10.5, 58.5, datetime.now(UTC), sog=4.5)
        expect(page.locator("#banner")).to_be_hidden()
        expect(_fact(page, "Speed")).to_have_text("4.5 kn")

        # What went by meanwhile is not kept any more: the fleet is read again, and that is told.
        fleet.service.kill()
        expect(page.locator("#banner")).to_contain_text("The stream was cut.")
        fleet.service.world.vessel("Newcomer")
        sql.run(
            fleet.service.world.database,
            "INSERT INTO feed_floor (id, number, at) SELECT 1, max(seq), now() FROM vessels",
        )
        fleet.service.start()
        expect(page.locator("#banner")).to_contain_text("Updates were lost.")
        expect(page.get_by_role("option", name="Newcomer")).to_contain_text("Never seen")
        page.get_by_role("button", name="Dismiss").click()
        expect(page.locator("#banner")).to_be_hidden()


# All that anybody was told up to now is kept no more.
_LOSE = """
WITH gone AS (
    INSERT INTO withdrawals (seq, vessel_id, recorded_at, tracker_id, withdrawn_at)
    SELECT nextval('fleet_order'), vessel_id, recorded_at - interval '1 day', tracker_id, now()
    FROM positions ORDER BY seq LIMIT 1 RETURNING seq
)
INSERT INTO feed_floor AS floor (number, at) SELECT seq, now() FROM gone
ON CONFLICT (id) DO UPDATE SET number = excluded.number, at = excluded.at
"""


def test_what_was_lost_is_told_and_the_fleet_is_read_again(fleet: Fleet, visit: Visiting):
    with visit("#vessel=3") as visiting:
        page = visiting.page
        _live(page)
        # A service that was restored from a dump knows nothing of what is the newest here.
        newer = "{ recorded_at: '2999-01-01T00:00:00Z', sog: 77 }"
        page.evaluate(f"Object.assign(liveMap.shown().get(3), {newer})")
        sql.run(fleet.service.world.database, _LOSE)
        expect(page.locator("#banner")).to_contain_text("Updates were lost. The service keeps them from")
        expect(page.locator("#banner")).to_contain_text("The fleet was read again.")
        _live(page)
        # What others have reported of her is shown again.
        assert page.evaluate("liveMap.shown().get(3).sog") != 77
        fleet.report(2, 10.4, 58.5, datetime.now(UTC), sog=5.5)
        expect(_fact(page, "Speed")).to_have_text("5.5 kn")
        page.get_by_role("button", name="Dismiss").click()
        expect(page.locator("#banner")).to_be_hidden()


def test_what_the_stream_does_not_tell_is_read_now_and_then(fleet: Fleet, visit: Visiting):
    world = fleet.service.world
    with visit("#vessel=8", has_its_own_clock=True) as visiting:
        page = visiting.page
        _live(page)
        name = '<img src=x onerror=alert(1)> "O\'Neil" סירה \N{SHIP}'
        newcomer = world.vessel(name)
        with world.database.unit_of_work() as unit_of_work:
            vessels.retire(unit_of_work, 8, actor=ACTOR)
        page.clock.fast_forward(121_000)
        expect(page.get_by_role("option", name=name)).to_contain_text("Never seen")
        expect(page.locator("#banner")).to_contain_text("Skerry H is not in the fleet any more")
        expect(page.get_by_role("heading", name="Skerry H")).to_be_hidden()
        with world.database.unit_of_work() as unit_of_work:
            vessels.restore(unit_of_work, 8, actor=ACTOR)
            vessels.retire(unit_of_work, newcomer.id, actor=ACTOR)
        page.clock.fast_forward(121_000)
        expect(page.get_by_role("option", name="Skerry H")).to_be_visible()
        expect(page.get_by_role("option", name=name)).to_have_count(0)
        assert visiting.said == []


def test_a_moment_asked_for_anew_holds_and_one_before_all_fixes_is_told(fleet: Fleet, visit: Visiting):
    then = fleet.began - timedelta(minutes=100)
    link = f"#time={fleet.began - timedelta(minutes=140):%Y-%m-%dT%H:%M:%S}Z&speed=10"
    with visit(link, width=390) as visiting:
        page = visiting.page
        page.get_by_role("button", name="Play").click()
        page.wait_for_function("() => liveMap.shown().size >= 12")
        held: list[Route] = []

        def hold(route: Route) -> None:
            held.append(route)

        page.route(re.compile(f"as_of={then:%Y-%m-%dT%H:%M:%S}"), hold)
        # A phone has room for a button only, which is the field itself.
        assert (
            page.evaluate(
                "() => { const { x, y } = document.querySelector('#jump-box').getBoundingClientRect();"
                " return document.elementFromPoint(x + 15, y + 15).id; }"
            )
            == "jump"
        )
        page.locator("#jump").fill(f"{then:%Y-%m-%dT%H:%M:%S}")
        expect(page.locator("#time")).to_have_attribute("aria-busy", "true")
        while not held:
            page.wait_for_timeout(20)
        assert page.evaluate("liveMap.state.time") == then.timestamp() * 1000
        page.locator("#jump").fill("2001-02-03T04:05:06")
        expect(page.locator("#banner")).to_contain_text(
            "Nothing is known of where a vessel was at 2001-02-03"
        )
        held[0].abort()


def test_a_key_that_ends_is_asked_for_again(fleet: Fleet, visit: Visiting):
    key, secret = fleet.service.world.key(coordinate_decimals=2, vessel_ids=frozenset({2, 3}))
    with visit(key=secret) as visiting:
        page = visiting.page
        _live(page)
        told = "This key sees places to 2 decimals and times in steps, 2 vessels only."
        expect(page.locator("#sight")).to_have_text(told)
        fleet.service.world.revoke(key)
        expect(page.get_by_label("API key")).to_be_focused()
        expect(page.locator("#sign-in-said")).to_contain_text("was revoked or has expired")
        assert "hbr_" not in json.dumps(page.evaluate("({...localStorage, ...sessionStorage})"))
        expect(page.locator("#count")).to_be_empty()
        # And one that was mistyped is refused at once.
        page.keyboard.insert_text("hbr_mistyped")
        page.keyboard.press("Enter")
        expect(page.locator("#sign-in-said")).to_contain_text("This key is not known")
        page.locator("#key").fill(fleet.key)
        page.keyboard.press("Enter")
        expect(page.locator("#count")).to_have_text(re.compile("1[23] vessels"))
        # Who signs out in another tab does so in all.
        page.evaluate("localStorage.clear(); dispatchEvent(new StorageEvent('storage'))")
        expect(page.locator("#sign-in-said")).to_contain_text("signed out in another tab")
        expect(page.locator("#count")).to_be_empty()


# How many pictures a second a person gets who moves the map, and how long it takes to draw all that is on it.
_FRAMES = """async (span_ms) => {
    const frames = [], drawn = liveMap.vessels.drawn;
    for (let last = performance.now(), end = last + span_ms; last < end; ) {
        const now = await new Promise(requestAnimationFrame);
        frames.push(now - last);
        last = now;
    }
    frames.sort((one, other) => one - other);
    return { a_second: frames.length / span_ms * 1000, p95_ms: frames[Math.floor(frames.length * 0.95)],
        drawn: liveMap.vessels.drawn - drawn, vessels: liveMap.vessels.points.length };
}"""


@pytest.mark.slow
def test_ten_thousand_vessels_can_be_moved(live_service: LiveService, browser: BrowserContext):
    world = live_service.world
    register_fleet(world.database, 10_000)
    sql.run(
        world.database,
        """
        INSERT INTO latest_positions
            (vessel_id, tracker_id, recorded_at, received_at, lat, lon, sog, cog, heading, seq)
        SELECT n, n, now() - n % 1500 * interval '1 second', now(), 50 + 8 * sin(n) * sqrt(n % 97) / 10,
            5 + 12 * cos(n) * sqrt(n % 89) / 10, n % 15, n % 360, n % 360, nextval('fleet_order')
        FROM generate_series(1, 10000) AS n
        """,
    )
    page = browser.new_page()
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{live_service.base_url}/docs/live-map#map=5/52/5")
    _sign_in(page, world.key()[1])
    expect(page.locator("#count")).to_have_text("10,000 vessels")
    for zoom in (4, 5, 7):
        page.evaluate("zoom => liveMap.map.setView([52, 5], zoom, { animate: false })", zoom)
        page.wait_for_timeout(1_500)
        page.evaluate(f"() => {{ window.frames_ = ({_FRAMES})(4000); }}")
        page.mouse.move(900, 400)
        page.mouse.down()
        for step in range(280):
            page.mouse.move(900 + 250 * math.sin(step / 25), 400 + 120 * math.sin(step / 40))
            page.wait_for_timeout(10)
        page.mouse.up()
        measured = page.evaluate("window.frames_")
        print(f"zoom {zoom}: {measured}")
        assert measured["vessels"] > 1_000
        assert measured["drawn"] > 4
    page.close()
