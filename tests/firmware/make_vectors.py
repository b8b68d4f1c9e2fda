"""Make openapi/firmware/vectors.json: ``python tests/firmware/make_vectors.py`` rewrites it.

Derivation and signing are written out here from RFC 5869 and the Standard Webhooks text and share
no code with the service, so that a mistake in one shows as a difference to the other.
"""

import base64
import contextlib
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

VECTORS_FILE = Path(__file__).resolve().parents[2] / "openapi" / "firmware" / "vectors.json"

MASTER = bytes(range(32))
OTHER_MASTER = b"\xff" * 32
NOW = 1767323045  # 2026-01-02T03:04:05Z
FIX = (
    b'{"recorded_at":"2026-01-02T03:04:05Z","lat":59.9,"lon":10.7,"sog":8.4,'
    b'"cog":181.2,"heading":180,"nav_status":0}'
)

FIELDS = {
    "name": "A unique name, snake_case.",
    "why": "What a signer or a verifier that fails this vector has got wrong.",
    "accept": "Whether the service takes the request as signed.",
    "code": "Only where accept is false: the `code` of the service's 401.",
    "harbor_only": "True where a plain Standard Webhooks verifier would decide otherwise.",
    "master_key": "The operator's key, hex. Here to check the derivation; no tracker ever has it.",
    "tracker_id": "Whose secret signed.",
    "generation": "The generation of that secret.",
    "secret": "whsec_ and base64 of HKDF-SHA256(ikm = master_key, "
    "salt = 'harbor/tracker-hmac/v1', info = '<tracker_id>:<generation>', 32 bytes).",
    "other_generation": "Only while keys rotate: the generation of the second signature.",
    "other_secret": "Only while keys rotate: the secret of the second signature.",
    "webhook_id": "The header, null where it is not sent.",
    "webhook_timestamp": "The header, null where it is not sent.",
    "webhook_signature": "The header, null where it is not sent.",
    "body_base64": "The body. Absent where body_repeat stands.",
    "body_text": "The body once more, where it is UTF-8.",
    "body_repeat": "The body is `text`, `times` times over.",
    "body_bytes": "The length of the body in bytes.",
    "signed_bytes": "The length of webhook_id + '.' + webhook_timestamp + '.' + body.",
    "signer_makes": "True where a right signer, given secret (and other_secret), webhook_id, "
    "webhook_timestamp and body, makes exactly webhook_signature. False where the header is wrong "
    "on purpose or holds more than a signer would send.",
    "server_time": "The service's clock in unix seconds when the request comes.",
    "server_master_key": "The service's master key, only where it is not master_key.",
    "server_generations": "The trackers that the service knows, each with its valid generations.",
}


def hkdf_sha256(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """Return HKDF-SHA256 as RFC 5869 has it: extract, then expand to ``length`` bytes."""
    pseudorandom_key = hmac.new(salt, key, hashlib.sha256).digest()
    output = block = b""
    counter = 1
    while len(output) < length:
        block = hmac.new(pseudorandom_key, block + info + bytes([counter]), hashlib.sha256).digest()
        output += block
        counter += 1
    return output[:length]


def tracker_key(master: bytes, tracker_id: str, generation: int) -> bytes:
    """Return the 32 bytes that a tracker signs with."""
    info = f"{tracker_id}:{generation}".encode()
    return hkdf_sha256(master, b"harbor/tracker-hmac/v1", info, 32)


def whsec(key: bytes) -> str:
    """Return a key in the form in which a tracker gets it."""
    return "whsec_" + base64.b64encode(key).decode()


def mac(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    """Return the 32 bytes of the signature."""
    message = message_id.encode() + b"." + timestamp.encode() + b"." + body
    return hmac.new(key, message, hashlib.sha256).digest()


def v1(signature: bytes) -> str:
    """Return a signature as the header carries it."""
    return "v1," + base64.b64encode(signature).decode()


class Request:
    """One request in the making: right in every respect until a vector overrides a part."""

    def __init__(
        self,
        body: bytes = FIX,
        *,
        suffix: str = "1-42",
        tracker: str = "trk_0001",
        generation: int = 1,
        other: int | None = None,
        master: bytes = MASTER,
        timestamp: int = NOW,
    ) -> None:
        self.body = body
        self.tracker = tracker
        self.generation = generation
        self.other = other
        self.master = master
        self.id = f"{tracker}-{suffix}"
        self.timestamp = str(timestamp)

    def key(self, generation: int | None = None) -> bytes:
        return tracker_key(self.master, self.tracker, generation or self.generation)

    def signature(self, generation: int | None = None) -> str:
        return v1(mac(self.key(generation), self.id, self.timestamp, self.body))

    def header(self) -> str:
        return " ".join(self.signature(each) for each in (self.generation, self.other) if each is not None)


def vector(
    name: str,
    why: str,
    request: Request,
    *,
    code: str | None = None,
    harbor_only: bool = False,
    signer_makes: bool | None = None,
    server_time: int = NOW,
    server: dict[str, list[int]] | None = None,
    server_master: bytes | None = None,
    repeat: tuple[str, int] | None = None,
    **sent: Any,
) -> dict[str, Any]:
    """Return one vector; ``sent`` replaces headers or the body by what arrives instead."""
    headers = {
        "webhook_id": sent.get("webhook_id", request.id),
        "webhook_timestamp": sent.get("webhook_timestamp", request.timestamp),
        "webhook_signature": sent.get("webhook_signature", request.header()),
    }
    body: bytes = sent.get("body", request.body)
    made: dict[str, Any] = {"name": name, "why": why, "accept": code is None}
    if code is not None:
        made["code"] = code
    if harbor_only:
        made["harbor_only"] = True
    made |= {
        "master_key": request.master.hex(),
        "tracker_id": request.tracker,
        "generation": request.generation,
        "secret": whsec(request.key()),
    }
    if request.other is not None:
        made |= {
            "other_generation": request.other,
            "other_secret": whsec(request.key(request.other)),
        }
    made |= {
        "webhook_id": headers["webhook_id"],
        "webhook_timestamp": headers["webhook_timestamp"],
    }
    if repeat is None:
        made["body_base64"] = base64.b64encode(body).decode()
        with contextlib.suppress(UnicodeDecodeError):
            made["body_text"] = body.decode()
    else:
        made["body_repeat"] = {"text": repeat[0], "times": repeat[1]}
    made["body_bytes"] = len(body)
    if None not in headers.values():
        prefix = f"{headers['webhook_id']}.{headers['webhook_timestamp']}."
        made["signed_bytes"] = len(prefix) + len(body)
    made["webhook_signature"] = headers["webhook_signature"]
    made["signer_makes"] = not sent if signer_makes is None else signer_makes
    made["server_time"] = server_time
    if server_master is not None:
        made["server_master_key"] = server_master.hex()
    made["server_generations"] = server or {request.tracker: [request.generation]}
    return made


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


def identities() -> list[dict[str, Any]]:
    """Return the vectors about ids, times, secrets and their derivation."""
    longest = "".join(chr(ord("a") + i % 26) for i in range(64))
    return [
        vector("id_shortest", "A suffix of one character.", Request(suffix="0")),
        vector("id_longest_suffix", "A suffix of 64 characters.", Request(suffix=longest)),
        vector(
            "id_longest",
            "The largest tracker number and a suffix of 64: 79 characters.",
            Request(tracker="trk_2147483647", suffix=longest),
        ),
        vector(
            "id_every_character",
            "Every character that a suffix may have.",
            Request(suffix="-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        ),
        vector(
            "id_dashes",
            "The tracker id ends at the first dash, whatever follows.",
            Request(suffix="--trk_0002-1--"),
        ),
        vector("other_tracker", "Another tracker, another secret.", Request(tracker="trk_0002")),
        vector(
            "tracker_of_five_digits",
            "The derivation takes the id as it is written.",
            Request(tracker="trk_12345"),
        ),
        vector("generation_2", "The next generation.", Request(generation=2)),
        vector("generation_10", "A generation is written in decimal.", Request(generation=10)),
        vector("other_master", "Another operator's master key.", Request(master=OTHER_MASTER)),
        vector(
            "timestamp_after_2038",
            "Past the end of signed 32-bit seconds.",
            Request(timestamp=2**31 + 7),
            server_time=2**31 + 7,
        ),
        vector(
            "timestamp_near_2106",
            "The last second of unsigned 32-bit time.",
            Request(timestamp=2**32 - 1),
            server_time=2**32 - 1,
        ),
    ]


def clocks() -> list[dict[str, Any]]:
    """Return the vectors about the tolerance of 300 s on the time of the attempt."""
    stale = "timestamp_out_of_tolerance"
    return [
        vector(
            "clock_300_s_behind",
            "300 s behind is still within the tolerance.",
            Request(),
            server_time=NOW + 300,
        ),
        vector(
            "clock_300_s_ahead",
            "300 s ahead is still within the tolerance.",
            Request(),
            server_time=NOW - 300,
        ),
        vector(
            "clock_301_s_behind",
            "Signed right, but sent too late: sign again with the time of this attempt.",
            Request(),
            code=stale,
            server_time=NOW + 301,
        ),
        vector(
            "clock_301_s_ahead",
            "Signed right by a clock that runs ahead: set it from Date.",
            Request(),
            code=stale,
            server_time=NOW - 301,
        ),
        vector(
            "clock_dead",
            "A clock that starts at 1970: set it from Date.",
            Request(timestamp=86),
            code=stale,
        ),
        vector(
            "clock_week_rollover",
            "A receiver 1024 weeks behind: its time is no time to sign with.",
            Request(timestamp=NOW - 1024 * 7 * 86400),
            code=stale,
        ),
        vector(
            "fix_days_old_signed_now",
            "A buffered fix: the fix is old, the attempt is not.",
            Request(timestamp=NOW + 9 * 86400),
            server_time=NOW + 9 * 86400,
        ),
    ]


def rotations() -> list[dict[str, Any]]:
    """Return the vectors about several signatures in one header."""
    good = Request()
    filler = [v1(bytes([i]) * 32) for i in range(4)]
    v2 = "v2," + base64.b64encode(b"\x02" * 64).decode()
    return [
        vector(
            "rotation_both_valid",
            "In the grace time: both signatures are good.",
            Request(generation=2, other=1),
            server={"trk_0001": [2, 1]},
        ),
        vector(
            "rotation_new_only_valid",
            "After the grace time: the first is good, the old one is passed over.",
            Request(generation=2, other=1),
            server={"trk_0001": [2]},
        ),
        vector(
            "rotation_old_only_valid",
            "Before the operator rotated: the second is good, the unknown one is passed over.",
            Request(generation=2, other=1),
            server={"trk_0001": [1]},
        ),
        vector(
            "rotation_old_first",
            "The order of the signatures does not matter.",
            Request(generation=1, other=2),
            server={"trk_0001": [2]},
        ),
        vector(
            "rotation_old_alone_in_grace",
            "A tracker that has not got its new secret yet signs with the old one.",
            Request(),
            server={"trk_0001": [2, 1]},
        ),
        vector(
            "rotation_old_alone_after_grace",
            "The grace time is over: this tracker needs its new secret.",
            Request(),
            server={"trk_0001": [2]},
            code="signature_invalid",
        ),
        vector(
            "rotation_neither_valid",
            "Both signatures are of other generations.",
            Request(generation=2, other=1),
            server={"trk_0001": [3]},
            code="signature_invalid",
        ),
        vector(
            "four_signatures_last_good",
            "Four signatures are the most that a header may hold.",
            good,
            webhook_signature=" ".join([*filler[:3], good.header()]),
        ),
        vector(
            "five_signatures_last_good",
            "More than four are refused whole, whatever they are.",
            good,
            webhook_signature=" ".join([*filler, good.header()]),
            code="signature_invalid",
            harbor_only=True,
        ),
        vector(
            "v2_beside_v1",
            "Versions that the service does not know are passed over.",
            good,
            webhook_signature=f"{v2} {good.header()}",
        ),
        vector(
            "v2_only",
            "No v1 signature, so none that counts.",
            good,
            webhook_signature=v2,
            code="signature_invalid",
        ),
        vector(
            "signatures_joined_by_comma",
            "Signatures are separated by a space, not as HTTP lists are.",
            good,
            webhook_signature=",".join([filler[0], good.header()]),
            code="signature_invalid",
        ),
    ]


def refusals() -> list[dict[str, Any]]:
    """Return the vectors of refused requests, most of them mistakes that firmware makes."""
    good = Request()
    key, full = good.key(), mac(good.key(), good.id, good.timestamp, good.body)
    two_trackers = {"trk_0001": [1], "trk_0002": [1]}

    def wrong(name: str, why: str, header: str, **others: Any) -> dict[str, Any]:
        return vector(name, why, good, code="signature_invalid", webhook_signature=header, **others)

    def changed(name: str, why: str, body: bytes) -> dict[str, Any]:
        return vector(name, why, good, code="signature_invalid", body=body)

    def missing(name: str, why: str, **headers: Any) -> dict[str, Any]:
        return vector(name, why, good, code="signature_missing", **headers)

    return [
        changed("body_changed", "One digit of the body is another.", FIX.replace(b"59.9", b"59.8")),
        changed("body_cut", "The last byte did not arrive.", FIX[:-1]),
        changed("body_line_feed_added", "A line feed was sent that was not signed.", FIX + b"\n"),
        changed(
            "body_rewritten",
            "The same JSON with other spaces: sign what is sent, do not encode it twice.",
            json.dumps(json.loads(FIX)).encode(),
        ),
        changed("body_dropped", "The body did not arrive at all.", b""),
        vector(
            "id_changed",
            "The id is signed, too.",
            good,
            webhook_id="trk_0001-1-43",
            code="signature_invalid",
        ),
        vector(
            "timestamp_changed",
            "The timestamp is signed, too: a new attempt needs a new signature.",
            good,
            webhook_timestamp=str(NOW + 60),
            server_time=NOW + 60,
            code="signature_invalid",
        ),
        vector(
            "tracker_changed",
            "A signature of one tracker is not good for another.",
            good,
            webhook_id="trk_0002-1-42",
            server=two_trackers,
            code="signature_invalid",
        ),
        vector(
            "secret_of_another_tracker",
            "Signed by the book, but with another tracker's secret.",
            good,
            webhook_id="trk_0002-1-42",
            webhook_signature=v1(mac(key, "trk_0002-1-42", good.timestamp, FIX)),
            signer_makes=True,
            server=two_trackers,
            code="signature_invalid",
        ),
        vector(
            "secret_of_another_master",
            "Signed with a secret of another installation, such as the test system.",
            Request(master=OTHER_MASTER),
            server_master=MASTER,
            code="signature_invalid",
        ),
        vector(
            "generation_not_yet_valid",
            "Signed with a generation that the service does not have.",
            Request(generation=2),
            server={"trk_0001": [1]},
            code="signature_invalid",
        ),
        vector(
            "tracker_unknown",
            "The service does not tell an unknown tracker from a wrong signature.",
            Request(tracker="trk_9999"),
            server={"trk_0001": [1]},
            code="signature_invalid",
        ),
        wrong(
            "key_is_the_text",
            "Signed with the text of the secret: decode its base64 first.",
            v1(mac(whsec(key).encode(), good.id, good.timestamp, FIX)),
        ),
        wrong(
            "key_is_the_base64",
            "Signed with the base64 of the secret: decode it first.",
            v1(mac(whsec(key)[6:].encode(), good.id, good.timestamp, FIX)),
        ),
        wrong(
            "body_signed_alone",
            "The id and the timestamp were not signed.",
            v1(hmac.new(key, FIX, hashlib.sha256).digest()),
        ),
        wrong(
            "hash_without_key",
            "SHA-256 of the key and the message is not an HMAC.",
            v1(hashlib.sha256(key + f"{good.id}.{good.timestamp}.".encode() + FIX).digest()),
        ),
        wrong("signature_hex", "Hex instead of base64.", "v1," + full.hex()),
        wrong(
            "signature_of_hex",
            "Base64 of the hex digits instead of the bytes.",
            "v1," + base64.b64encode(full.hex().encode()).decode(),
        ),
        wrong("signature_half", "The HMAC was cut to 16 bytes.", v1(full[:16])),
        wrong("signature_cut", "The last four characters are missing.", good.header()[:-4]),
        wrong(
            "signature_unpadded",
            "Base64 without its = at the end.",
            good.header().rstrip("="),
        ),
        wrong(
            "signature_one_bit_off",
            "One bit of the HMAC is wrong.",
            v1(bytes([full[0] ^ 1]) + full[1:]),
        ),
        wrong("signature_garbage", "Not base64 at all.", "v1,!!not*base64!!"),
        wrong("signature_empty", "A version without a signature.", "v1,"),
        wrong(
            "signature_bare",
            "A signature without its version.",
            good.header().removeprefix("v1,"),
        ),
        wrong(
            "version_in_capitals",
            "The version is v1, not V1.",
            good.header().replace("v1", "V1"),
        ),
        wrong(
            "version_with_equals_sign",
            "v1 and the signature are separated by a comma.",
            good.header().replace("v1,", "v1="),
        ),
        vector(
            "timestamp_in_milliseconds",
            "The timestamp is in seconds; with more than 12 digits it is malformed.",
            Request(timestamp=NOW * 1000),
            signer_makes=False,
            code="signature_missing",
        ),
        *(
            vector(
                name,
                "Signed right, but the id is not <tracker id>-<1 to 64 of A-Z a-z 0-9 _ ->.",
                Request(suffix=suffix),
                signer_makes=False,
                code="signature_missing",
                harbor_only=True,
            )
            for name, suffix in (
                ("id_suffix_empty", ""),
                ("id_suffix_too_long", "a" * 65),
                ("id_suffix_with_dot", "1.42"),
            )
        ),
        missing("header_signature_missing", "No webhook-signature.", webhook_signature=None),
        missing("header_id_missing", "No webhook-id.", webhook_id=None),
        missing("header_timestamp_missing", "No webhook-timestamp.", webhook_timestamp=None),
    ]


def document() -> dict[str, Any]:
    """Return all that the file holds."""
    return {
        "format": 1,
        "title": "Harbor API: signing test vectors (Standard Webhooks v1, HMAC-SHA256)",
        "about": [
            "The secrets in this file are public. Never use them, nor their master keys.",
            "A signer is right if it makes webhook_signature wherever signer_makes is true.",
            "A verifier is right if it decides each vector as accept and code say.",
            "`format` grows by one when a field changes its meaning or goes, not with additions.",
        ],
        "fields": FIELDS,
        "vectors": [*bodies(), *identities(), *clocks(), *rotations(), *refusals()],
    }


def render() -> str:
    """Return the file's text."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    VECTORS_FILE.write_text(render(), encoding="utf-8", newline="\n")
    print(f"{len(document()['vectors'])} vectors in {VECTORS_FILE.name}")
