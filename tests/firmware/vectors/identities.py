"""The vectors about ids, times, secrets and their derivation."""

from typing import Any

from tests.firmware.vectors.signer import OTHER_MASTER, Request
from tests.firmware.vectors.vector import vector


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
