"""The vectors about what is signed."""

from typing import Any

from tests.firmware.vectors.signer import FIX, Request
from tests.firmware.vectors.vector import vector


def bodies() -> list[dict[str, Any]]:
    """Return the vectors about what is signed."""
    made = [
        vector(
            "contract",
            "The vector printed in the API's contract; made with Python, OpenSSL, C and a library.",
            Request(b'{"at":"2026-01-02T03:04:05Z","lat":59.9,"lon":10.7}'),
        ),
        vector("fix", "A fix as a tracker sends it.", Request()),
        vector("body_empty", "Without a body, the signed bytes end with a dot.", Request(b"")),
        vector("body_one_byte", "The smallest body.", Request(b"0")),
        vector(
            "body_unicode",
            "The bytes as sent are signed: UTF-8, neither escaped nor normalised.",
            Request('{"note":"Ærøskøbing, 東京 🚢 e\u0301"}'.encode()),
        ),
        vector(
            "body_unicode_escaped",
            "The same letters as JSON escapes are other bytes and have another signature.",
            Request(b'{"note":"\\u00c6r\\u00f8sk\\u00f8bing"}'),
        ),
        vector(
            "body_byte_order_mark",
            "A byte order mark is a part of the body.",
            Request(b"\xef\xbb\xbf{}"),
        ),
        vector("body_nul", "A NUL byte does not end the body.", Request(b'{"a":"\x00"}\x00tail')),
        vector("body_binary", "All 256 bytes: the body is not text.", Request(bytes(range(256)))),
        vector("body_high_bytes", "Bytes above 127 stay unsigned.", Request(b"\xff\xfe\x80" * 7)),
        vector("body_crlf", "CR LF is not rewritten.", Request(b'{\r\n  "lat": 59.9\r\n}\r\n')),
        vector("body_lf", "LF is not rewritten.", Request(b'{\n  "lat": 59.9\n}\n')),
        vector("body_space_around", "Space around the JSON counts.", Request(b"  " + FIX + b" \t")),
        vector("body_dots", "Dots in the body do not confuse anyone.", Request(b"...1.2.3...")),
        vector("body_percent", "Nothing in the body is a format.", Request(b"%s%n%d %00 \\x00")),
        vector(
            "body_100_kB",
            "A long body, in pieces if memory is short.",
            Request(b"0123456789" * 10_000),
            repeat=("0123456789", 10_000),
        ),
    ]
    # trk_0001-1 and ten digits of time, each with its dot, are 22 bytes.
    made += [
        vector(
            f"signed_bytes_{length}",
            "SHA-256 works in blocks of 64 bytes and pads from byte 56 on: an edge of its padding.",
            Request(b"x" * (length - 22), suffix="1"),
        )
        for length in (55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129)
    ]
    return made
