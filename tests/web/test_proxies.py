"""Who calls: the address of a connection, or what trusted proxies say, and nothing else."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from tests.support.factories import MASTER_KEY
from tests.support.urls import ME, VESSELS

from harbor_api.app import create_app
from harbor_api.settings import Settings

# How often a key may be missing.
ALLOWED = 2


def _app(trusted_proxies: int) -> Flask:
    # No key is looked up for whoever sends none: there need be no database.
    return create_app(
        Settings(
            database_url="postgresql:///",
            tracker_master_key=MASTER_KEY,
            failures_per_minute=ALLOWED,
            trusted_proxies=trusted_proxies,
        )
    )


def _fail(client: FlaskClient, forwarded: str | None, peer: str = "10.0.0.1") -> int:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return client.get(ME, headers=headers, environ_overrides={"REMOTE_ADDR": peer}).status_code


def _are_one(client: FlaskClient, entries: list[str | None], peer: str = "10.0.0.1") -> bool:
    statuses = [_fail(client, entry, peer) for entry in entries]
    return statuses == [401] * ALLOWED + [429] * (len(entries) - ALLOWED)


@pytest.mark.parametrize(
    "entries",
    [
        ["192.0.2.1", "192.0.2.1:567", "::ffff:192.0.2.1", '"192.0.2.1"', "[::ffff:192.0.2.1]:80"],
        ["2001:db8::1", "2001:DB8::2", "[2001:db8::3]:443", "2001:0db8:0::4", "2001:db8::5%eth0"],
        # What stands before is the caller's own, whatever it is.
        ["198.51.100.1, 192.0.2.3", "unknown, 192.0.2.3", ", 192.0.2.3", "::1,192.0.2.3:1"],
        # What is no address is one caller, and is told nothing else.
        ["unknown", "_hidden", "x" * 900, "1.2.3", "[::1"],
        # No word of the proxy: all that it brings is its own.
        [None, "", None, None],
    ],
    ids=["IPv4", "IPv6", "more entries than proxies", "junk", "none"],
)
def test_a_caller_behind_a_proxy_is_one_however_it_is_written(entries):
    assert _are_one(_app(1).test_client(), entries)


def test_the_entry_counts_that_the_outermost_trusted_proxy_has_written():
    client = _app(2).test_client()
    assert _are_one(client, [f"203.0.113.{n}, 192.0.2.1, 198.51.100.{n}" for n in range(4)])
    # Fewer entries than proxies: somebody came in behind the first.
    assert _are_one(client, [f"192.0.2.{n}" for n in range(4)])


def test_nothing_is_believed_without_a_proxy():
    assert _are_one(_app(0).test_client(), [f"192.0.2.{n}" for n in range(4)])


def test_the_peer_of_a_connection_is_read_alike():
    client = _app(0).test_client()
    assert [_fail(client, None, peer) for peer in ("192.0.2.1", "::ffff:192.0.2.1", "::FFFF:C000:201")] == [
        401,
        401,
        429,
    ]


@pytest.mark.parametrize("trusted_proxies", [0, 1])
@pytest.mark.parametrize(
    "path", ["//", "//docs", "/docs/", "/docs//", "/health/", "//health/live", f"/{VESSELS}", f"{VESSELS}/"]
)
def test_no_callers_host_is_ever_named(trusted_proxies, path):
    answer = (
        _app(trusted_proxies)
        .test_client()
        .get(
            path,
            headers={
                "Host": "evil.example",
                "X-Forwarded-Host": "evil.example",
                "X-Forwarded-Proto": "https",
                "X-Forwarded-Prefix": "/evil.example",
                "Forwarded": "host=evil.example",
            },
        )
    )
    assert not 300 <= answer.status_code < 400
    assert "evil.example" not in str(answer.headers) + answer.text
