"""follow.py as a program: whatever ends it, each item stands in its file once."""

import io
import itertools
import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.following.scripted import Act, Asked, frame, hello, performing, position, refusal, stream

_LAST = 6


class Killed(BaseException):
    """Nothing of the program's own runs after it."""


_cuts = itertools.cycle([3, 4])


def _table(asked: Asked) -> Act:
    """Answer with what comes behind the cursor, three at most, and refuse whoever has it all."""
    begins = int((asked.begins or "c0").removeprefix("c"))
    if begins == _LAST:
        return refusal(403, code="forbidden", detail="That was all.")
    coming = range(begins + 1, min(begins + 3, _LAST) + 1)
    if asked.query.get("snapshot"):
        # Cut in the snapshot the first time: it comes anew, and as a whole.
        whole = [hello(None), frame("vessel", {"id": 7}), frame("vessel", {"id": 8}), frame("live", {}, "c3")]
        return stream(*whole[: next(_cuts)], ends=False)
    return stream(hello(f"c{begins}"), *map(position, coming))


@pytest.fixture
def program(follow_py: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return follow.py's main, with arguments, in a folder of its own and with no time to wait."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setenv("HARBOR_KEY", "hbr_k\n")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["follow.py", *arguments])
        status: int = follow_py.main()
        return status

    return run


def _ids(file: Path) -> list[int]:
    return [json.loads(line)["id"] for line in file.read_text().splitlines()]


@pytest.mark.parametrize("arguments", [(), ("--snapshot",)])
def test_each_item_is_written_once_wherever_the_program_is_killed(
    program, monkeypatch, tmp_path: Path, arguments
):
    real, output = os.fsync, tmp_path / "positions.jsonl"
    expected = [7, 8, 4, 5, 6] if arguments else [1, 2, 3, 4, 5, 6]
    for fatal in itertools.count(1):
        output.unlink(missing_ok=True)
        (tmp_path / "positions.jsonl.cursor").unlink(missing_ok=True)
        calls = 0

        def fsync(file: int, fatal: int = fatal) -> None:
            nonlocal calls
            calls += 1
            # Once before it is done, and again soon after: a second kill finds what the first one left.
            if calls in {fatal, fatal + 4}:
                raise Killed
            real(file)

        monkeypatch.setattr(os, "fsync", fsync)
        with performing(_table) as service:
            killed = 0
            for _ in range(3):
                try:
                    assert program(service.base_url, *arguments, "--output", output.name) == 4
                    break
                except Killed:
                    killed += 1
        assert _ids(output) == expected, fatal
        if not killed:
            break
    assert fatal > 10


def test_a_line_that_was_half_written_is_written_anew(program, tmp_path: Path):
    with performing(_table) as service:
        program(service.base_url, "--output", "all.jsonl")
        whole = (tmp_path / "all.jsonl").read_bytes()
        kept = tmp_path / "all.jsonl.cursor"
        for size in (0, 1, 70):
            lines = whole[: whole.index(b"\n") + 1]
            kept.write_text(json.dumps({"cursor": "c1", "bytes": len(lines)}))
            (tmp_path / "all.jsonl").write_bytes(lines + whole[len(lines) : len(lines) + size])
            program(service.base_url, "--output", "all.jsonl")
            assert (tmp_path / "all.jsonl").read_bytes() == whole


def test_a_file_that_was_put_aside_is_begun_anew_and_none_is_cut_that_was_there_before(
    program, tmp_path: Path
):
    output = tmp_path / "all.jsonl"
    output.write_text('{"id":0}\n')
    with performing(_table) as service:
        program(service.base_url, "--output", "all.jsonl")
        assert _ids(output) == list(range(_LAST + 1))
        output.rename(tmp_path / "old.jsonl")
        (tmp_path / "all.jsonl.cursor").write_text(json.dumps({"cursor": "c4", "bytes": 999}))
        program(service.base_url, "--output", "all.jsonl")
    assert _ids(output) == [5, 6]


def test_two_do_not_write_one_file(program, follow_py, tmp_path: Path, capsys):
    output = tmp_path / "all.jsonl"
    with follow_py.Journal(output, None), performing(_table) as service:
        assert program(service.base_url, "--output", "all.jsonl") == 2
    assert service.asked == []
    assert "all.jsonl: another program writes it" in capsys.readouterr().err


@pytest.mark.parametrize(("after", "status", "ids"), [("stop", 3, []), ("oldest", 4, ["reset", 5, 6])])
def test_a_loss_stops_it_or_stands_in_the_file(program, tmp_path: Path, capsys, after, status, ids):
    def expired(asked: Asked) -> Act:
        if asked.begins != "old":
            return _table(asked)
        return refusal(410, code="cursor_expired", oldest="c4", oldest_at="2026-01-02T03:04:05.000000Z")

    (tmp_path / "kept").write_text('{"cursor": "old", "bytes": 0}')
    with performing(expired) as service:
        arguments = ("--output", "all.jsonl", "--cursor-file", "kept", "--after-loss", after)
        assert program(service.base_url, *arguments) == status
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [line.get("id", line["op"]) for line in lines] == ids
    assert (
        "what was before 2026-01-02T03:04:05.000000Z is lost" in capsys.readouterr().err or after == "oldest"
    )
    assert json.loads((tmp_path / "kept").read_text())["cursor"] == ("old" if after == "stop" else "c6")


def test_to_standard_output_it_keeps_its_place_where_it_is_told(program, tmp_path: Path, monkeypatch):
    written = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", written)
    with performing(_table) as service:
        for _ in range(2):
            assert program(service.base_url, "--filter", "kind=cargo", "--cursor-file", "kept") == 4
    assert {asked.query["kind"] for asked in service.asked} == {"cargo"}
    lines = written.buffer.getvalue().splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(1, _LAST + 1))
    assert json.loads((tmp_path / "kept").read_text())["cursor"] == f"c{_LAST}"


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("https://harbor.example",), ""),
        (("https://harbor.example", "--filter", "kind"), "hbr_k"),
        (("harbor.example",), "hbr_k"),
        (("file:///etc/passwd",), "hbr_k"),
        (("https://harbor.example",), "hbr_k two"),
        (("https://harbor.example", "--output", "no/such/folder/file"), "hbr_k"),
        (("https://harbor.example", "--cursor-file", "broken"), "hbr_k"),
    ],
)
def test_what_is_wrong_with_its_arguments_is_said_in_a_line(
    program, monkeypatch, tmp_path, capsys, arguments, key
):
    monkeypatch.setenv("HARBOR_KEY", key)
    (tmp_path / "broken").write_text("")
    try:
        status = program(*arguments)
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert len(capsys.readouterr().err.strip().splitlines()[-1]) > 10
