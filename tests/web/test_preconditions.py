"""What a view may answer under ``revalidated``, and when nothing of it has to be made."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.codings import DECODERS

from harbor_api.web.compression import encode, stream
from harbor_api.web.preconditions import Body, Lazy, revalidated

ROWS = [b"%d,%d\r\n" % (number, number * number) for number in range(2_000)]
TAG = "0f2f6f5f7c118a534c6e9f5b1f0c9a6e"
Ask = Callable[..., Response]


@pytest.fixture(scope="module")
def bare_app() -> Flask:
    return Flask(__name__)


@pytest.fixture
def made() -> list[str | None]:
    """Return the codings in which a body had to be made so far."""
    return []


@pytest.fixture
def ask(bare_app: Flask, made: list[str | None]) -> Ask:
    def ask(body: Body | None = None, **headers: str) -> Response:
        def render(coding: Any) -> list[bytes]:
            made.append(coding)
            return [encode(b"".join(ROWS), coding)] if coding else ROWS

        known = body or Body(TAG, render, size=sum(map(len, ROWS)))

        def view() -> Response:
            return Lazy(known, mimetype="text/csv", headers={"Harbor-Now": "now", "Link": "</>"})

        return _asked(bare_app, view, headers)

    return ask


def _asked(app: Flask, view: Any, headers: dict[str, str]) -> Response:
    view._apidoc = {"response": {"responses": {200: [{"headers": {"Harbor-Now": {}, "ETag": {}}}]}}}
    with app.test_request_context(headers=[(name.replace("_", "-"), each) for name, each in headers.items()]):
        answer: Response = revalidated(view)()
        return answer


def test_a_body_is_made_in_the_coding_that_is_asked_for(ask: Ask, made):
    for coding, read in DECODERS.items():
        answer = ask(Accept_Encoding=coding)
        assert answer.headers["ETag"] == f'"{TAG}.{coding}"'
        assert answer.headers["Content-Encoding"] == coding
        assert answer.content_length == len(answer.data)
        assert read(answer.data) == b"".join(ROWS)
    answer = ask()
    assert answer.headers["ETag"] == f'"{TAG}"'
    # In its own pieces: they are joined nowhere.
    assert answer.response is ROWS
    assert answer.content_length == len(b"".join(ROWS))
    assert made == [*DECODERS, None]


@pytest.mark.parametrize("coding", [None, *DECODERS])
def test_a_body_is_not_made_for_whoever_has_it(ask: Ask, made, coding):
    accepted = {"Accept_Encoding": coding} if coding else {}
    tag = f'"{TAG}.{coding}"' if coding else f'"{TAG}"'
    for named in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        answer = ask(**accepted, If_None_Match=named)
        assert (answer.status_code, answer.data) == (304, b"")
        headers = dict(answer.headers)
        # What tells of the moment goes along, what tells of a body does not.
        assert headers.pop("Content-Length", "0") == "0"
        assert headers == {
            "ETag": tag,
            "Cache-Control": "private, no-cache",
            "Vary": "Authorization, Accept, Accept-Encoding",
            "Harbor-Now": "now",
        }
    assert made == []


def test_the_document_tells_of_the_moment_on_304_too():
    def view() -> Response:
        return Response()

    headers = {"ETag": {}, "Harbor-Now": {}, "Link": {}}
    view._apidoc = {"response": {"responses": {200: [{"headers": headers}]}}}
    answers = revalidated(view)._apidoc["response"]["responses"]
    assert {*answers[200][0]["headers"]} == {*headers, "Content-Encoding", "Cache-Control", "Vary"}
    assert {*answers[304][0]["headers"]} == {"ETag", "Harbor-Now", "Cache-Control", "Vary"}


def test_a_body_has_its_own_order_of_codings(ask: Ask):
    body = Body(TAG, lambda coding: [], order=("gzip", "zstd", "br"))
    assert ask(body, Accept_Encoding="zstd, gzip").headers["ETag"] == f'"{TAG}.gzip"'


class TestStream:
    """Coded as it goes; its tag is one that the view has told, or none."""

    @pytest.mark.parametrize("tag", [None, TAG])
    @pytest.mark.parametrize("coding", [None, *DECODERS])
    def test_flows(self, ask: Ask, bare_app: Flask, tag, coding):
        sent = []

        def rows() -> Iterator[bytes]:
            for row in ROWS:
                sent.append(row)
                yield row

        def view() -> Response:
            if tag is None:
                return Response(rows(), mimetype="text/csv")
            return Lazy(
                Body(tag, lambda coding: stream(rows(), coding) if coding else rows()), mimetype="text/csv"
            )

        answer = _asked(bare_app, view, {"Accept_Encoding": coding} if coding else {})
        assert answer.is_streamed
        pieces = answer.iter_encoded()
        first = next(pieces)
        assert len(sent) == 1
        assert DECODERS.get(coding, bytes)(b"".join([first, *pieces])) == b"".join(ROWS)
        assert answer.headers.get("Content-Encoding") == coding
        assert "Content-Length" not in answer.headers
        assert answer.headers["Cache-Control"] == "private, no-cache"
        suffix = f".{coding}" if coding else ""
        assert answer.headers.get("ETag") == (tag and f'"{tag}{suffix}"')

    def test_ends_where_its_reader_does(self, bare_app: Flask):
        ended = []

        def rows() -> Iterator[bytes]:
            try:
                yield from ROWS
            finally:
                ended.append(True)

        source = rows()
        answer = _asked(bare_app, lambda: Response(source, mimetype="text/csv"), {"Accept_Encoding": "gzip"})
        next(answer.iter_encoded())
        answer.close()
        assert ended == [True]


_TAGS = st.builds(
    lambda weak, tag: f'{weak}"{tag}"',
    st.sampled_from(["", "W/"]),
    st.one_of(
        st.sampled_from([TAG + "x", TAG[:-1], f"{TAG}.gzip", "*", ""]), st.text("ab,*!#/-", max_size=9)
    ),
)
_BETWEEN = st.sampled_from([",", ", ", " ,\t", ",,", ", , "])


@given(st.lists(_TAGS, max_size=6), st.data())
def test_a_list_names_each_of_its_tags(bare_app: Flask, others: list[str], data: st.DataObject):
    named = others.copy()
    is_named = data.draw(st.booleans())
    if is_named:
        place = data.draw(st.integers(0, len(others)))
        named.insert(place, data.draw(st.sampled_from([f'"{TAG}"', f'W/"{TAG}"'])))
    text = "".join(part for each in named for part in (each, data.draw(_BETWEEN)))
    assert _status(bare_app, text) == (304 if is_named else 200), text


@given(st.text('"W/*,\\ \tx\xe5\xff0', max_size=60))
@example('"x", *')
@example("*, *")
@example("W/*")
@example('"*"')
def test_garbage_names_nothing(bare_app: Flask, garbage: str):
    """A star stands for whatever there is only where it stands alone."""
    assert _status(bare_app, garbage) == (304 if garbage.strip() == "*" else 200)


@pytest.mark.parametrize("tag", [f'"{TAG}"', "*"])
@pytest.mark.parametrize("filling", ['"', '",', ",", "W/", "*", "x", " ", '"x",'])
def test_a_list_of_800_kb_is_read_in_no_time(bare_app: Flask, filling: str, tag: str):
    # A hundred header lines of 8 kB: what the server lets in. The test's time-out is its only clock.
    assert _status(bare_app, filling * (800_000 // len(filling))) == 200
    assert _status(bare_app, filling * 2_000 + f', "{TAG[1:]}", {tag}') in {200, 304}


def _status(app: Flask, named: str) -> int:
    def view() -> Response:
        return Lazy(Body(TAG, lambda coding: []), mimetype="text/csv")

    return _asked(app, view, {"If_None_Match": named}).status_code
