"""The page for firmware writers: its commands and code run as printed, its table is complete."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from harbor_api.domain import errors, signatures
from harbor_api.domain.authentication import TOLERANCE_S

FIRMWARE = Path(__file__).resolve().parents[2] / "openapi" / "firmware"
PAGE = (FIRMWARE / "README.md").read_text(encoding="utf-8")
SECRET = signatures.derive_secret(bytes(range(32)), "trk_0001", 1)

MAIN = """
int main(void)
{
    static const char body[] = "{\\"at\\":\\"2026-01-02T03:04:05Z\\",\\"lat\\":59.9,\\"lon\\":10.7}";
    char signature[HARBOR_SIGNATURE_SIZE];
    uint8_t key[HARBOR_KEY_SIZE];
    mbedtls_md_context_t context;
    harbor_hmac hmac;
    int i;

    if (harbor_hmac_mbedtls(&hmac, &context) != 0 || harbor_key(key, SECRET) != HARBOR_OK) {
        return 1;
    }
    for (i = 0; i < 2; i++) { /* a context can be used again */
        if (harbor_sign(&hmac, key, "trk_0001-1-42", "1767323045", body, sizeof body - 1, signature,
                        sizeof signature) != HARBOR_OK) {
            return 2;
        }
    }
    mbedtls_md_free(&context);
    return puts(signature) < 0;
}
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_shell_commands_sign_as_the_service_expects(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on the path")
    # In the place of curl: print the arguments, one a line.
    stub = tmp_path / "curl"
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    stub.chmod(0o755)
    ran = subprocess.run(
        ["sh", "-eu", "-c", blocks("sh")[0]],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "TRACKER_ID": "trk_0001",
            "TRACKER_SECRET": SECRET,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    sent = ran.stdout.splitlines()
    headers = dict(line.split(": ", 1) for line in sent if re.match(r"[a-z-]+: ", line))
    body = sent[sent.index("--data-binary") + 1].encode()
    assert body.startswith(b'{"recorded_at":"20')
    assert signatures.verify(
        SECRET,
        headers["webhook-id"],
        headers["webhook-timestamp"],
        body,
        headers["webhook-signature"],
    )
    assert headers["content-type"] == "application/json"


def test_c_commands_print_what_the_page_says(c_compiler: str, tmp_path: Path) -> None:
    for source in FIRMWARE.glob("*.[ch]"):
        shutil.copy(source, tmp_path)
    command = blocks("sh")[1].replace("cc ", shlex.quote(c_compiler) + " ", 1)
    ran = subprocess.run(
        ["sh", "-eu", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout == blocks("text")[0]


def test_mbedtls_code_signs_alike(c_compiler: str, tmp_path: Path) -> None:
    source = tmp_path / "with_mbedtls.c"
    source.write_text(
        f'#include <stdio.h>\n#define SECRET "{SECRET}"\n{blocks("c")[0]}{MAIN}', encoding="utf-8"
    )
    found = subprocess.run(
        [c_compiler, "-E", "-x", "c", "-"],
        input=b"#include <mbedtls/md.h>\n",
        capture_output=True,
        check=False,
    )
    if found.returncode != 0:
        pytest.skip("no Mbed TLS headers on this machine")
    program = str(tmp_path / "with_mbedtls")
    command = [c_compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{FIRMWARE}", "-o", program]
    command += [str(source), str(FIRMWARE / "harbor_sign.c"), "-lmbedcrypto"]
    subprocess.run(command, check=True)
    ran = subprocess.run([program], capture_output=True, text=True, check=True)
    assert ran.stdout == "v1,V2EK6f2+AANHoO2RU4CoqhLxAItRUIUoJqkTjEFKOfc=\n"


def test_table_has_every_answer_that_a_tracker_may_get(harbor_sign: ModuleType) -> None:
    section = PAGE.partition("## Answer by answer")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if re.match(r"\| [0-9]", line)]
    fate: dict[tuple[int, str | None], str] = {}
    for answer, _, the_fix, _ in rows:
        quoted = re.search(r"`(\w+)`", answer)
        for status in re.findall(r"\b[0-9]{3}\b", answer):
            fate[int(status), quoted[1] if quoted else None] = the_fix

    assert {(status, None) for status in (200, 201, 202, 400, 404, 413, 415, 422, 429, 503)} <= set(fate)
    for error in (
        errors.SignatureMissing,
        errors.SignatureInvalid,
        errors.TimestampOutOfTolerance,
        errors.TrackerDisabled,
    ):
        assert (error.status, error.code) in fate
    assert f"`{errors.NoFix.code}`" in section
    # The page and the example never disagree on what may be erased.
    for (status, code), the_fix in fate.items():
        action = harbor_sign.what_to_do(status, code)
        assert (action == harbor_sign.ERASE) == (the_fix == "erase"), status
        assert (action == harbor_sign.SET_ASIDE) == (the_fix == "set aside"), status


def test_numbers_on_the_page_are_the_services() -> None:
    assert f"at most {TOLERANCE_S} s off" in PAGE
    assert f"up to {signatures.MAX_SIGNATURES}, separated" in PAGE
    assert f"{1024 * 7 * 86400:,} s" in PAGE


def test_files_named_on_the_page_are_there() -> None:
    names = set(re.findall(r"`(\w+\.(?:c|h|py|json))`", PAGE))
    assert names >= {"harbor_sign.c", "harbor_sign.py", "vectors.json"}
    assert [name for name in names if not (FIRMWARE / name).exists()] == []
