"""The C signer: compiled as firmware would, run against the vectors, compared with Python."""

import base64
import re
import shutil
import subprocess
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.examples import many

from harbor_api.domain import signatures

FIRMWARE = Path(__file__).resolve().parents[2] / "openapi" / "firmware"
MASTER = bytes(range(32))
SECRET = signatures.derive_secret(MASTER, "trk_0001", 1)

TOO_SMALL, BAD_SECRET, BAD_ID, TOO_MANY, BAD_DATE, HMAC_FAILED = range(1, 7)

# The fixtures are of the session, so that Hypothesis' examples may share them.
same_every_time = settings(
    max_examples=many(60),
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def headers(message_id: str, timestamp: str, signature: str) -> bytes:
    return (
        f"webhook-id: {message_id}\nwebhook-timestamp: {timestamp}\nwebhook-signature: {signature}\n"
    ).encode()


def test_output_equals_the_vectors(run_c: Any, signed_vectors: list[tuple[dict[str, Any], bytes]]) -> None:
    for vector, body in signed_vectors:
        tracker, _, suffix = vector["webhook_id"].partition("-")
        made = run_c(
            tracker,
            suffix,
            vector["webhook_timestamp"],
            secret=vector["secret"],
            other_secret=vector.get("other_secret"),
            body=body,
        )
        expected = headers(vector["webhook_id"], vector["webhook_timestamp"], vector["webhook_signature"])
        assert (made.returncode, made.stdout) == (0, expected), (vector["name"], made.stderr)


@same_every_time
@given(
    body=st.binary(max_size=1100),
    key=st.binary(min_size=32, max_size=32),
    suffix=st.text("ABCXYZabcxyz0189_-", min_size=1, max_size=64),
    timestamp=st.integers(0, 2**32 - 1),
)
def test_random_bodies_are_signed_as_in_python(
    run_c: Any, body: bytes, key: bytes, suffix: str, timestamp: int
) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    made = run_c("trk_0001", suffix, str(timestamp), secret=secret, body=body)
    message_id = f"trk_0001-{suffix}"
    signature = signatures.sign(secret, message_id, timestamp, body)
    assert made.stdout == headers(message_id, str(timestamp), signature)
    assert signatures.verify(secret, message_id, str(timestamp), body, signature)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec",
        SECRET[6:],
        SECRET[:-1],
        SECRET + "=",
        SECRET + "\n",
        " " + SECRET,
        SECRET.replace("=", "A"),
        SECRET.replace("4=", "5="),  # two bits after the key that must be zero
        SECRET.replace("K", "*", 1),
        SECRET.replace("K", "-", 1),
        SECRET.replace("K", "\u00e9", 1),
        "whsec_" + base64.b64encode(bytes(31)).decode(),
        "whsec_" + base64.b64encode(bytes(33)).decode(),
        "WHSEC_" + SECRET[6:],
    ],
)
def test_malformed_secret_is_refused(run_c: Any, secret: str) -> None:
    made = run_c("trk_0001", "1", "1767323045", secret=secret)
    assert (made.returncode, made.stdout) == (BAD_SECRET, b"")


@pytest.mark.parametrize(
    ("tracker", "suffix"),
    [
        ("", "1"),
        ("trk_0001", ""),
        ("trk-0001", "1"),
        ("trk_0001", "1.2"),
        ("trk_0001", "1 2"),
        ("trk_0001", "\u00e9"),
        ("trk.0001", "1"),
        ("trk_0001", "a" * 65),
        ("trk_0001", "a" * 5000),
        ("trk_00000000001", "1"),
        ("trk_0001", "1\r\nx: y"),
        ("trk_0001", "a/b"),
        ("trk_0001", "a+b"),
    ],
)
def test_malformed_id_is_refused(run_c: Any, tracker: str, suffix: str) -> None:
    made = run_c(tracker, suffix, "1767323045", secret=SECRET)
    assert (made.returncode, made.stdout) == (BAD_ID, b"")


def test_buffers_failures_and_pieces(compile_c: Any, c_environment: dict[str, str]) -> None:
    program = compile_c(Path(__file__).with_name("checks.c"))
    ran = subprocess.run(
        [program], capture_output=True, text=True, check=False, env=c_environment, timeout=30
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_dates_are_read_as_in_python(run_c: Any, dates: list[tuple[str, int | None]]) -> None:
    for text, seconds in dates:
        made = run_c("--date", text)
        if seconds is None:
            assert (made.returncode, made.stdout) == (BAD_DATE, b""), text
        else:
            assert (made.returncode, made.stdout) == (0, b"%d\n" % seconds), text


@pytest.mark.parametrize(
    "text",
    [
        "Thu, 31 Dec 1969 23:59:59 GMT",
        "Fri, 01 Jan 2106 00:00:00 GMT",
        "Sat, 01 Jan 9999 00:00:00 GMT",
    ],
)
def test_date_beyond_32_bits_is_refused(run_c: Any, text: str) -> None:
    assert run_c("--date", text).returncode == BAD_DATE


@same_every_time
@given(seconds=st.integers(0, int(datetime(2105, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())))
def test_random_dates_are_read_as_in_python(run_c: Any, seconds: int) -> None:
    text = format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
    assert run_c("--date", text).stdout == b"%d\n" % seconds


@same_every_time
@given(
    text=st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=32)
    | st.builds(
        lambda at, new: "Sun, 06 Nov 1994 08:49:37 GMT"[:at] + new,
        st.integers(0, 29),
        st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=4),
    )
)
def test_random_text_never_trips_the_date_parser(run_c: Any, text: str) -> None:
    assert run_c("--date", text).returncode in {0, BAD_DATE}


def test_size_for_firmware_is_small(
    c_compiler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = shutil.which("size")
    if size is None:
        pytest.skip("no binutils: size is not on the path")
    for_size = [c_compiler, "-std=c99", "-Os", "-fno-asynchronous-unwind-tables"]
    lines = []
    for name, limit in (("harbor_sign", 4096), ("harbor_hmac_sha256", 4096)):
        made = tmp_path / f"{name}.o"
        subprocess.run(
            [*for_size, "-c", str(FIRMWARE / f"{name}.c"), "-o", str(made)],
            check=True,
        )
        listed = subprocess.run([size, str(made)], capture_output=True, text=True, check=True)
        text, data, bss = (int(each) for each in listed.stdout.splitlines()[1].split()[:3])
        lines.append(f"{name}.o with -Os: {text} bytes of code, {data} of data, {bss} of bss")
        assert text < limit
        assert (data, bss) == (0, 0), "no global state"
    with capsys.disabled():
        print("", *lines, sep="\n")


def test_signer_needs_nothing_of_libc_but_two_functions(c_compiler: str, tmp_path: Path) -> None:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no binutils: nm is not on the path")
    made = tmp_path / "harbor_sign.o"
    for_size = [c_compiler, "-std=c99", "-Os", "-fno-stack-protector"]
    subprocess.run([*for_size, "-c", str(FIRMWARE / "harbor_sign.c"), "-o", str(made)], check=True)
    listed = subprocess.run([nm, "-u", str(made)], capture_output=True, text=True, check=True)
    # Names that start with two underscores are the compiler's own, such as a division.
    needed = {each for each in re.findall(r"\bU (\w+)", listed.stdout) if not each.startswith("__")}
    assert {each.lstrip("_") for each in needed} <= {"memchr", "memcmp"}
