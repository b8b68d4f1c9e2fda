"""What clients make of coded reads over real connections: of many kinds, and byte by byte."""

import http.client
import json
import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from tests.support.codings import DECODERS
from tests.support.live_service import LiveService
from tests.support.urls import VESSELS

Answer = tuple[int, Any, bytes]


@pytest.fixture(scope="module")
def service(module_service: LiveService) -> LiveService:
    """Return a service with a fleet that is worth coding."""
    for number in range(30):
        module_service.world.vessel(f"Skagerrak Trader {number}")
    return module_service


@pytest.fixture(scope="module")
def bearer(service: LiveService) -> dict[str, str]:
    return service.world.bearer(requests_per_minute=10_000)


@pytest.fixture(scope="module")
def fleet(service: LiveService, bearer) -> httpx.Response:
    """Return the fleet as it is."""
    return service.http.get(VESSELS, headers=bearer | {"Accept-Encoding": "identity"})


def _httpx(url: str, headers: Mapping[str, str]) -> Answer:
    answer = httpx.get(url, headers=headers)
    return answer.status_code, answer.headers, answer.content


def _requests(url: str, headers: Mapping[str, str]) -> Answer:
    answer = requests.get(url, headers=headers, timeout=30)
    return answer.status_code, answer.headers, answer.content


def _urllib(url: str, headers: Mapping[str, str]) -> Answer:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers))) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read()


def _curl(url: str, headers: Mapping[str, str]) -> Answer:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    sent = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    done = subprocess.run(
        ["curl", "-sS", "--compressed", "-D", "-", url, *sent], capture_output=True, check=True
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(re.split(": ?", line, maxsplit=1) for line in lines), body


@pytest.mark.parametrize("get", [_httpx, _requests, _urllib, _curl])
def test_a_client_with_its_own_ways_reads_the_fleet_and_is_told_304(
    service: LiveService, bearer, fleet: httpx.Response, get: Callable[..., Any]
):
    status, headers, body = get(service.base_url + VESSELS, bearer)
    assert status == 200
    assert body == fleet.content
    if get is not _urllib:
        assert headers["Content-Encoding"] in DECODERS
    status, again, body = get(service.base_url + VESSELS, {**bearer, "If-None-Match": headers["ETag"]})
    assert (status, body) == (304, b"")
    for name in ("ETag", "Cache-Control", "Vary"):
        assert again[name] == headers[name]


def test_answers_without_a_body_end_with_their_heads(service: LiveService, bearer, fleet: httpx.Response):
    """On one connection: were there a byte too many, it would be taken for the next answer."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    for coding in (*DECODERS, "identity"):
        asked = bearer | {"Accept-Encoding": coding}
        connection.request("GET", VESSELS, headers=asked)
        got = connection.getresponse()
        body = got.read()
        assert DECODERS.get(coding, bytes)(body) == fleet.content
        connection.request("HEAD", VESSELS, headers=asked)
        head = connection.getresponse()
        assert (head.status, head.read()) == (200, b"")
        for name in ("Content-Length", "Content-Encoding", "Content-Type", "ETag", "Vary", "Cache-Control"):
            assert head.getheader(name) == got.getheader(name)
        assert got.getheader("Content-Length") == str(len(body))
        for method in ("GET", "HEAD"):
            connection.request(method, VESSELS, headers=asked | {"If-None-Match": got.getheader("ETag")})
            unchanged = connection.getresponse()
            assert (unchanged.status, unchanged.read()) == (304, b"")
            assert not {"content-length", "content-type", "content-encoding", "transfer-encoding"} & {
                name.lower() for name, _ in unchanged.getheaders()
            }
    connection.close()


def _raw(service: LiveService, bearer: Mapping[str, str], *lines: bytes) -> tuple[int, bytes, bytes]:
    head = [f"GET {VESSELS} HTTP/1.1".encode(), b"Host: h", b"Connection: close"]
    head += [f"Authorization: {bearer['Authorization']}".encode(), *lines]
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(b"\r\n".join([*head, b"", b""]))
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head_, _, body = answer.partition(b"\r\n\r\n")
    return int(head_.split()[1]), head_.lower(), body


def test_header_lines_are_one_list(service: LiveService, bearer, fleet: httpx.Response):
    tag = fleet.headers["ETag"].strip('"')
    status, head, body = _raw(
        service,
        bearer,
        b"Accept-Encoding: identity;q=0.1",
        b"accept-encoding:br;q=0.5",
        b"Accept-Encoding: gzip",
    )
    assert (status, DECODERS["gzip"](body)) == (200, fleet.content)
    assert b"\r\ncontent-encoding: gzip\r\n" in head
    lines = [b'If-None-Match: "other"', b"If-None-Match:", f'if-none-match: W/"{tag}.gzip" , "x"'.encode()]
    status, head, body = _raw(service, bearer, b"Accept-Encoding: gzip", *lines)
    assert (status, body) == (304, b"")
    status, *_ = _raw(service, bearer, *lines)
    assert status == 200


@pytest.mark.parametrize(
    "lines",
    [
        [b"Accept-Encoding: \xff\xfe;q=\xff"],
        [b"Accept-Encoding: " + b"gzip;q=0.5," * 700] * 90,
        [b'If-None-Match: "'],
        [b"If-None-Match: \xff", b"If-None-Match: *"],
        [b"If-None-Match: " + b'"",' * 2_000] * 90,
        [b"If-None-Match: " + b"*," * 4_000] * 90,
    ],
)
def test_whatever_is_sent_is_answered_as_if_it_were_not(service: LiveService, bearer, fleet, lines):
    status, _, body = _raw(service, bearer, *lines)
    assert (status, body) == (200, fleet.content)


@pytest.mark.slow
def test_two_services_give_the_same_bytes_the_same_tags(service: LiveService, bearer, tmp_path: Path):
    with LiveService(service.environ["HARBOR_DATABASE_URL"], log=tmp_path / "other.log", workers=2) as other:
        for coding in (*DECODERS, "identity"):
            both = []
            for each in (service, other, other, other):
                connection = http.client.HTTPConnection("127.0.0.1", each.port, timeout=30)
                connection.request("GET", VESSELS, headers=bearer | {"Accept-Encoding": coding})
                answer = connection.getresponse()
                both.append((answer.getheader("ETag"), answer.read()))
                connection.close()
            assert len(set(both)) == 1
    assert json.loads(both[0][1])["features"]
