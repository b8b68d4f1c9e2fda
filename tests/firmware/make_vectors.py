"""Make openapi/firmware/vectors.json: ``python tests/firmware/make_vectors.py`` rewrites it.

What is in it is in vectors/, a file for each group.
"""

import json
import sys
from pathlib import Path
from typing import Any

# Started as a script, Python looks for modules here, not where the tests are imported from.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.firmware.vectors.bodies import bodies
from tests.firmware.vectors.clocks import clocks
from tests.firmware.vectors.identities import identities
from tests.firmware.vectors.refusals import refusals
from tests.firmware.vectors.rotations import rotations
from tests.firmware.vectors.signer import hkdf_sha256
from tests.firmware.vectors.vector import FIELDS

# What the test of the vectors runs this file for.
__all__ = ["VECTORS_FILE", "hkdf_sha256", "render"]

VECTORS_FILE = Path(__file__).resolve().parents[2] / "openapi" / "firmware" / "vectors.json"


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
