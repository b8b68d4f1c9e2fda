"""The page for firmware writers: its commands and code run as printed, its table is what the kit does."""

import json
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
from harbor_api.schemas.positions import load_fix

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


def _answers() -> list[tuple[list[int], str | None, str, str]]:
    """Return the rows of the table: statuses, the code, and what to do with a fix and with a batch."""
    section = PAGE.partition("## Answer by answer")[2].partition("\n## ")[0]
    table = section.partition("| answer |")[2]
    rows = []
    for line in table.splitlines()[2:]:
        if not line.startswith("| "):
            break
        answer, _, fix, batch = line.strip("| ").split(" | ")
        statuses = [int(status) for status in re.findall(r"\b[0-9]{3}\b", answer)]
        statuses += [code for form, code in (("3xx", 302), ("5xx", 502), ("no answer", 0)) if form in answer]
        quoted = re.search(r"`(\w+)`", answer)
        rows.append((statuses, quoted[1] if quoted else None, fix, batch))
    return rows


def test_the_table_is_what_the_kit_does(harbor_sign: ModuleType) -> None:
    rows = _answers()
    assert len(rows) > 15
    for statuses, code, fix, batch in rows:
        assert statuses
        for status in statuses:
            assert harbor_sign.what_to_do(status, code) == fix, status
            assert harbor_sign.what_to_do(status, code, batch=True) == batch, status
    words = {
        getattr(harbor_sign, name) for name in ("ERASE", "RETRY", "SPLIT", "SET_ASIDE", "HOLD", "SET_CLOCK")
    }
    assert {word for *_, fix, batch in rows for word in (fix, batch)} == words
    for word in words:
        assert f"\n| {word} | " in PAGE


def test_the_table_has_each_answer_that_a_tracker_may_get_once() -> None:
    named = [(status, code) for statuses, code, *_ in _answers() for status in statuses]
    assert len(set(named)) == len(named)
    document = json.loads((FIRMWARE.parent / "harbor-api.json").read_text(encoding="utf-8"))
    by_id = {
        each["post"]["operationId"]: each["post"] for each in document["paths"].values() if "post" in each
    }
    for operation in ("postPosition", "postPositionBatch"):
        assert {int(status) for status in by_id[operation]["responses"]} <= {status for status, _ in named}
    # What a batch is never answered with, no batch may be erased for.
    never = {201, 202, 422}
    assert never.isdisjoint(int(status) for status in by_id["postPositionBatch"]["responses"])
    assert {batch for statuses, _, _, batch in _answers() if never & set(statuses)} == {"hold"}
    for error in (
        errors.SignatureMissing,
        errors.SignatureInvalid,
        errors.TimestampOutOfTolerance,
        errors.TrackerDisabled,
    ):
        assert (error.status, error.code) in named
    assert f"`{errors.NoFix.code}`" in PAGE


def test_every_body_that_the_page_signs_is_a_fix() -> None:
    bodies = [body for body in re.findall(r"\{\"[^\n`']*\}", PAGE) if "lat" in body]
    assert len(bodies) >= 2
    for body in bodies:
        assert load_fix(json.loads(body)) is not None, body


def test_the_page_speaks_of_what_there_is() -> None:
    assert "later release" not in PAGE


def test_numbers_on_the_page_are_the_services() -> None:
    assert f"at most {TOLERANCE_S} s off" in PAGE
    assert f"up to {signatures.MAX_SIGNATURES}, separated" in PAGE
    assert f"{1024 * 7 * 86400:,} s" in PAGE


def test_files_named_on_the_page_are_there() -> None:
    names = set(re.findall(r"[`\[](\w+\.(?:c|h|py|json))[`\]]", PAGE))
    assert names >= {"harbor_sign.c", "harbor_sign.py", "vectors.json"}
    assert [name for name in names if not (FIRMWARE / name).exists()] == []
