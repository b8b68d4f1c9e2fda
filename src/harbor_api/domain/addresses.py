"""Network addresses: how one is written, and what counts as one caller."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

# Whoever gets an IPv6 address gets 2 ** 64 of them (RFC 6177): all of one network are one caller.
_NETWORK_BITS = 64
# Stands for everybody whose address cannot be read: they share what one caller may.
UNKNOWN = "unknown"
# An address with its zone, port, brackets and quotes is shorter.
_LONGEST = 100


def read(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address in an entry of ``X-Forwarded-For`` or of a socket, None where it is none.

    A port behind it, quotes, brackets and a zone (RFC 4007) are dropped, and an IPv4 address that is
    written as IPv6 (``::ffff:192.0.2.1``) is the IPv4 address.
    """
    return None if len(text) > _LONGEST else _read(text)


def shown(text: str) -> str:
    """Return an address as it is written usually, UNKNOWN for text that is none."""
    return str(read(text) or UNKNOWN)


def caller(text: str) -> str:
    """Return what an address is counted as: an IPv4 address, the network of an IPv6 address, or UNKNOWN."""
    address = read(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address.packed[:8] + bytes(8), _NETWORK_BITS)))
    return str(address or UNKNOWN)


@lru_cache(maxsize=4_096)
def _read(text: str) -> IPv4Address | IPv6Address | None:
    text = text.strip().strip('"').strip()
    if text.startswith("["):
        text, closed, port = text[1:].partition("]")
        if not closed or (port and not _is_port(port)):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(f":{port}"):
            return None
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_port(text: str) -> bool:
    digits = text[1:]
    return text[:1] == ":" and digits.isascii() and digits.isdigit() and int(digits[:6]) < 1 << 16
