"""Streams of bytes that are requests, or nearly: made from a seed, bent, joined and cut into pieces."""

import random
from collections.abc import Sequence
from functools import partial

_METHODS = ("GET", "POST", "GET", "POST", "HEAD", "PUT", "PATCH", "DELETE")
_ODD_METHODS = (*_METHODS, "OPTIONS", "CONNECT", "get", "FOO", "G", "G/T")
_TARGETS = (
    "/api/v1/positions",
    "/api/v1/vessels?ids=1,2&after=a%20b",
    "/a/b.c;d=e:f@g",
    "/",
    "/?",
    "/?a?b=/[]{}|^`",
)
_ODD_TARGETS = (
    *_TARGETS,
    *("/a?b#c", "/#", "//", "//a/b?c", "/%41%00%2f", "/a[b]", "/\xe9", '/"', "/a\\b", "/a|b"),
    *("*", "http://h/a?b", "http://[::1/", "h:1", "a/b", "", "/" + "x" * 5_000),
)
_VERSIONS = (*("HTTP/1.1",) * 20, "HTTP/1.0", "HTTP/2.0", "HTTP/1.2", "http/1.1", "HTTP/1.1 ", "HTTP/11", "")
_HOSTS = (*("harbor",) * 8, "harbor:80", "[::1]:8000", "h", "two words", "a@b", "", "h:x", "127.0.0.1:8000")
_NAMES = ("Content-Type", "content-type", "Authorization", "webhook-id", "webhook-signature", "Accept")
_ODD_NAMES = (
    *_NAMES,
    *("Connection", "X-Forwarded-For", "X-Forwarded-Proto", "x-forwarded-proto", "X-Forwarded-Host"),
    *("X-Forwarded-Protocol", "X-Forwarded-Ssl", "Forwarded", "X-Real-IP", "X_Forwarded_For"),
    *("Script-Name", "SCRIPT_NAME", "Path_Info", "wsgi.input", "REMOTE-ADDR", "Cookie", "Date"),
    *("Expect", "Upgrade", "HTTP2-Settings", "Transfer-Encoding", "TE", "Trailer", "Keep-Alive"),
    *("Content-Length", "Content_Length", "Content-Length ", "Content-Encoding", "Host", "X-Request-Id"),
    *("!odd'", "1", "-", "", " X", "X ", "X\t", "H\xf6st", "A b", "Proxy-Connection"),
)
_OPTIONS = ("close", "keep-alive", "Close", "close, keep-alive")
_VALUES = ("application/json", "1", "a, b")
_ODD_VALUES = (
    *_VALUES,
    *_OPTIONS,
    *("upgrade", "https", "http", "on", "off", "192.0.2.9, 10.0.0.1", "100-continue", "a miracle"),
    *("chunked", "identity", "gzip, chunked", "h2c", "0", "v1,abc=", "x" * 300),
    *("", " ", "a  b", "a\tb", "\xe9t\xe9", "\x7f", "\x00", "a\x0bb", "a\rb", "a\nb"),
)
_COLONS = (*(": ",) * 24, ":", ":  ", ":\t", " : ", " ", "::", ": \t ")
_ENDS = (*("\r\n",) * 80, " \r\n", "\t\r\n", "\n", "\r", "\r\n ", "\r\n\t", "\r\r\n", "\r\n\r\n")
_LENGTHS = ("+3", "-1", "3 ", "03", "3,3", "0x3", "\xb3", "", "1e1", "9" * 20, "9" * 5_000, "1_0")
_BODIES = (
    b"{}",
    b"abc",
    b'{"a": 1}\r\nb\r\n',
    b"x" * 100,
    b"GET / HTTP/1.1\r\nHost: inner\r\n\r\n",
    b"x" * 9_000,
)
# What parsers have been caught with.
_BYTES = b"\r\n \t:\x00\x0b\x7f\x80\xff_-,;/?#%.1a"


def stream(chance: random.Random) -> list[bytes]:
    """Return one to four requests in pieces: many in the plainest form, or a byte away from it."""
    made = b"".join(_request(chance) for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))))
    if chance.random() < 0.5:
        made = _bent(chance, made)
    if chance.random() < 0.1:
        made = made[: chance.randrange(len(made) + 1)]
    return _pieces(chance, made)


def split_once(made: bytes) -> list[list[bytes]]:
    """Return a stream cut in two at each of its places."""
    return [[made[:place], made[place:]] for place in range(1, len(made))]


def _request(chance: random.Random) -> bytes:
    pick = chance.choice
    # Of what is odd there is mostly one thing at a time, or all would be refused for the first.
    is_odd = chance.random() < 0.4
    method = pick(_ODD_METHODS if is_odd else _METHODS)
    target = pick(_ODD_TARGETS if is_odd else _TARGETS)
    version = pick(_VERSIONS) if is_odd else "HTTP/1.1"
    end = partial(pick, _ENDS) if is_odd and chance.random() < 0.3 else lambda: "\r\n"
    colon = partial(pick, _COLONS) if is_odd and chance.random() < 0.3 else lambda: ": "
    body = pick(_BODIES) if method in {"POST", "PUT", "PATCH"} or chance.random() < 0.1 else b""
    fields = [("Host", pick(_HOSTS) if is_odd else "harbor")]
    if is_odd:
        fields += [(pick(_ODD_NAMES), pick(_ODD_VALUES)) for _ in range(pick((0, 1, 1, 2, 3)))]
        fields = fields * 40 if chance.random() < 0.01 else fields
    else:
        fields += [(f"X-Forwarded-{name}", "a") for name in ("For", "Host", "Proto")[: pick((0, 0, 1, 3))]]
        fields += [("Connection", pick(_OPTIONS))] * pick((0, 0, 0, 1))
        fields += [(pick(_NAMES), pick(_VALUES))] * pick((0, 1))
    if body:
        length = (
            pick(_LENGTHS) if is_odd and chance.random() < 0.2 else str(len(body) + pick((0,) * 9 + (-1, 1)))
        )
        fields.append((pick(("Content-Length", "content-length")), length))
    if is_odd and chance.random() < 0.1:
        fields.pop(0)
    chance.shuffle(fields)
    head = f"{method} {target} {version}" + end()
    head += "".join(name + colon() + value + end() for name, value in fields) + end()
    return head.encode("latin-1") + body


def _bent(chance: random.Random, made: bytes) -> bytes:
    """Return it with a few bytes put in, taken out, changed, or repeated."""
    bent = bytearray(made)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        place = chance.randrange(len(bent))
        kind = chance.randrange(5)
        if kind == 0:
            bent.insert(place, chance.choice(_BYTES))
        elif kind == 1:
            bent[place] = chance.choice(_BYTES)
        elif kind == 2:
            bent[place] = chance.randrange(256)
        elif kind == 3 and len(bent) > 1:
            del bent[place : place + chance.choice((1, 1, 2, 20))]
        else:
            bent[place:place] = bent[place : place + chance.choice((1, 2, 20, 60))]
        bent = bent or bytearray(b"\r")
    return bytes(bent)


def _pieces(chance: random.Random, made: bytes) -> list[bytes]:
    cuts: Sequence[int] = ()
    if chance.random() < 0.5:
        cuts = sorted(chance.randrange(len(made) + 1) for _ in range(chance.choice((1, 1, 2, 5))))
    return [made[begin:end] for begin, end in zip((0, *cuts), (*cuts, len(made)), strict=True)]
