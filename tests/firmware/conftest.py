"""What the tests of the firmware kit share: the compiled C signer, the Python one, MicroPython."""

import base64
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FIRMWARE = Path(__file__).resolve().parents[2] / "openapi" / "firmware"
C_SOURCES = [str(FIRMWARE / f"{each}.c") for each in ("harbor_sign", "harbor_hmac_sha256")]
WARNINGS = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
SANITIZERS = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="session")
def c_compiler() -> str:
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: neither $CC nor cc nor gcc")
    return compiler


@pytest.fixture(scope="session")
def c_environment() -> dict[str, str]:
    # The leak sanitizer cannot run where ptrace is forbidden, as in containers; nothing allocates.
    return {"ASAN_OPTIONS": "detect_leaks=0"}


@pytest.fixture(scope="session")
def compile_c(c_compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Compile a main file with the signer, under address and undefined-behaviour sanitizers."""

    def compile_with_signer(main: Path) -> str:
        program = str(tmp_path_factory.mktemp("c") / main.stem)
        command = [c_compiler, *WARNINGS, "-O1", f"-I{FIRMWARE}", "-o", program, str(main)]
        command += C_SOURCES
        sanitized = subprocess.run([*command, *SANITIZERS], capture_output=True, check=False)
        if sanitized.returncode != 0:
            # Without libasan it has to compile plainly; a mistake in the code fails here, too.
            subprocess.run(command, check=True)
        return program

    return compile_with_signer


@pytest.fixture(scope="session")
def run_c(
    compile_c: Callable[[Path], str], c_environment: dict[str, str]
) -> Callable[..., "subprocess.CompletedProcess[bytes]"]:
    """Run the example program: arguments, secrets and body in, the finished process out."""
    program = compile_c(FIRMWARE / "example.c")

    def run(
        *arguments: str, secret: str = "", other_secret: str | None = None, body: bytes = b""
    ) -> "subprocess.CompletedProcess[bytes]":
        environment = c_environment | {"TRACKER_SECRET": secret}
        if other_secret is not None:
            environment["TRACKER_OTHER_SECRET"] = other_secret
        return subprocess.run(
            [program, *arguments],
            input=body,
            env=environment,
            capture_output=True,
            check=False,
            timeout=30,
        )

    return run


@pytest.fixture(scope="session")
def harbor_sign() -> ModuleType:
    """The MicroPython signer as CPython imports it."""
    spec = importlib.util.spec_from_file_location("harbor_sign", FIRMWARE / "harbor_sign.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def micropython() -> list[str]:
    """The command of a MicroPython interpreter: $MICROPYTHON, else micropython on the path."""
    command = shlex.split(os.environ.get("MICROPYTHON", "micropython"))
    if shutil.which(command[0]) is None:
        pytest.skip("no MicroPython: put micropython on the path or its command into $MICROPYTHON")
    return command


@pytest.fixture(scope="session")
def signed_vectors() -> list[tuple[dict[str, Any], bytes]]:
    """The vectors that a right signer reproduces, each with its body."""
    document = json.loads((FIRMWARE / "vectors.json").read_text(encoding="utf-8"))
    made = []
    for vector in document["vectors"]:
        if vector["signer_makes"]:
            if "body_repeat" in vector:
                repeat = vector["body_repeat"]
                body = str(repeat["text"]).encode() * int(repeat["times"])
            else:
                body = base64.b64decode(vector["body_base64"])
            made.append((vector, body))
    return made


@pytest.fixture(scope="session")
def dates() -> list[tuple[str, int | None]]:
    """HTTP dates with their unix seconds, None for those that are none."""
    good = {
        "Thu, 01 Jan 1970 00:00:00 GMT": 0,
        "Sun, 06 Nov 1994 08:49:37 GMT": 784111777,
        "Fri, 31 Dec 1999 23:59:59 GMT": 946684799,
        "Tue, 29 Feb 2000 12:00:00 GMT": 951825600,
        "Wed, 01 Mar 2000 00:00:00 GMT": 951868800,
        "Sat, 31 Dec 2016 23:59:60 GMT": 1483228800,
        "Fri, 02 Jan 2026 03:04:05 GMT": 1767323045,
        "Tue, 19 Jan 2038 03:14:08 GMT": 2147483648,
        "Sun, 28 Feb 2100 23:59:59 GMT": 4107542399,
        "Mon, 01 Mar 2100 00:00:00 GMT": 4107542400,
        "Thu, 31 Dec 2105 23:59:59 GMT": 4291747199,
        "  Sun, 06 Nov 1994 08:49:37 GMT \r\n": 784111777,
        "???, 06 Nov 1994 08:49:37 GMT": 784111777,
    }
    bad = [
        "",
        " ",
        "Sun",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMTx",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 anF 1994 08:49:37 GMT",
        "Sun, 06 xxx 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 2026 08:49:37 GMT",
        "Mon, 29 Feb 2100 00:00:00 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT ",
        "Sun, 06 Nov 1994 -1:49:37 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 06 Nov 1_94 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
        "784111777",
    ]
    return [*good.items(), *((each, None) for each in bad)]
