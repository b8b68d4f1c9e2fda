import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import httpx
import pytest
from tests.support.http_service import Answer, Service, problem, running, secret_of

from harbor_api.simulation.tracker import (
    Credentials,
    GaveUpError,
    StoppedError,
    TrackerClient,
    UnexpectedAnswerError,
    rfc3339,
)

FIX = {"recorded_at": "2026-01-02T03:04:05Z", "lat": 59.9, "lon": 10.7, "sog": 8.5}


@pytest.fixture
def http():
    with httpx.Client() as http:
        yield http


def tracker(service: Service, http: httpx.Client, **options) -> TrackerClient:
    return TrackerClient(service.base_url, "trk_0001", secret_of("trk_0001"), http=http, **options)


def test_post_is_signed_and_stored(service, http):
    verdict = tracker(service, http).post(FIX)

    assert (verdict.status, verdict.verdict, verdict.code, verdict.latest) == (
        201,
        "stored",
        None,
        True,
    )
    (attempt,) = service.attempts
    assert attempt.verified
    assert attempt.fix == FIX
    assert attempt.message_id.startswith("trk_0001-")
    assert 1 <= len(attempt.message_id.removeprefix("trk_0001-")) <= 64
    assert abs(attempt.timestamp - time.time()) < 5


def test_post_signs_what_it_sends_when_text_is_not_ascii(service, http):
    assert tracker(service, http).post({**FIX, "note": "Øresund"}).verdict == "stored"


def test_each_message_has_its_own_id(service, http):
    client = tracker(service, http)
    client.post(FIX)
    assert client.post(FIX).verdict == "duplicate"
    first, second = service.attempts
    assert first.message_id != second.message_id


def test_wrong_secret_is_invalid_and_not_retried(service, http):
    client = TrackerClient(service.base_url, "trk_0001", secret_of("trk_0002"), http=http)
    verdict = client.post(FIX)
    assert (verdict.verdict, verdict.code) == ("invalid", "signature_invalid")
    assert len(service.attempts) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(200, {"verdict": "duplicate", "latest": False}), ("duplicate", None, False)),
        (Answer(202, {"verdict": "quarantined", "reason": "jump"}), ("quarantined", None, None)),
        (problem(422, "no_fix"), ("invalid", "no_fix", None)),
        (Answer(404, b"<html>no such thing</html>"), ("invalid", None, None)),
        (Answer(400, ["not", "an", "object"]), ("invalid", None, None)),
    ],
)
def test_verdict_follows_the_status(service, http, answer, expected):
    service.script = [answer]
    verdict = tracker(service, http).post(FIX)
    assert verdict.status == answer.status
    assert (verdict.verdict, verdict.code, verdict.latest) == expected


def test_body_is_kept_whole(service, http):
    service.script = [Answer(202, {"verdict": "quarantined", "reason": "in_the_future"})]
    assert tracker(service, http).post(FIX).body["reason"] == "in_the_future"


def test_retry_keeps_the_id_and_signs_again(service, http):
    service.script = [Answer(500), Answer(503, hang_up=True), Answer(429)]
    assert tracker(service, http).post(FIX).verdict == "stored"
    assert len(service.attempts) == 4
    assert len({attempt.message_id for attempt in service.attempts}) == 1
    assert all(attempt.verified for attempt in service.attempts)
    # The pauses before the second, third and fourth attempt together exceed a second, at least
    # half of 0.25 + 0.5 + 1.0, so that a timestamp that did not move would show.
    first, last = service.attempts[0], service.attempts[-1]
    assert last.at - first.at >= 0.875
    assert last.timestamp - first.timestamp >= int(last.at - first.at)


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured(service, http, as_date):
    now = datetime.now(UTC)
    headers = {"retry-after": "1"}
    if as_date:
        headers = {
            "date": format_datetime(now, usegmt=True),
            "retry-after": format_datetime(now + timedelta(seconds=1), usegmt=True),
        }
    service.script = [problem(429, "rate_limited", **headers)]
    assert tracker(service, http).post(FIX).verdict == "stored"
    first, second = service.attempts
    assert second.at - first.at >= 0.98


@pytest.mark.parametrize("header", ["soon", "-1", "", "١"])
def test_senseless_retry_after_does_not_stop_the_retry(service, http, header):
    # Header values travel as bytes; an Arabic digit arrives as two Latin-1 characters.
    service.script = [problem(503, "unavailable", **{"retry-after": header.encode().decode("latin-1")})]
    assert tracker(service, http).post(FIX).verdict == "stored"


def test_gives_up_at_once_when_retry_after_is_beyond_the_deadline(service, http):
    service.script = [problem(503, "unavailable", **{"retry-after": "3600"})]
    began = time.monotonic()
    with pytest.raises(GaveUpError, match="status 503") as caught:
        tracker(service, http).post(FIX)
    assert caught.value.attempts == 1
    assert time.monotonic() - began < 5


def test_gives_up_after_the_deadline_when_nobody_answers(http):
    # The port was free a moment ago, and nothing listens on it now.
    with running() as service:
        address = service.base_url
    client = TrackerClient(address, "trk_0001", secret_of("trk_0001"), http=http, deadline_s=0.6)
    began = time.monotonic()
    with pytest.raises(GaveUpError, match="ConnectError") as caught:
        client.post(FIX)
    assert caught.value.attempts >= 2
    assert time.monotonic() - began < 2


def test_silence_counts_as_no_answer(service, http):
    service.script = [Answer(201, {"latest": True}, delay_s=3)] * 5
    began = time.monotonic()
    with pytest.raises(GaveUpError, match="Timeout"):
        tracker(service, http, deadline_s=0.4).post(FIX)
    assert time.monotonic() - began < 2


def test_stop_ends_the_wait_at_once(service, http):
    service.script = [problem(503, "unavailable", **{"retry-after": "30"})]
    stop = threading.Event()
    timer = threading.Timer(0.2, stop.set)
    timer.start()
    began = time.monotonic()
    with pytest.raises(StoppedError):
        tracker(service, http, stop=stop).post(FIX)
    assert time.monotonic() - began < 2
    timer.join()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(302, headers={"location": "/sign-in"}),
        Answer(200, b"<html>welcome to the hotel</html>", {"content-type": "text/html"}),
        Answer(201, ["stored"]),
    ],
)
def test_what_is_not_the_service_gives_no_verdict(service, http, answer):
    service.script = [answer]
    with pytest.raises(UnexpectedAnswerError):
        tracker(service, http).post(FIX)


def test_refused_clock_is_set_from_the_answer(service, http):
    ahead = datetime.now(UTC) + timedelta(hours=7)
    service.script = [problem(401, "timestamp_out_of_tolerance", date=format_datetime(ahead, usegmt=True))]
    client = tracker(service, http)
    assert client.post(FIX).verdict == "stored"
    client.post({**FIX, "lat": 60})
    for attempt in service.attempts[1:]:
        assert abs(attempt.timestamp - ahead.timestamp()) < 5


def test_clock_is_set_only_once_for_a_fix(service, http):
    answer = problem(401, "timestamp_out_of_tolerance", date=format_datetime(datetime.now(UTC), usegmt=True))
    service.script = [answer] * 3
    verdict = tracker(service, http).post(FIX)
    assert (verdict.verdict, verdict.code) == ("invalid", "timestamp_out_of_tolerance")
    assert len(service.attempts) == 2


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused_before_they_are_sent(service, http, number):
    with pytest.raises(ValueError, match="JSON compliant"):
        tracker(service, http).post({**FIX, "lat": number})
    assert service.attempts == []


@pytest.mark.parametrize("base_url", ["positions.example", "ftp://positions.example", "http://"])
def test_base_url_must_be_an_http_address(base_url):
    with pytest.raises(ValueError, match="not an http"):
        TrackerClient(base_url, "trk_0001", secret_of("trk_0001"))


def test_secret_must_be_one(service):
    with pytest.raises(ValueError, match="whsec_"):
        TrackerClient(service.base_url, "trk_0001", "whsec_not base64")


def test_base_url_may_end_with_a_slash_and_the_client_may_own_its_connections(service):
    with TrackerClient(service.base_url + "/", "trk_0001", secret_of("trk_0001")) as client:
        assert client.post(FIX).verdict == "stored"


def test_lent_connections_stay_open(service, http):
    with tracker(service, http) as client:
        client.post(FIX)
    assert not http.is_closed


def test_credentials_do_not_print_their_secret():
    assert "whsec_" not in repr(Credentials("trk_0001", secret_of("trk_0001")))


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC), "2026-01-02T03:04:05.500000Z"),
        (
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))),
            "2026-01-02T01:04:05Z",
        ),
    ],
)
def test_rfc3339(moment, text):
    assert rfc3339(moment) == text


def test_rfc3339_refuses_a_time_without_offset():
    with pytest.raises(ValueError, match="offset"):
        rfc3339(datetime(2026, 1, 2))  # noqa: DTZ001 - that is the point
