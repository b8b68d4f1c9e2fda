"""POST /api/v1/positions/check: what would become of a fix, and what is wrong with a signature."""

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import SigningTracker, World, a_fix
from tests.support.urls import CHECK
from tests.support.urls import POSITIONS as POST

from harbor_api.domain.signatures import secret_key


def _tables(world: World) -> list[object]:
    names = ("positions", "latest_positions", "quarantine")
    return [sql.count(world.database, name) for name in names]


def test_a_fix_is_not_stored(client: CheckedClient, world: World):
    tracker = world.tracker()
    for fix in (a_fix(), a_fix(lat=0, lon=0)):
        client.post(CHECK, **tracker.signed(fix, url=CHECK))
    assert _tables(world) == [0, 0, 0]


def test_a_good_fix_would_be_stored_and_latest(client: CheckedClient, world: World):
    answer = client.post(CHECK, **world.tracker().signed(a_fix(), url=CHECK))
    assert (answer.status_code, answer.json) == (200, {"would_be": "stored", "latest": True})


def test_a_late_fix_would_be_stored_and_not_latest(client: CheckedClient, world: World):
    tracker = world.tracker()
    client.post(POST, **tracker.signed(a_fix(10)))
    answer = client.post(CHECK, **tracker.signed(a_fix(5), url=CHECK))
    assert answer.json == {
        "would_be": "stored",
        "latest": False,
    }


@pytest.mark.parametrize(("members", "differs"), [({}, False), ({"sog": 9.1}, True)])
def test_a_repeat_would_be_a_duplicate(client: CheckedClient, world: World, members, differs):
    tracker = world.tracker()
    client.post(POST, **tracker.signed(a_fix()))
    answer = client.post(CHECK, **tracker.signed(a_fix(**members), url=CHECK))
    assert answer.json == {"would_be": "duplicate", "latest": True, "differs": differs}


def test_a_fix_from_the_future_would_be_quarantined(client: CheckedClient, world: World):
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    answer = client.post(CHECK, **world.tracker().signed(a_fix(recorded_at=ahead), url=CHECK))
    assert answer.json == {"would_be": "quarantined", "latest": False, "reason": "future"}


def test_a_wrong_fix_gets_the_errors_of_a_post(client: CheckedClient, world: World):
    tracker = world.tracker()
    for body in (b"{", b"[]", b'{"lat": 91, "lon": 181}', b'{"lat": true}'):
        answers = [client.post(path, **tracker.signed(body, url=path)) for path in (CHECK, POST)]
        assert answers[0].status_code == answers[1].status_code
        for name in ("code", "detail"):
            assert answers[0].json[name] == answers[1].json[name]
        assert answers[0].json.get("errors") == answers[1].json.get("errors")


_seconds = st.integers(0, 3)
_fixes = st.builds(a_fix, _seconds, sog=st.sampled_from([1.1, 2.2]), lat=st.sampled_from([0, 59.9]))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fixes=st.lists(_fixes, min_size=1, max_size=6))
def test_what_is_foreseen_is_what_happens(client: CheckedClient, world: World, fixes):
    vessel = world.vessel()
    trackers = [world.tracker(vessel), world.tracker(vessel)]
    for number, made in enumerate(fixes):
        tracker = trackers[number % 2]
        fix = {**made, "lon": 0 if made["lat"] == 0 else made["lon"]}
        foreseen = client.post(CHECK, **tracker.signed(fix, url=CHECK)).json
        foreseen["verdict"] = foreseen.pop("would_be")
        assert client.post(POST, **tracker.signed(fix)).json == foreseen


class TestASignatureThatIsWrong:
    """What a firmware writer is told of it."""

    def test_is_not_explained_to_a_tracker_in_service(self, client: CheckedClient, world: World):
        tracker = replace(world.tracker(), secret="whsec_" + "A" * 43 + "=")
        assert "expected" not in client.post(CHECK, **tracker.signed(a_fix(), url=CHECK)).text

    def test_is_not_explained_by_a_post(self, client: CheckedClient, world: World):
        tracker = replace(world.tracker(test=True), secret="whsec_" + "A" * 43 + "=")
        assert "expected" not in client.post(POST, **tracker.signed(a_fix())).text

    def test_comes_with_the_bytes_that_it_had_to_cover(self, client: CheckedClient, world: World):
        tracker = replace(world.tracker(test=True), secret="whsec_" + "A" * 43 + "=")
        request = tracker.signed(a_fix(), url=CHECK)
        answer = client.post(CHECK, **request)
        assert (answer.status_code, answer.json["code"]) == (401, "signature_invalid")
        headers = request["headers"]
        covered = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request["data"]
        assert answer.json["expected"] == {
            "base64": base64.b64encode(covered).decode(),
            "length": len(covered),
            "sha256": hashlib.sha256(covered).hexdigest(),
            "hint": None,
        }

    def test_shows_the_beginning_of_a_large_body(self, client: CheckedClient, world: World):
        tracker = replace(world.tracker(test=True), secret="whsec_" + "A" * 43 + "=")
        expected = client.post(CHECK, **tracker.signed(b"x" * 60_000, url=CHECK)).json["expected"]
        assert len(base64.b64decode(expected["base64"])) == 4096
        assert expected["length"] > 60_000

    @pytest.mark.parametrize(
        ("mistake", "hint"),
        [
            ("secret as text", "The secret's text was the key"),
            ("base64 as text", "The base64 text was the key"),
            ("body only", "Only the body was signed"),
            ("no id", "The id was not signed"),
            ("no timestamp", "The timestamp was not signed"),
            ("line end", "A line end was signed"),
            ("hexadecimal", "in hexadecimal"),
            ("url-safe", "kind for URLs"),
            ("no padding", "lacks its ="),
            ("no version", "must stand after v1"),
            ("secret as text, hexadecimal", "in hexadecimal"),
        ],
    )
    def test_comes_with_the_usual_mistake(self, client: CheckedClient, world: World, mistake, hint):
        tracker = world.tracker(test=True)
        # Some signature has a + or / that the kind for URLs writes otherwise.
        answers = [client.post(CHECK, **_signed_wrong(tracker, mistake, n)) for n in range(8)]
        told = [answer.json["expected"]["hint"] for answer in answers if answer.status_code == 401]
        assert told
        assert all(hint in each for each in told)

    def test_says_nothing_secret(self, client: CheckedClient, world: World):
        tracker = world.tracker(test=True)
        text = client.post(CHECK, **_signed_wrong(tracker, "body only", 1)).text
        assert tracker.secret not in text
        assert tracker.secret.removeprefix("whsec_") not in text
        right = tracker.signed(_signed_wrong(tracker, "body only", 1)["data"])
        assert right["headers"]["webhook-signature"] not in text


def _signed_wrong(tracker: SigningTracker, mistake: str, number: int) -> dict[str, object]:
    """Return a signed post as firmware sends it that has got one thing wrong."""
    request = tracker.signed(a_fix(number), url=CHECK)
    headers, body = request["headers"], request["data"]
    identity, moment = headers["webhook-id"].encode(), headers["webhook-timestamp"].encode()
    key = secret_key(tracker.secret)
    if "secret as text" in mistake:
        key = tracker.secret.encode()
    elif mistake == "base64 as text":
        key = tracker.secret.removeprefix("whsec_").encode()
    content = {
        "body only": body,
        "no id": moment + b"." + body,
        "no timestamp": identity + b"." + body,
        "line end": identity + b"." + moment + b"." + body + b"\n",
    }.get(mistake, identity + b"." + moment + b"." + body)
    digest = hmac.digest(key, content, "sha256")
    text = base64.b64encode(digest).decode()
    if "hexadecimal" in mistake:
        text = digest.hex()
    elif mistake == "url-safe":
        text = base64.urlsafe_b64encode(digest).decode()
    elif mistake == "no padding":
        text = text.rstrip("=")
    headers["webhook-signature"] = text if mistake == "no version" else f"v1,{text}"
    return request
