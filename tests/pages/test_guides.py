"""What people read beside the reference: complete, true to the settings, and each of its commands runs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from tests.following.conftest import CLIENTS
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.live_service import LiveService
from tests.support.signed_posts import send

from harbor_api.app import create_app
from harbor_api.domain.errors import HarborError
from harbor_api.domain.times import rfc3339
from harbor_api.pages.guides import GUIDES
from harbor_api.server.service import message
from harbor_api.settings import Settings, SettingsError
from harbor_api.web import runtime

_NAMES = [guide.name for guide in GUIDES]
_QUESTIONS = 15


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", _NAMES)
def test_a_guide_is_a_page_and_its_markdown(client: CheckedClient, name):
    page, written = client.get(f"/docs/{name}"), client.get(f"/docs/{name}.md")
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert (written.status_code, written.mimetype) == (200, "text/markdown")
    title = written.text.partition("\n")[0].removeprefix("# ")
    assert f"{title}</h1>" in page.text
    assert "{{" not in written.text
    assert "{%" not in written.text
    for answer in (page, written):
        again = client.get(answer.request.path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("name", _NAMES)
def test_every_link_of_a_guide_leads_somewhere(client: CheckedClient, name):
    page = client.get(f"/docs/{name}").text
    for href in re.findall(r'href="([^"]+)"', page):
        if href.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = href.partition("#")
        # The twin in OpenAPI 3.0 and the like are pages of ours, too.
        with client.get(path or f"/docs/{name}") as answer:
            assert answer.status_code == 200, href
            if anchor:
                assert f'id="{anchor}"' in answer.text, href


def test_the_pages_run_nothing_and_ask_for_nothing_from_outside(client: CheckedClient):
    for name in _NAMES:
        page = client.get(f"/docs/{name}")
        assert "<script" not in page.text
        assert re.findall(r'<(?:link|img)[^>]+(?:href|src)="https?:', page.text) == []
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_an_unknown_guide_is_a_problem(client: CheckedClient):
    for path in (
        "/docs/nothing",
        "/docs/nothing.md",
        "/docs/signing/nothing",
        "/docs/signing/..%2fCHANGELOG.md",
        "/docs/following/harbor_sign.py",
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
        assert "/docs" in answer.json["detail"]


def test_every_question_has_an_answer_that_says_where_it_stands(client: CheckedClient):
    text = client.get("/docs/questions.md").text
    questions = [section.partition("\n\n") for section in text.split("\n## ")[1:]]
    assert len(questions) == _QUESTIONS
    assert all(question.endswith("?") and answer.strip() for question, _, answer in questions)


def test_every_code_is_explained(client: CheckedClient):
    text = client.get("/docs/errors.md").text
    for kind in HarborError.by_code.values():
        assert f"| {kind.status} | `{kind.code}` |" in text
        assert re.search(rf"^\| .*\b{kind.status}\b.* \|", text, re.MULTILINE)


def test_the_problem_that_is_shown_is_the_one_that_comes(client: CheckedClient, world: World):
    [shown] = map(json.loads, _blocks(client.get("/docs/errors.md").text, "json"))
    answer = client.get("/api/v1/vessels?colour=red", headers=world.bearer())
    assert answer.json == {**shown, "request_id": answer.json["request_id"]}


def test_the_longest_request_line_that_is_told_is_the_one_that_is_taken(client: CheckedClient):
    for name in ("limits", "errors"):
        assert f"{message.MAX_REQUEST_LINE:,} bytes" in client.get(f"/docs/{name}.md").text


def _with(app: Flask, monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
    now = runtime.of(app)
    changed = replace(now, settings=replace(now.settings, **settings))
    monkeypatch.setitem(app.extensions, runtime.NAME, changed)


def test_figures_are_those_of_this_service(app: Flask, client: CheckedClient, monkeypatch):
    _with(
        app,
        monkeypatch,
        stale_after_s=1234,
        key_requests_per_minute=77,
        cors_origins=("https://map.example",),
        support_contact="mailto:fleet@harbor.example",
        terms_of_service="https://harbor.example/terms",
    )
    questions = client.get("/docs/questions.md").text
    assert "After 1234." in questions
    assert "77 requests a minute" in questions
    assert "[fleet@harbor.example](mailto:fleet@harbor.example)" in questions
    assert "[the terms](https://harbor.example/terms)" in questions
    assert "`https://map.example`" in client.get("/docs/limits.md").text
    assert 'href="mailto:fleet@harbor.example"' in client.get("/docs/questions").text


def test_what_is_not_set_is_said_so(client: CheckedClient):
    questions = client.get("/docs/questions.md").text
    assert "`HARBOR_SUPPORT_CONTACT`" in questions
    assert "`HARBOR_TERMS_OF_SERVICE`" in questions


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HARBOR_SUPPORT_CONTACT", "fleet@harbor.example"),
        ("HARBOR_SUPPORT_CONTACT", "mailto:a@b](javascript:alert(1))"),
        ("HARBOR_TERMS_OF_SERVICE", "http://harbor.example"),
        ("HARBOR_TERMS_OF_SERVICE", "https://harbor.example/)[x](y"),
    ],
)
def test_an_address_that_is_none_stops_the_start(variable, value):
    with pytest.raises(SettingsError, match=variable):
        Settings.from_environ({variable: value})


def test_the_document_names_whom_to_ask_and_the_terms(document):
    assert document["info"]["contact"] == {"name": "The operator of this service"}
    assert "termsOfService" not in document["info"]
    for contact, member in (("mailto:fleet@harbor.example", "email"), ("https://harbor.example/help", "url")):
        settings = Settings(
            database_url="postgresql:///nothing",
            tracker_master_key=bytes(32),
            support_contact=contact,
            terms_of_service="https://harbor.example/terms",
        )
        info = json.loads(runtime.of(create_app(settings)).document)["info"]
        assert info["contact"][member] == contact.removeprefix("mailto:")
        assert info["termsOfService"] == "https://harbor.example/terms"


def test_the_clients_that_follow_can_be_fetched(client: CheckedClient):
    for name, kind in (("follow.js", "text/javascript"), ("follow.py", "text/plain")):
        with client.get(f"/docs/following/{name}") as answer:
            assert (answer.status_code, answer.mimetype) == (200, kind)
            assert answer.data == (CLIENTS / name).read_bytes()


def test_the_kit_can_be_fetched(client: CheckedClient):
    page = client.get("/docs/signing").text
    files = re.findall(r'href="(/docs/signing/[^"]+)"', page)
    assert "/docs/signing/harbor_sign.py" in files
    for file in files:
        with client.get(file) as answer:
            assert (answer.status_code, answer.mimetype) == (200, "text/plain")


class TestHome:
    def test_programs_are_told_where_everything_is(self, client: CheckedClient):
        for accept in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
            answer = client.get("/", headers=accept)
            assert (answer.status_code, answer.mimetype) == (200, "application/json")
            links = {link["rel"]: link["href"] for link in answer.json["links"]}
            assert links.keys() == {
                "service-desc",
                "service-doc",
                "help",
                "related",
                "status",
                "version-history",
            }
            for href in links.values():
                with client.get(href) as there:
                    assert there.status_code == 200
                assert f"<{href}>" in answer.headers["Link"]

    def test_browsers_are_led_to_the_documentation_whatever_host_they_name(self, client: CheckedClient):
        accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
        answer = client.get("/", headers={"Accept": accept, "Host": "evil.example"})
        assert (answer.status_code, answer.headers["Location"]) == (302, "/docs")
        assert "evil" not in answer.text + str(answer.headers)

    def test_an_unknown_address_names_the_documentation(self, client: CheckedClient):
        for path in ("/nothing", "/api", "/api/v1", "/api/v2/vessels", "/docs/a/b/c"):
            answer = client.get(path)
            assert (answer.status_code, "/docs" in answer.json["detail"]) == (404, True)


@pytest.mark.process
class TestGettingStarted:
    """Every snippet of the page, run as printed."""

    @pytest.fixture
    def environ(self, live_service: LiveService) -> dict[str, str]:
        live_service.world.vessel("Skagerrak Trader")
        _, key = live_service.world.key()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HARBOR_")}
        return {**kept, "API": live_service.base_url, "KEY": key}

    @pytest.fixture
    def page(self, live_service: LiveService) -> str:
        text: str = live_service.http.get("/docs/getting-started.md").text
        return text

    def test_curl(self, environ, page):
        first, *commands = _blocks(page, "sh")
        assert first.startswith("export API=")
        assert len(commands) == 3
        for command in commands:
            ran = subprocess.run(
                ["sh", "-euc", command], env=environ, check=False, capture_output=True, text=True
            )
            assert ran.returncode == 0, ran.stderr
            assert '"scopes"' in ran.stdout or "Skagerrak Trader" in ran.stdout

    def test_python(self, environ, page, tmp_path: Path):
        [program] = _blocks(page, "python")
        ran = subprocess.run(
            [sys.executable, "-c", program], env=environ, check=False, capture_output=True, text=True
        )
        assert ran.stdout == "Skagerrak Trader was never seen\n", ran.stderr

    @pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine")
    def test_javascript(self, environ, page, tmp_path: Path):
        [program] = _blocks(page, "javascript")
        (tmp_path / "first.mjs").write_text(program)
        ran = subprocess.run(
            ["node", "first.mjs"], env=environ, cwd=tmp_path, check=False, capture_output=True, text=True
        )
        assert ran.stdout == "Skagerrak Trader was never seen\n", ran.stderr


@pytest.fixture(scope="module")
def reported(module_service: LiveService) -> int:
    """Return a vessel that was under way for a minute, and again after two hours."""
    world = module_service.world
    vessel = world.vessel("Skagerrak Trader")
    tracker = world.tracker(vessel)
    fixes = [a_fix(seconds) for seconds in (0, 30, 60, 7_260, 7_290)]
    signed = tracker.signed({"fixes": fixes})
    answer = module_service.http.post(
        "/api/v1/positions/batch", content=signed["data"], headers=signed["headers"]
    )
    assert {each["verdict"] for each in answer.json()["verdicts"]} == {"stored"}
    return vessel.id


@pytest.fixture(scope="module")
def reader(module_service: LiveService, reported: int) -> dict[str, str]:
    _, key = module_service.world.key(vessel_ids=frozenset({reported}))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HARBOR_")}
    return {**kept, "API": module_service.base_url, "KEY": key, "PAUSE": "0"}


@pytest.mark.process
class TestReading:
    """Every snippet of the guides about reading, run as printed but for the vessel's number."""

    def _run(self, module_service: LiveService, vessel: int, guide: str, language: str) -> list[str]:
        text = module_service.http.get(f"/docs/{guide}.md").text
        return [
            block.replace("/vessels/1/", f"/vessels/{vessel}/").replace(
                "vessel_id=1,2", f"vessel_id={vessel},2"
            )
            for block in _blocks(text, language)
        ]

    @pytest.mark.parametrize(
        ("guide", "told"),
        [
            ("reading-the-fleet", ["200\n304\n304\n", "Skagerrak Trader", "as_of"]),
            ("history", ["positions", ""]),
            ("tracks", ["coordTimes", "interpolated", "", "distance_m"]),
        ],
    )
    def test_curl(self, module_service, reported, reader, tmp_path: Path, guide, told):
        commands = self._run(module_service, reported, guide, "sh")
        assert len(commands) == len(told)
        for command, expected in zip(commands, told, strict=True):
            ran = subprocess.run(
                ["sh", "-euc", command.replace("curl -sS", "curl -sSf")],
                env=reader,
                cwd=tmp_path,
                check=False,
                capture_output=True,
                text=True,
            )
            assert (ran.returncode, expected in ran.stdout) == (0, True), (command, ran)
        for file in tmp_path.glob("*.csv"):
            assert len(file.read_text().splitlines()) == 1 + 5
        for file in tmp_path.glob("*.gpx"):
            assert file.read_text().count("<trkpt") == 5

    @pytest.mark.parametrize(
        ("guide", "told"),
        [
            ("reading-the-fleet", "changed: 1 vessels\nunchanged\nunchanged\n"),
            ("history", "5 fixes\n"),
            ("tracks", "gap 2026-01-02T"),
        ],
    )
    def test_python(self, module_service, reported, reader, guide, told):
        [program] = self._run(module_service, reported, guide, "python")
        ran = subprocess.run(
            [sys.executable, "-c", program], env=reader, check=False, capture_output=True, text=True
        )
        assert told in ran.stdout, ran

    @pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine")
    @pytest.mark.parametrize(
        ("guide", "told"),
        [
            ("reading-the-fleet", "changed: 1 vessels\nunchanged\nunchanged\n"),
            ("history", "5 fixes\n"),
            ("tracks", "2 to draw, 1 to dash\n"),
        ],
    )
    def test_javascript(self, module_service, reported, reader, tmp_path: Path, guide, told):
        [program] = self._run(module_service, reported, guide, "javascript")
        (tmp_path / "first.mjs").write_text(program)
        ran = subprocess.run(
            ["node", "first.mjs"], env=reader, cwd=tmp_path, check=False, capture_output=True, text=True
        )
        assert told in ran.stdout, ran


@pytest.fixture
def reports(module_service: LiveService, reported: int) -> Iterator[None]:
    """Let a vessel report, five times a second, for as long as somebody follows."""
    tracker = module_service.world.tracker(module_service.world.vessel("Reporter"))
    is_over = threading.Event()

    def report() -> None:
        while not is_over.wait(0.2):
            send(module_service.http, tracker.signed({**a_fix(), "recorded_at": rfc3339(datetime.now(UTC))}))

    reporter = threading.Thread(target=report)
    reporter.start()
    yield
    is_over.set()
    reporter.join()


@pytest.mark.process
class TestFollowing:
    """Every snippet of the guide, run as printed: some end, the others tell of what is reported meanwhile."""

    @pytest.fixture
    def page(self, module_service: LiveService) -> str:
        text: str = module_service.http.get("/docs/following.md").text
        return text

    @pytest.fixture
    def environ(self, module_service: LiveService) -> dict[str, str]:
        _, key = module_service.world.key()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HARBOR_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        return {**kept, "PATH": path, "API": module_service.base_url, "KEY": key}

    @pytest.fixture
    def run(self, environ: dict[str, str], tmp_path: Path) -> Callable[..., str]:
        def run(*command: str, until: str | None = None) -> str:
            """Return what a command says up to its end, or up to some words, when it is ended."""
            with subprocess.Popen(
                command,
                cwd=tmp_path,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            ) as process:
                assert process.stdout is not None
                end = threading.Timer(30, os.killpg, (process.pid, signal.SIGKILL))
                end.start()
                said = ""
                for line in process.stdout:
                    said += line
                    if until is not None and until in line:
                        os.killpg(process.pid, signal.SIGKILL)
                        break
                end.cancel()
            assert until is not None or process.returncode == 0, said
            assert until is None or until in said
            return said

        return run

    def test_what_is_shown_is_what_comes(self, module_service, reports, environ, page):
        [shown] = map(json.loads, _blocks(page, "json"))
        query, headers = {"from": "2026-01-01T00:00:00Z"}, {"Authorization": f"Bearer {environ['KEY']}"}
        told = module_service.http.get("/api/v1/positions", params=query, headers=headers).json()
        assert told.keys() == shown.keys()
        assert told["items"][0].keys() == shown["items"][0].keys()

    def test_curl(self, reports, run, page, tmp_path: Path):
        begin, look, fetch, write, _ = _blocks(page, "sh")
        assert '"next"' in run("sh", "-euc", begin.replace("curl -sS", "curl -sSf"))
        run("sh", "-euc", look, until='"op":"upsert"')
        run("sh", "-euc", fetch.replace("curl -sS", "curl -sSf"))
        for name in ("follow.js", "follow.py"):
            assert (tmp_path / name).read_bytes() == (CLIENTS / name).read_bytes()
        written = tmp_path / "positions.jsonl"
        run(
            "sh",
            "-euc",
            f"{write.strip()} & while ! grep -s upsert {written.name}; do sleep 0.1; done",
            until="upsert",
        )
        assert json.loads((tmp_path / "positions.jsonl.cursor").read_text())["cursor"]

    def test_a_named_consumer(self, reports, run, page):
        *_, named = _blocks(page, "sh")
        said = run("sh", "-euc", named.replace("curl -sS", "curl -sSf"))
        made, told, moved, stands = (json.loads(line) for line in said.splitlines())
        assert (made["name"], moved["cursor"], stands["cursor"]) == ("warehouse", told["next"], told["next"])

    def test_python(self, reports, run, page, tmp_path: Path):
        shutil.copy(CLIENTS / "follow.py", tmp_path)
        feed, stream = _blocks(page, "python")
        for _ in range(2):
            run(sys.executable, "-c", feed, until="upsert ")
        run(sys.executable, "-c", stream, until="upsert ")

    @pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine")
    def test_javascript(self, reports, run, page, tmp_path: Path):
        shutil.copy(CLIENTS / "follow.js", tmp_path)
        for number, program in enumerate(_blocks(page, "javascript")):
            (tmp_path / f"{number}.mjs").write_text(program)
            said = run("node", f"{number}.mjs", until="upsert ")
        assert "Reporter is " in said

    def test_a_loss_is_told_by_the_loops(self, module_service, run, page, tmp_path: Path):
        [python, _], [javascript, _] = _blocks(page, "python"), _blocks(page, "javascript")
        lost = "2020-01-01T00:00:00Z"
        (tmp_path / "0.mjs").write_text(javascript.replace('from: "now"', f'from: "{lost}"'))
        database = module_service.world.database
        sql.run(database, "INSERT INTO feed_floor SELECT 1, max(seq), now() FROM positions")
        try:
            run(sys.executable, "-c", python.replace('"now"', f'"{lost}"'), until="lost: all before 20")
            if shutil.which("node"):
                run("node", "0.mjs", until="lost: all before 20")
        finally:
            sql.run(database, "DELETE FROM feed_floor")
