"""Both parsers of text/event-stream read any stream as the standard says, wherever its bytes are cut."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.following.conftest import CLIENTS, node

Parse = Callable[[list[bytes]], Any]
_PARSER = CLIENTS.parents[1] / "tests" / "following" / "parse.mjs"
_ENDS = ("\n", "\r", "\r\n")
# Line ends of other standards are none of this one.
_TEXT = st.text(st.sampled_from('aZ0 :,{}"é€𝄞\x0b\x0c\x1c\x85\u2028\ufeff\0'), max_size=8)


@pytest.fixture(scope="module")
def by_javascript() -> Iterator[Parse]:
    """Return the parser of follow.js, in one process for all that it reads."""
    with subprocess.Popen(
        [node(), _PARSER, CLIENTS / "follow.js"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        given_to, told_by = process.stdin, process.stdout

        def parse(chunks: list[bytes]) -> Any:
            given_to.write(json.dumps([base64.b64encode(chunk).decode() for chunk in chunks]) + "\n")
            given_to.flush()
            return json.loads(told_by.readline())

        yield parse
        given_to.close()


@pytest.fixture(scope="module")
def by_python(follow_py: ModuleType) -> Parse:
    def parse(chunks: list[bytes]) -> Any:
        parser = follow_py.EventParser()
        events = [list(event) for chunk in chunks for event in parser.push(chunk)]
        return [events, parser.retry_s]

    return parse


def _expected(lines: list[str]) -> Any:
    """Return what HTML 9.2.6 makes of whole lines, step by step, and one that has no end left out."""
    events, retry_s = [], 4.0
    kind, data, last = "", "", ""
    for line in lines:
        if line == "":
            # An event without data is none, but its id counts.
            events.append([(kind or "message") if data else "", data.removesuffix("\n"), last])
            kind = data = ""
            continue
        field, colon, value = line.partition(":")
        if colon and value[:1] == " ":
            value = value[1:]
        match field:
            case "event":
                kind = value
            case "data":
                data += value + "\n"
            case "id" if "\0" not in value:
                last = value
            case "retry" if value and set(value) <= set("0123456789"):
                retry_s = int(value) / 1000
    return [events, retry_s]


_LINES = st.lists(
    st.one_of(
        st.just(""),
        st.builds(
            "{}{}{}".format,
            st.sampled_from(["data", "data", "event", "id", "retry", "", "other", " data", "datas"]),
            st.sampled_from([": ", ":", ":  ", ""]),
            _TEXT | st.sampled_from(["7000", "12x", "٣"]),
        ),
    ),
    max_size=12,
)


# The first of them waits for node to start.
@settings(deadline=None)
@given(
    lines=_LINES,
    ends=st.lists(st.sampled_from(_ENDS), min_size=12, max_size=12),
    is_marked=st.booleans(),
    rest=st.sampled_from(["", "data: unfinished"]),
    cuts=st.lists(st.integers(0, 400), max_size=20),
)
def test_a_stream_is_read_the_same_wherever_it_is_cut(
    by_javascript: Parse, by_python: Parse, lines, ends, is_marked, rest, cuts
):
    text = "".join(line + end for line, end in zip(lines, ends, strict=False))
    sent = (("\ufeff" if is_marked else "") + text + rest).encode()
    places = sorted({0, *(cut for cut in cuts if cut < len(sent)), len(sent)})
    chunks = [sent[begin:end] for begin, end in pairwise(places)]
    # Two line ends of one letter each may make one of two.
    read = text.removeprefix("\ufeff") if not is_marked else text
    whole = read.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    expected = _expected(whole)
    assert by_python(chunks) == expected
    assert by_javascript(chunks) == expected


def test_every_cut_of_one_stream(by_javascript: Parse, by_python: Parse):
    head = "\ufeff: x\r\nid: 1\rretry: 9\r\n\r\n"
    sent = (head + "data: é€𝄞\ndata\ndata:  b\r\revent: e\ndata:\n\nid: 2\0\n\n").encode()
    expected = by_python([sent])
    assert expected == [[["", "", "1"], ["message", "é€𝄞\n\n b", "1"], ["e", "", "1"], ["", "", "1"]], 0.009]
    ways = [[sent[:cut], sent[cut:]] for cut in range(len(sent))] + [[bytes([each]) for each in sent]]
    for chunks in ways:
        assert by_python(chunks) == expected
        assert by_javascript(chunks) == expected


def test_bytes_that_are_no_utf_8_cost_no_event(by_javascript: Parse, by_python: Parse):
    chunks = [b"data: a\xff\xe2\x82", b"b\n\ndata: c\xf0\n\n"]
    expected = [[["message", "a\ufffd\ufffdb", ""], ["message", "c\ufffd", ""]], 4.0]
    assert by_python(chunks) == expected
    assert by_javascript(chunks) == expected
