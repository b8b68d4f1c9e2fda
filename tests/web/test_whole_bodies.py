"""A body that is taken at once is the one that Werkzeug reads, and what it refuses is refused."""

import io
import itertools
from typing import Any

import flask
import pytest
from flask import Flask
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import POSITIONS
from werkzeug.test import EnvironBuilder

from harbor_api.web.whole_bodies import Request, WholeAnswer

LENGTHS = (
    None,
    "",
    "0",
    "4",
    "5",
    "6",
    "+5",
    "-5",
    " 5",
    "5 ",
    "\u0665",
    "\u00b2",
    "0005",
    "5_0",
    "9" * 10,
    "9" * 5_000,
)
CODINGS = (None, "chunked", "gzip, chunked", "identity")
BODIES = (b"", b"1234", b"12345", b"1234567")


class Broken(io.RawIOBase):
    """A body that ends in an error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def readable(self) -> bool:
        return True

    def readinto(self, _: Any) -> int:
        raise self._error

    def read(self, _: int = -1) -> bytes:
        raise self._error


def _read(kind: type[flask.Request], environ: dict[str, Any], stream: Any, most: int | None) -> Any:
    request = kind(environ | {"wsgi.input": stream})
    request.max_content_length = most
    try:
        return request.get_data(), request.get_data()
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("is_terminated", [False, True])
def test_it_reads_what_werkzeug_reads(is_terminated: bool):
    app = Flask(__name__)
    builder = EnvironBuilder(method="POST").get_environ()
    for length, coding, most in itertools.product(LENGTHS, CODINGS, (None, 4, 5, 6)):
        environ = builder | ({} if length is None else {"CONTENT_LENGTH": length})
        environ |= {} if coding is None else {"HTTP_TRANSFER_ENCODING": coding}
        environ |= {"wsgi.input_terminated": True} if is_terminated else {}
        for body in BODIES:
            # As servers do that end a body, there is no more to read than was announced.
            ends = (
                is_terminated and length is not None and length.isascii() and length.isdigit() and not coding
            )
            whole = body[: int(length[:18] or 0)] if ends and length else body
            with app.app_context():
                told = [_read(kind, environ, io.BytesIO(whole), most) for kind in (flask.Request, Request)]
            assert told[0] == told[1], (length, coding, most, body)


@pytest.mark.parametrize(
    "error", [ConnectionResetError(), OSError("gone"), ValueError("no"), RuntimeError("late")]
)
def test_what_breaks_off_is_told_alike(error: Exception):
    environ = EnvironBuilder(method="POST", data=b"12345").get_environ() | {"wsgi.input_terminated": True}
    with Flask(__name__).app_context():
        told = [_read(kind, environ, Broken(error), 100) for kind in (flask.Request, Request)]
    assert told[0] == told[1]


def test_what_was_taken_is_there_for_all_who_read():
    environ = EnvironBuilder(method="POST", data={"a": "1"}).get_environ() | {"wsgi.input_terminated": True}
    with Flask(__name__).app_context():
        request = Request(environ)
        assert request.get_data() == request.get_data() == b"a=1"
        assert request.get_data(as_text=True) == "a=1"
        assert request.form["a"] == "1"


def test_a_plain_answer_has_the_headers_of_any_other(client: CheckedClient, world: World, monkeypatch):
    """The length is there, once, and nothing else was added that Werkzeug adds."""
    tracker = world.tracker()
    plain = client.post(POSITIONS, **tracker.signed(a_fix()))
    monkeypatch.setattr(WholeAnswer, "__call__", flask.Response.__call__)
    other = client.post(POSITIONS, **tracker.signed(a_fix()))
    assert [name for name, _ in plain.headers] == [name for name, _ in other.headers]
    assert [plain.headers["Content-Length"]] == plain.headers.getlist("Content-Length")
    assert int(plain.headers["Content-Length"]) == len(plain.data)
