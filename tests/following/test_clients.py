"""What both clients do with whatever a service, or what stands before it, may answer."""

from email.utils import formatdate

import pytest
from tests.following.conftest import Client
from tests.following.scripted import (
    NOT_KNOWN,
    Act,
    Scripted,
    frame,
    hello,
    performing,
    position,
    refusal,
    stream,
)


def _begun(service: Scripted) -> list[str | None]:
    return [asked.begins for asked in service.asked]


def test_each_connection_goes_on_behind_the_last_item(follow: Client):
    quiet = frame("heartbeat", {"now": "2026-01-02T03:04:05.000000Z"}, "c3")
    with performing(
        [stream(hello("c0"), position(1), position(2), quiet), stream(position(4), ends=False), []]
    ) as service:
        heard = follow(url=service.base_url, filters={"bbox": "1,2,3,4", "kind": "cargo"}, maxRate=30)
    assert heard.numbers == [1, 2, 4]
    assert _begun(service) == [None, "c3", "c4", "c4"]
    assert heard.end[1]["message"] == f"HTTP 401: {NOT_KNOWN}"
    for asked in service.asked:
        assert asked.path == "/api/v1/positions/stream"
        assert asked.query == {"bbox": "1,2,3,4", "kind": "cargo", "max_rate": "30"}
        assert asked.headers["authorization"] == "Bearer hbr_k"
        assert asked.headers["accept"] == "text/event-stream"


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({}, {}),
        ({"cursor": "k"}, {"cursor": "k"}),
        ({"from": "now"}, {"from": "now"}),
        ({"snapshot": True, "from": "now"}, {"from": "now", "snapshot": "true"}),
        ({"snapshot": True, "cursor": "k"}, {"cursor": "k"}),
    ],
)
def test_it_begins_where_it_is_told(follow: Client, options, query):
    with performing([]) as service:
        follow(url=service.base_url + "/", **options)
    assert [asked.query for asked in service.asked] == [query]


def test_a_snapshot_that_was_cut_comes_again_and_one_that_was_whole_does_not(follow: Client):
    vessel, live = frame("vessel", {"id": 7}), frame("live", {"cursor": "c1"}, "c1")
    with performing(
        [stream(hello(None), vessel, ends=False), stream(hello(None), vessel, live), []]
    ) as service:
        heard = follow(url=service.base_url, snapshot=True)
    assert [name for name, *_ in heard.told if name in {"vessel", "live"}] == ["vessel", "vessel", "live"]
    assert _begun(service) == [None, None, "c1", "c1"]
    assert [asked.query for asked in service.asked] == [{"snapshot": "true"}] * 2 + [{}] * 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 414])
def test_what_can_never_work_is_said_and_not_tried_again(follow: Client, status):
    with performing([refusal(status, code="of_its_own", detail="It is so.")]) as service:
        heard = follow(url=service.base_url)
    assert heard.end == (
        "raised",
        {"message": f"HTTP {status}: It is so.", "status": status, "code": "of_its_own"},
    )
    assert len(service.asked) == 1


@pytest.mark.parametrize("status", [408, 429, 503])
def test_it_waits_for_as_long_as_the_service_asks(follow: Client, status):
    date = formatdate(4_000_000_000, usegmt=True)
    script = [refusal(status, f"Retry-After: {after}") for after in ("17", date, "soon", "-5")]
    with performing(script) as service:
        heard = follow(url=service.base_url)
    first, second, *others = heard.waits()
    assert (first, second) == (17, 86_400)
    assert all(0 < wait <= 8 for wait in others)
    assert len(service.asked) == 5


def test_it_waits_longer_each_time_until_a_frame_has_come(follow: Client):
    nothing: list[Act] = [[], refusal(500), [b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nlog in"]]
    wrong = stream(b"data: {\n\n")
    with performing([*nothing, *nothing, wrong, stream(hello()), *nothing]) as service:
        heard = follow(url=service.base_url)
    longest = [1, 2, 4, 8, 16, 30, 30, 1, 2, 4, 8]
    waits = heard.waits()
    assert all(most / 2 <= wait <= most for wait, most in zip(waits, longest, strict=True)), waits


@pytest.mark.parametrize(
    ("then", "begun", "end"),
    [
        ("stop", ["old"], {"status": 410, "code": "cursor_expired"}),
        ("oldest", ["old", "kept"], {"status": 401}),
        ("anew", ["old", None], {"status": 401}),
    ],
)
def test_a_loss_is_told_and_whoever_is_told_decides(follow: Client, then, begun, end):
    loss = {"oldest": "kept", "oldest_at": "2026-01-02T03:04:05.000000Z"}
    with performing([refusal(410, code="cursor_expired", detail="It is gone.", **loss)]) as service:
        heard = follow(url=service.base_url, cursor="old", snapshot=True, afterLoss=then)
    assert heard.of("reset") == [{"reason": "cursor_expired", **loss}]
    assert heard.end[1].items() >= end.items()
    assert _begun(service) == begun
    assert service.asked[-1].query.get("snapshot") == ("true" if then == "anew" else None)


@pytest.mark.parametrize(("then", "begun"), [("stop", []), ("oldest", ["kept"]), ("anew", [None])])
def test_a_loss_that_the_stream_tells_is_the_same(follow: Client, then, begun):
    loss = {"reason": "cursor_unknown", "oldest": "kept", "oldest_at": None}
    with performing([stream(hello("c0"), position(1)), stream(frame("reset", loss, "kept"))]) as service:
        heard = follow(url=service.base_url, afterLoss=then)
    assert heard.numbers == [1]
    assert heard.of("reset") == [loss]
    # It is not its own last id, so nobody goes on from there without having said so.
    assert _begun(service) == [None, "c1", *begun]


@pytest.mark.parametrize(("reason", "least", "most"), [("rotation", 0, 1), ("shutdown", 4, 5)])
def test_a_stream_that_ends_with_a_word_is_gone_on_with(follow: Client, reason, least, most):
    bye = frame("bye", {"reason": reason, "cursor": "c2"}, "c2")
    with performing([stream(hello("c0"), position(1), bye)]) as service:
        heard = follow(url=service.base_url)
    assert heard.of("bye") == [{"reason": reason, "cursor": "c2"}]
    assert _begun(service) == [None, "c2"]
    [wait] = heard.waits()
    assert least <= wait <= most


@pytest.mark.parametrize("reason", ["key_revoked", "key_expired"])
def test_a_key_that_has_ended_is_not_tried_again(follow: Client, reason):
    with performing([stream(hello("c0"), frame("bye", {"reason": reason, "cursor": "c0"}, "c0"))]) as service:
        heard = follow(url=service.base_url)
    assert heard.of("bye")
    assert heard.end[0] == "raised"
    assert heard.end[1].items() >= {"status": 401, "code": reason}.items()
    assert len(service.asked) == 1


def test_what_it_does_not_know_is_passed_over_and_moves_it_on(follow: Client):
    frames = [frame("weather", {"wind": 1}, "c1"), b": a comment\n\n", b"id: c2\n\n", b"data: {}\nid: c3\n\n"]
    with performing([stream(hello("c0"), *frames)]) as service:
        follow(url=service.base_url)
    assert _begun(service) == [None, "c3"]


def test_a_stream_that_falls_silent_is_given_up(follow: Client):
    script = [stream(hello("c0", 0.2), stays=True), stream(hello("c0", 0.2), position(1), stays=True)]
    with performing(script) as service:
        heard = follow(url=service.base_url, heartbeat=0.2)
    assert heard.numbers == [1]
    assert _begun(service) == [None, "c0", "c1"]
    states = [each["state"] for each in heard.of("state")]
    assert len([state for state in states if state == "silent" or state.startswith("cut: timed out")]) == 2


class TestJavaScript:
    """What only a program of callbacks has."""

    def test_an_item_whose_callback_throws_was_not_handed_on(self, run_javascript: Client):
        with performing([stream(hello("c0"), *map(position, (1, 2, 3)))]) as service:
            heard = run_javascript(url=service.base_url, throwAt=1)
            assert heard.end == ("raised", {"message": "not handed on"})
            assert heard.numbers == [1]
            [_, _, last] = next(each for each in reversed(heard.told) if each[0] == "position")
            run_javascript(url=service.base_url, cursor=last)
        assert _begun(service) == [None, "c1"]

    def test_a_signal_ends_it_behind_the_item_that_is_being_handed_on(self, run_javascript: Client):
        with performing([stream(hello("c0"), *map(position, (1, 2, 3)), stays=True)]) as service:
            heard = run_javascript(url=service.base_url, abortAt=2)
        assert heard.numbers == [1, 2]
        assert heard.told[-1] == ["returned", None, "c2"]

    def test_a_heartbeat_that_is_overdue_is_told_before_the_stream_is_given_up(self, run_javascript: Client):
        with performing([stream(hello("c0", 0.4), stays=True)]) as service:
            heard = run_javascript(url=service.base_url)
        states = [each["state"] for each in heard.of("state")]
        assert states == ["connecting", "open", "quiet", "silent", "waiting", "connecting"]

    @pytest.mark.parametrize("given", [{"url": "nothing"}, {"key": "two\nlines"}])
    def test_what_is_no_address_or_no_key_ends_it_at_once(self, run_javascript: Client, given):
        with performing([]) as service:
            heard = run_javascript(**{"url": service.base_url, **given})
        assert heard.end[0] == "raised"
        assert service.asked == []


def test_redirects_do_not_take_the_key_elsewhere(follow: Client):
    with performing([]) as elsewhere:
        script = [refusal(302, f"Location: {elsewhere.base_url}/")]
        with performing(script) as service:
            follow(url=service.base_url)
    assert [each.headers for each in elsewhere.asked if "authorization" in each.headers] == []
    assert len(service.asked) == 1
