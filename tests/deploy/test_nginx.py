"""nginx with the file that operators run, in front of a real service: what it promises clients of both."""

import gzip
import json
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import NewDatabase
from tests.support.factories import a_fix
from tests.support.live_service import LiveService, free_port
from tests.support.nginx import Nginx, program
from tests.support.openapi_check import contract_of
from tests.support.signed_posts import signed_headers
from tests.support.streams import events_in
from tests.support.urls import BATCH, ME, POSITIONS, STREAM, VESSELS

_LARGEST = 512 * 1024


@pytest.fixture(scope="module")
def service(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    log = tmp_path_factory.mktemp("proxied") / "service.log"
    with LiveService(new_database(), log=log, trusted_proxies=1) as service:
        yield service


@pytest.fixture(scope="module")
def nginx(service: LiveService) -> Iterator[Nginx]:
    with Nginx(f"127.0.0.1:{service.port}") as nginx:
        yield nginx


@pytest.fixture(scope="module")
def client(nginx: Nginx) -> Iterator[httpx.Client]:
    with nginx.client() as client:
        yield client


@pytest.fixture(scope="module")
def lost() -> Iterator[Nginx]:
    """Return one whose service is away."""
    with Nginx(f"127.0.0.1:{free_port()}") as nginx:
        yield nginx


def _problem(service: LiveService, answer: httpx.Response) -> Any:
    """Return a problem document that nginx made, which has to be as the service's own document says."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    problem = answer.json()
    contract = contract_of(httpx.get(f"{service.base_url}/openapi.json", verify=False).content)
    contract._validate({"$ref": "#/components/schemas/Problem"}, problem, "of nginx")
    assert (problem["status"], problem["request_id"]) == (answer.status_code, answer.headers["x-request-id"])
    return problem


def _raw(nginx: Nginx, sent: bytes) -> bytes:
    """Return all that nginx answers to bytes."""
    with (
        socket.create_connection(("127.0.0.1", nginx.port), timeout=60) as plain,
        nginx.context().wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(sent)
        received = b""
        while part := tls.recv(65_536):
            received += part
        return received


def test_nginx_takes_the_file_without_a_word(nginx: Nginx):
    done = subprocess.run(nginx.command("-t"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if " the configuration file " not in line]
    # A newer one would rather have the directive of its own.
    told = [line for line in told if '"listen ... http2" directive is deprecated' not in line]
    assert [line for line in told if "test is successful" not in line] == []


def test_the_service_answers_over_http_2_and_tls_1_3(nginx: Nginx, service: LiveService):
    curl = program("curl")
    features = subprocess.run([curl, "--version"], capture_output=True, text=True, check=True).stdout
    if "HTTP2" not in features:
        pytest.skip("this curl does not speak HTTP/2")
    [key] = service.world.bearer().values()
    done = subprocess.run(
        [
            *(curl, "-sS", "--http2", "--cacert", str(nginx.certificate), "-H", f"Authorization: {key}"),
            *(
                "-o",
                "/dev/null",
                "-D",
                "-",
                "-w",
                "%{http_version} %{http_code}",
                f"{nginx.base_url}{VESSELS}",
            ),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("2 200")
    assert "strict-transport-security: max-age=31536000" in done.stdout
    with (
        socket.create_connection(("127.0.0.1", nginx.port), timeout=60) as plain,
        nginx.context().wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        assert tls.version() == "TLSv1.3"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused(nginx: Nginx, version):
    context = nginx.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", nginx.port), timeout=60) as plain,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


def test_what_the_service_answers_goes_through_as_it_is(service: LiveService, client: httpx.Client):
    bearer = service.world.bearer()
    first = client.get(VESSELS, headers=bearer | {"X-Request-Id": "from-the-caller"})
    service.check("GET", VESSELS, first.status_code, first.headers, first.content)
    assert first.headers["x-request-id"] == "from-the-caller"
    again = client.get(VESSELS, headers=bearer | {"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    refused = client.get(VESSELS)
    assert (refused.status_code, refused.json()["code"]) == (401, "key_missing")
    assert refused.headers["www-authenticate"]
    assert client.get("/metrics").status_code == 404


def test_a_request_has_one_id_in_the_answer_and_in_both_logs(nginx, service: LiveService, client):
    answer = client.get(ME, headers=service.world.bearer() | {"X-Request-Id": 'no "id" at all'})
    [given] = answer.headers.get_list("x-request-id")
    assert '"id"' not in given
    assert f'"request_id":"{given}"' in nginx.accesses()
    assert given in service.log()


def test_links_lead_back_through_the_proxy(service: LiveService, client: httpx.Client):
    for _ in range(2):
        service.world.vessel()
    page = client.get(VESSELS, params={"limit": 1}, headers=service.world.bearer())
    following = httpx.URL(page.json()["links"]["next"])
    assert following.scheme in {"", "https"}
    assert client.get(page.json()["links"]["next"], headers=service.world.bearer()).status_code in {200, 400}


def _batch_of(size: int) -> bytes:
    """Return a batch of some bytes: one fix, and blanks, which JSON allows."""
    batch = json.dumps({"fixes": [a_fix()]}).encode()
    return batch + b" " * (size - len(batch))


def test_the_largest_batch_passes_and_a_larger_one_is_told(service: LiveService, client: httpx.Client):
    tracker = service.world.tracker()
    number = int(tracker.tracker.id.removeprefix("trk_"))
    body = _batch_of(_LARGEST)
    answer = client.post(BATCH, content=body, headers=signed_headers(number, body))
    assert answer.status_code == 200, answer.text
    body = gzip.compress(json.dumps({"fixes": [a_fix(1)]}).encode())
    coded = client.post(
        BATCH, content=body, headers=signed_headers(number, body) | {"content-encoding": "gzip"}
    )
    assert coded.status_code == 200, coded.text
    body = _batch_of(_LARGEST + 1)
    problem = _problem(service, client.post(BATCH, content=body, headers=signed_headers(number, body)))
    assert (problem["code"], problem["instance"]) == ("body_too_large", BATCH)
    # Smaller bodies of other operations are the service's to refuse.
    body = json.dumps(a_fix(2)).encode() + b" " * 65_536
    refused = client.post(POSITIONS, content=body, headers=signed_headers(number, body))
    assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")


def test_the_longest_request_line_passes_and_a_longer_one_is_told(service, client: httpx.Client):
    ids = "&".join(f"x{n:04}=1" for n in range(4_000))
    answer = client.get(f"{VESSELS}?{ids}", headers=service.world.bearer())
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    problem = _problem(service, client.get(f"{VESSELS}?{'x' * 50_000}"))
    assert (problem["code"], problem["instance"]) == ("uri_too_long", "/")
    problem = _problem(service, client.get(VESSELS, headers={"X-Long": "x" * 50_000}))
    assert problem["code"] == "headers_too_large"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /\r\n\r\r\n\r\n", 400),
        (b"GET /%00 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405),
    ],
)
def test_what_is_no_request_is_told_as_a_problem(nginx: Nginx, sent, status):
    head, _, body = _raw(nginx, sent).partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 "):
        assert int(head.split()[1]) == status
        assert b"application/problem+json" in head
    assert json.loads(body or head)["status"] == status


def test_a_service_that_is_away_is_told_with_a_time(service: LiveService, lost: Nginx):
    with lost.client() as client:
        for answer in (client.get(VESSELS), client.post(POSITIONS, json={}), client.get("/health/ready")):
            problem = _problem(service, answer)
            assert (answer.status_code, problem["code"]) == (502, "unavailable")
            assert answer.headers["retry-after"] == "2"


def test_the_event_of_a_stream_arrives_before_the_next_is_made(nginx, service: LiveService, client):
    tracker = service.world.tracker()
    number = int(tracker.tracker.id.removeprefix("trk_"))
    with (
        nginx.client() as follower,
        follower.stream("GET", STREAM, params={"from": "now"}, headers=service.world.bearer()) as stream,
    ):
        assert stream.status_code == 200
        parts, text = stream.iter_text(), ""
        for second in range(3):
            body = json.dumps(a_fix(second)).encode()
            assert (
                client.post(POSITIONS, content=body, headers=signed_headers(number, body)).status_code == 201
            )
            while sum(each.name == "position" for each in events_in(text)) <= second:
                text += next(parts)


def test_a_long_poll_is_waited_for(service: LiveService, client: httpx.Client):
    answer = client.get(POSITIONS, params={"from": "now", "wait": "2"}, headers=service.world.bearer())
    assert (answer.status_code, answer.json()["items"]) == (200, [])


def test_limits_go_by_the_address_that_nginx_saw(new_database: NewDatabase, tmp_path: Path):
    with (
        LiveService(
            new_database(), log=tmp_path / "log", trusted_proxies=1, failures_per_minute=3
        ) as service,
        Nginx(f"127.0.0.1:{service.port}") as nginx,
    ):
        wrong = {"Authorization": "Bearer hbr_wrong"}
        with nginx.client() as one:
            told = [one.get(VESSELS, headers=wrong).status_code for _ in range(5)]
            assert told == [401, 401, 401, 429, 429]
            # Whatever it says of itself.
            spoofed = wrong | {"X-Forwarded-For": "192.0.2.9", "Forwarded": "for=192.0.2.9"}
            assert one.get(VESSELS, headers=spoofed).status_code == 429
        transport = httpx.HTTPTransport(verify=nginx.context(), local_address="127.0.0.2")
        with httpx.Client(
            base_url=nginx.base_url.replace("localhost", "127.0.0.1"), transport=transport
        ) as other:
            assert other.get(VESSELS, headers=wrong).status_code == 401


def test_a_head_that_does_not_end_is_cut(nginx: Nginx):
    # For ten seconds in all, whatever drips.
    assert _raw(nginx, b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ") == b""


def test_without_tls_people_are_sent_on_and_programs_are_told(service: LiveService, nginx: Nginx):
    plain = f"http://127.0.0.1:{nginx.plain_port}"
    page = httpx.get(f"{plain}/docs?x=1", verify=False)
    assert (page.status_code, page.headers["location"]) == (308, "https://127.0.0.1/docs?x=1")
    answer = httpx.get(f"{plain}{VESSELS}", headers={"Authorization": "Bearer hbr_x"}, verify=False)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert "https" in answer.json()["detail"]
    mistaken = httpx.get(f"http://127.0.0.1:{nginx.port}/docs", verify=False)
    assert (mistaken.status_code, mistaken.json()["code"]) == (400, "bad_request")


def test_one_host_of_two_restarts_and_nobody_notices(new_database: NewDatabase, tmp_path: Path):
    url = new_database()
    with (
        LiveService(url, log=tmp_path / "one.log", trusted_proxies=1) as one,
        LiveService(url, log=tmp_path / "two.log", trusted_proxies=1) as two,
        Nginx(f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}") as nginx,
    ):
        numbers = [int(one.world.tracker().tracker.id.removeprefix("trk_")) for _ in range(4)]
        bearer = one.world.bearer()
        is_over = threading.Event()

        def ask(number: int) -> Counter[int]:
            statuses: Counter[int] = Counter()
            with nginx.client() as client:
                while not is_over.is_set():
                    body = json.dumps(a_fix(statuses.total())).encode()
                    posted = client.post(POSITIONS, content=body, headers=signed_headers(number, body))
                    read = client.get(VESSELS, headers=bearer)
                    statuses.update((posted.status_code, read.status_code))
            return statuses

        with ThreadPoolExecutor(len(numbers)) as pool:
            asking = [pool.submit(ask, number) for number in numbers]
            try:
                for service in (one, two, one):
                    service.stop()
                    service.start()
                    # nginx leaves one alone that has failed, for 2 s.
                    time.sleep(3)
            finally:
                is_over.set()
            told = sum((each.result() for each in asking), Counter())
        assert set(told) == {200, 201}, told
