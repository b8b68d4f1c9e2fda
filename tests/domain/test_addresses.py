"""Addresses: however one is written, a caller is counted as one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor_api.domain import addresses

IPV4 = "192.0.2.7"


@pytest.mark.parametrize(
    "text",
    [
        IPV4,
        f" {IPV4} ",
        f"{IPV4}:567",
        f'"{IPV4}:567"',
        f"::ffff:{IPV4}",
        f"::FFFF:{IPV4}",
        "::ffff:c000:207",
        "0:0:0:0:0:ffff:c000:0207",
        f"[::ffff:{IPV4}]:80",
        f'"[::ffff:{IPV4}]"',
    ],
)
def test_an_ipv4_address_is_one_however_it_is_written(text):
    assert addresses.caller(text) == addresses.shown(text) == IPV4


@pytest.mark.parametrize(
    "text",
    [
        "2001:db8::1",
        "2001:DB8:0:0::1",
        "2001:0db8:0000:0000:0000:0000:0000:0001",
        "2001:db8::ffff:ffff:ffff:ffff",
        "[2001:db8::1]",
        "[2001:db8::1]:443",
        '"[2001:db8::1]:443"',
        "2001:db8::1%eth0",
        "[2001:db8::1%25eth0]:80",
        "2001:db8::192.0.2.7",
    ],
)
def test_an_ipv6_network_is_one_caller(text):
    assert addresses.caller(text) == "2001:db8::/64"


def test_neighbouring_networks_are_told_apart():
    assert len({addresses.caller(f"2001:db8:0:{n:x}::1") for n in range(100)}) == 100
    assert len({addresses.caller(f"192.0.2.{n}") for n in range(100)}) == 100


def test_what_is_shown_is_the_whole_address():
    assert addresses.shown("[2001:DB8:0::0:1]:443") == "2001:db8::1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown",
        "_hidden",
        "localhost",
        "192.0.2",
        "192.0.2.07",
        "192.0.2.256",
        "192.0.2.7:",
        "192.0.2.7:x",
        "192.0.2.7:99999",
        "[::1",
        "[::1]x",
        "[::1]:",
        "1:2",
        "\u0661.2.3.4",
        "for=192.0.2.7",
        "192.0.2.7, 192.0.2.8",
        "x" * 8_000,
    ],
)
def test_what_is_no_address_is_one_caller(text):
    assert addresses.caller(text) == addresses.shown(text) == addresses.UNKNOWN


@given(st.one_of(st.text(max_size=120), st.ip_addresses().map(str)))
def test_any_text_is_somebody(text):
    counted = addresses.caller(text)
    assert counted == addresses.UNKNOWN or addresses.caller(addresses.shown(text)) == counted
