"""The vectors of refused requests, most of them mistakes that firmware makes."""

import base64
import hashlib
import hmac
import json
from typing import Any

from tests.firmware.vectors.signer import FIX, MASTER, NOW, OTHER_MASTER, Request, mac, v1, whsec
from tests.firmware.vectors.vector import vector


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
