"""The vectors about several signatures in one header."""

import base64
from typing import Any

from tests.firmware.vectors.signer import Request, v1
from tests.firmware.vectors.vector import vector


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
