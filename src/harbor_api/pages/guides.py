"""What people read beside the reference: guides, the firmware page and the API's changelog.

They are written in Markdown in ``openapi/``, shown as pages, and given out as they are written at the same
address with ``.md``. A guide's figures are filled in from the settings, so that it tells of this service.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

from flask import Blueprint, Response, abort, render_template, request, send_from_directory
from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token

from harbor_api import __version__
from harbor_api.settings import Settings
from harbor_api.web import problems, representations
from harbor_api.web.runtime import current

blueprint = Blueprint("guides", __name__)


@dataclass(frozen=True, slots=True)
class Guide:
    """A page: its address below ``/docs``, its name in lists, its file, and whether it has figures."""

    name: str
    title: str
    file: str
    has_figures: bool = True


GUIDES = (
    Guide("getting-started", "Getting started", "guides/getting-started.md"),
    Guide("reading-the-fleet", "Reading the fleet", "guides/reading-the-fleet.md"),
    Guide("following", "Following", "guides/following.md"),
    Guide("history", "Reading history", "guides/history.md"),
    Guide("tracks", "Tracks, gaps and distances", "guides/tracks.md"),
    Guide("questions", "Questions", "guides/questions.md"),
    Guide("times-and-units", "Times, units and values", "guides/times-and-units.md"),
    Guide("limits", "Limits and polling", "guides/limits.md"),
    Guide("errors", "Errors and retries", "guides/errors.md"),
    Guide("signing", "Signing: for firmware writers", "firmware/README.md", has_figures=False),
    Guide("versions", "Versions and changes", "guides/versions.md"),
    Guide("changelog", "Changelog of the API", "CHANGELOG.md", has_figures=False),
)
_BY_NAME = {guide.name: guide for guide in GUIDES}
_MAX_AGE_S = 300
# Nothing on these pages runs.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_figures = Environment(autoescape=False, undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701  # Markdown: the page's own HTML is escaped when that is rendered


@blueprint.get("/docs/<name>")
def page(name: str) -> Response:
    """Serve a guide as a page."""
    guide = _guide(name)
    html = render_template(
        "guide.html", guide=guide, guides=GUIDES, body=_as_html(guide, _markdown(guide, current().settings))
    )
    response = _answer(html, "text/html")
    response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
    response.headers["Link"] = f'</docs/{name}.md>; rel="alternate"; type="text/markdown"'
    return response


@blueprint.get("/docs/<name>.md")
def markdown(name: str) -> Response:
    """Serve a guide as it is written, with its figures."""
    return _answer(_markdown(_guide(name), current().settings), "text/markdown")


@blueprint.get("/docs/signing/<name>")
def kit(name: str) -> Response:
    """Serve a file of the firmware kit."""
    return _file("firmware", name)


@blueprint.get("/docs/following/<name>")
def client(name: str) -> Response:
    """Serve a client that follows, to copy, or for a page to import."""
    return _file("examples", name)


def _file(folder: str, name: str) -> Response:
    if name not in _files(folder):
        abort(404)
    kind = "text/javascript" if name.endswith(".js") else "text/plain"
    return send_from_directory(
        representations.published() / folder, name, mimetype=f"{kind}; charset=utf-8", max_age=_MAX_AGE_S
    )


def _guide(name: str) -> Guide:
    if name not in _BY_NAME:
        abort(404)
    return _BY_NAME[name]


def _answer(text: str, media_type: str) -> Response:
    response = Response(text, content_type=f"{media_type}; charset=utf-8")
    response.headers["Cache-Control"] = f"public, max-age={_MAX_AGE_S}"
    response.add_etag()
    response.make_conditional(request)
    return response


@lru_cache(maxsize=2 * len(GUIDES))
def _markdown(guide: Guide, settings: Settings) -> str:
    # Both are made once for each page: anybody may ask for them, and often.
    text = (representations.published() / guide.file).read_text(encoding="utf-8")
    if not guide.has_figures:
        return text
    return _figures.from_string(text).render(
        version=__version__,
        stale_after_s=settings.stale_after_s,
        future_tolerance_s=settings.future_tolerance_s,
        oldest_fix_days=settings.oldest_fix_days,
        key_requests_per_minute=settings.key_requests_per_minute,
        tracker_requests_per_minute=settings.tracker_requests_per_minute,
        streams_per_key=settings.streams_per_key,
        stream_minutes=round(settings.stream_s / 60),
        failures_per_minute=settings.failures_per_minute,
        cors_origins=settings.cors_origins,
        contact=_contact(settings.support_contact),
        terms_of_service=settings.terms_of_service,
        codes=problems.table(),
    )


def _contact(address: str | None) -> str:
    if address is None:
        return "the operator of this service, who has named no address with `HARBOR_SUPPORT_CONTACT`"
    return f"[{address.removeprefix('mailto:')}]({address})"


@lru_cache(maxsize=2 * len(GUIDES))
def _as_html(guide: Guide, text: str) -> str:
    """Return Markdown as HTML: headings have an anchor, and nothing in it is taken for HTML."""
    machine = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = machine.parse(text)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", re.sub(r"[^a-z0-9_]+", "-", inline.content.lower()).strip("-"))
    if guide.name == "signing":
        _name_kit(tokens)
    html: str = machine.renderer.render(tokens, machine.options, {})
    # A table that is wider than a phone scrolls by itself.
    return html.replace("<table>", '<div class="table"><table>').replace("</table>", "</table></div>")


def _name_kit(tokens: Sequence[Token]) -> None:
    """Let links to files of the kit, which stand beside the page in the repository, lead to them here."""
    for token in (child for each in tokens for child in each.children or ()):
        if token.type == "link_open" and token.attrs["href"] in _files("firmware"):
            token.attrSet("href", f"/docs/signing/{token.attrs['href']}")


@cache
def _files(folder: str) -> frozenset[str]:
    folder_of = representations.published() / folder
    return frozenset(each.name for each in folder_of.iterdir() if each.is_file())
