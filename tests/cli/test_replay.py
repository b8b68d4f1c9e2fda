"""harbor-api replay with the files of the authorities: verdicts that add up, and a fleet that agrees."""

import base64
import csv
import gzip
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from click.testing import CliRunner, Result
from tests.simulation.test_ais import AMERICAN as AMERICAN_HEADER
from tests.simulation.test_ais import DANISH as DANISH_HEADER
from tests.simulation.test_ais import TODAY, american, danish
from tests.support import ais_fold, sql
from tests.support.live_service import LiveService, free_port
from tests.support.urls import VESSELS

from harbor_api.cli.replay import command
from harbor_api.domain.audit import Actor
from harbor_api.domain.changes import ANY, Edit
from harbor_api.domain.errors import WrongMasterKey
from harbor_api.services import vessels

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DATA = Path(__file__).parents[3] / "shared" / "data"
DANISH = DATA / "ais-denmark-2026-04-26.csv"
AMERICAN = DATA / "ais-us-2014-01-01.csv"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the AIS files are not beside this checkout")


def _replay(service: LiveService, file: Path) -> tuple[dict[str, int], str]:
    """Run the command as an operator would; return its table and its last line."""
    done = subprocess.run(
        [sys.executable, "-m", "harbor_api.cli", "replay", str(file), "--url", service.base_url],
        env=service.environ,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return _table(done.stdout), done.stdout.strip().splitlines()[-1]


def _table(out: str) -> dict[str, int]:
    """Return how many rows each verdict has."""
    rows = re.findall(r"^ ?(\S.*?) {2,}(\d+)(?: |$)", out, re.MULTILINE)
    return {verdict: int(count) for verdict, count in rows}


def _read_independently(file: Path) -> dict[str, tuple[datetime, float, float]]:
    """Return for each ship's MMSI the first row of its newest second with a fix, without our reader."""
    newest: dict[str, tuple[datetime, float, float]] = {}
    with file.open(newline="", encoding="utf-8", errors="replace") as lines:
        for row in csv.DictReader(lines):
            if "# Timestamp" in row:
                if row["Type of mobile"] not in {"Class A", "Class B"}:
                    continue
                moment = datetime.strptime(row["# Timestamp"], "%d/%m/%Y %H:%M:%S").replace(tzinfo=UTC)
                lat, lon = float(row["Latitude"]), float(row["Longitude"])
            else:
                moment = datetime.fromisoformat(row["BaseDateTime"]).replace(tzinfo=UTC)
                lat, lon = float(row["LAT"]), float(row["LON"])
            mmsi = row["MMSI"]
            if not (-90 <= lat <= 90 and -180 <= lon <= 180) or not re.fullmatch("[2-7][0-9]{8}", mmsi):
                continue
            if mmsi not in newest or moment > newest[mmsi][0]:
                newest[mmsi] = (moment, lat, lon)
    return newest


def _fleet(service: LiveService) -> dict[str, tuple[datetime, float, float]]:
    answer = service.http.get(VESSELS, headers=service.world.bearer())
    return {
        feature["properties"]["mmsi"]: (
            datetime.fromisoformat(feature["properties"]["recorded_at"]),
            *reversed(feature["geometry"]["coordinates"]),
        )
        for feature in answer.json()["features"]
        if feature["geometry"] is not None
    }


def _hold_against_fold(service: LiveService, file: Path, ships: Collection[str], *, moments: int) -> None:
    """Demand that at random moments the fleet is what other code makes of what was stored of the file."""
    found = sql.run(
        service.world.database,
        "SELECT v.mmsi, p.recorded_at, v.id FROM positions AS p JOIN vessels AS v ON v.id = p.vessel_id",
    )
    tracks = ais_fold.read(file, {(mmsi, moment) for mmsi, moment, _ in found})
    assert sum(map(len, tracks.values())) == len(found)
    ids = {mmsi: vessel_id for mmsi, _, vessel_id in found}
    times = sorted({moment for _, moment, _ in found})
    chance = random.Random(file.name)
    wanted = {"vessel_id": ",".join(str(ids[mmsi]) for mmsi in ships)} if len(ships) <= 1_000 else {}
    met = Counter[str | None]()
    # Not by the client that holds each answer against the document, which takes a hundred times as long.
    with httpx.Client(base_url=service.base_url, headers=service.world.bearer()) as http:
        for number in range(moments):
            asked = times[0] + chance.random() * (times[-1] - times[0] + timedelta(minutes=1))
            # Half of them at whole seconds, and some where there is a fix.
            asked = asked.replace(microsecond=0) if number % 2 else asked
            asked = chance.choice(times) if number % 10 == 1 else asked
            answer = http.get(VESSELS, params={"as_of": asked.isoformat(), **wanted}, timeout=60)
            features = orjson.loads(answer.content)["features"]
            shown = {each["properties"]["mmsi"]: _seen(each) for each in features}
            for mmsi in ships:
                seen, expected = shown[mmsi], ais_fold.at(tracks[mmsi], asked)
                assert (seen and seen[2:]) == (expected and expected[2:]), (mmsi, asked)
                # Six decimals are told.
                assert (seen and seen[:2]) == (expected and pytest.approx(expected[:2], abs=6e-7))
                met[seen and seen.basis] += 1
    assert {"measured", "interpolated", "last_known", None} <= set(met), met


def _seen(feature: dict[str, Any]) -> ais_fold.Seen | None:
    told = feature["properties"]
    if feature["geometry"] is None:
        assert told["basis"] is None
        return None
    lon, lat = feature["geometry"]["coordinates"]
    between = told["between"] and tuple(map(datetime.fromisoformat, told["between"]))
    recorded_at = datetime.fromisoformat(told["recorded_at"])
    return ais_fold.Seen(lat, lon, told["basis"], recorded_at, between, told["stale"])


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("file", [DANISH, AMERICAN], ids=lambda file: file.stem)
def test_the_past_of_every_ship_is_a_fold_of_the_file(live_service: LiveService, file: Path):
    _replay(live_service, file)
    _hold_against_fold(live_service, file, list(_fleet(live_service)), moments=100)


def _part_of(file: Path, folder: Path) -> Path:
    """Return a file with the rows of a fifth of the ships of a Danish one."""
    head, *rows = file.read_bytes().splitlines(keepends=True)
    part = folder / f"part-of-{file.name}"
    part.write_bytes(b"".join([head, *(row for row in rows if row.split(b",")[2].endswith((b"3", b"7")))]))
    return part


@needs_data
@pytest.mark.parametrize(
    "file",
    [pytest.param(DANISH, marks=pytest.mark.slow), f"part of {DANISH.name}", AMERICAN],
    ids=lambda file: Path(file).stem,
)
def test_the_fleet_is_the_newest_valid_row_of_each_ship(
    live_service: LiveService, tmp_path: Path, file: Path | str
):
    file = file if isinstance(file, Path) else _part_of(DANISH, tmp_path)
    first, line = _replay(live_service, file)

    read = file.read_bytes().count(b"\n") - 1
    assert sum(first.values()) - first.get("heading", 0) == read
    assert line.startswith(f"{read} in all = {read} rows read")
    fleet = _fleet(live_service)
    expected = _read_independently(file)
    assert len(expected) > 3
    assert {mmsi: fleet.get(mmsi) for mmsi in expected} == expected
    assert set(fleet) == set(expected)
    ships = random.Random(2026).sample(sorted(fleet), min(60, len(fleet)))
    _hold_against_fold(live_service, file, ships, moments=100)
    rows = sql.count(live_service.world.database, "positions WHERE abs(lat) > 90")
    stored = _count(live_service)
    assert (rows, stored) == (0, first["stored"])

    second, _ = _replay(live_service, file)
    assert second["stored"] == 0
    assert second["duplicate"] == first["stored"] + first["duplicate"]


@needs_data
def test_nothing_acknowledged_is_missing_when_the_service_is_killed(live_service: LiveService):
    """kill -9 of every process of the service in the middle; the replay retries and goes on."""
    replay = subprocess.Popen(
        [sys.executable, "-m", "harbor_api.cli", "replay", str(AMERICAN), "--url", live_service.base_url],
        env=live_service.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        while not _count(live_service):
            time.sleep(0.02)
        for _ in range(3):
            live_service.kill()
            before = _count(live_service)
            live_service.start()
            assert _count(live_service) >= before
            time.sleep(0.3)
        out, _ = replay.communicate(timeout=120)
    finally:
        replay.kill()
    table = _table(out)
    stored, duplicate = table["stored"], table["duplicate"]
    # A fix whose answer died with the service is told "duplicate" when it is sent again.
    assert stored <= _count(live_service) <= stored + duplicate
    assert {
        mmsi: _fleet(live_service).get(mmsi) for mmsi in _read_independently(AMERICAN)
    } == _read_independently(AMERICAN)


def _count(service: LiveService) -> int:
    return sql.count(service.world.database, "positions")


@needs_data
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_replay_with_its_table(live_service: LiveService, number: signal.Signals):
    replay = subprocess.Popen(
        [sys.executable, "-m", "harbor_api.cli", "replay", str(DANISH), "--url", live_service.base_url],
        env=live_service.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    while not _count(live_service):
        time.sleep(0.05)
    os.kill(replay.pid, number)
    out, _ = replay.communicate(timeout=30)
    assert replay.returncode == 1
    assert "not sent: interrupted" in out
    assert " in all = " in out


@pytest.fixture
def environ(module_service: LiveService, monkeypatch: pytest.MonkeyPatch) -> LiveService:
    """Let commands of this process find the module's service."""
    monkeypatch.delenv("HARBOR_TEST_SERVER_URL", raising=False)
    for name, value in module_service.environ.items():
        if name.startswith("HARBOR_"):
            monkeypatch.setenv(name, value)
    return module_service


def _run(service: LiveService | None, *arguments: object, content: bytes | None = None) -> Result:
    """Run the command in this process, which is quick; ``content`` is what the file named FILE holds."""
    at = () if service is None else ("--url", service.base_url)
    with tempfile.NamedTemporaryFile() as file:
        if content is not None:
            file.write(content)
            file.flush()
        given = [file.name if each == "FILE" else str(each) for each in (*arguments, *at)]
        return CliRunner().invoke(command, given)


def _says(result: Result, code: int, *told: str) -> None:
    """Demand an exit code and one line that names all that is told."""
    assert (result.exit_code, result.exception is None or isinstance(result.exception, SystemExit)) == (
        code,
        True,
    ), result.output
    if code == 2:
        return
    [line] = result.output.strip().splitlines()
    assert line.startswith("harbor-api: ")
    assert all(each in line for each in told), line


def _details(service: LiveService, mmsi: str) -> dict[str, object]:
    features = service.http.get(VESSELS, headers=service.world.bearer()).json()["features"]
    [vessel] = [each["properties"] for each in features if each["properties"]["mmsi"] == mmsi]
    names = ("name", "imo", "call_sign", "kind", "length_m", "beam_m", "draught_m", "sog", "cog")
    return {name: vessel[name] for name in names}


def _today(mmsi: int, second: int = 0, **fields: str) -> str:
    values = dict.fromkeys(TODAY.split(","), "")
    values |= {
        "mmsi": str(mmsi),
        "base_date_time": f"2025-01-01 00:00:{second:02}",
        "latitude": "29.9",
        "longitude": "-89.98",
    }
    return ",".join({**values, **fields}.values())


def test_layout_of_today_fills_vessels(environ: LiveService):
    described = {
        "vessel_name": "EMDEN [1]",
        "call_sign": "WDF2",
        "vessel_type": "1025",
        "length": "26",
        "width": "8",
        "draft": "0",
    }
    rows = [TODAY, _today(367000001), _today(367000001, 1, sog="7.1", cog="189.9", **described)]
    result = _run(environ, "FILE", content=zstd.compress("\n".join(rows).encode()))
    assert result.exit_code == 0, result.output
    assert _table(result.output) == {"stored": 2, "duplicate": 0}
    filled = _details(environ, "367000001")
    assert filled == {
        "name": "EMDEN [1]",
        "imo": None,
        "call_sign": "WDF2",
        "kind": "tug",
        "length_m": 26,
        "beam_m": 8,
        "draught_m": None,
        "sog": 7.1,
        "cog": 189.9,
    }

    again = [
        TODAY,
        _today(367000001, vessel_name="OTHER", draft="3.1", cargo="70", length="99", imo="9074729"),
    ]
    assert _table(_run(environ, "FILE", content="\n".join(again).encode()).output) == {
        "stored": 0,
        "duplicate": 1,
    }
    assert _details(environ, "367000001") == {**filled, "draught_m": 3.1, "imo": "9074729"}


def test_what_an_operator_entered_stays(environ: LiveService):
    _run(environ, "FILE", content=f"{TODAY}\n{_today(367000002)}".encode())
    with environ.world.database.unit_of_work() as unit_of_work:
        vessel = unit_of_work.vessels.find(imo=None, mmsi="367000002")
        assert vessel.details.name == "MMSI 367000002"
        edit = Edit({"kind": "pilot", "length_m": 12.5})
        vessels.change(unit_of_work, vessel.id, edit, versions=ANY, actor=Actor(name="somebody"))

    told = _today(367000002, vessel_name="BOAT", vessel_type="70", length="200", width="4")
    assert _run(environ, "FILE", content=f"{TODAY}\n{told}".encode()).exit_code == 0
    details = _details(environ, "367000002")
    assert [details[name] for name in ("name", "kind", "length_m", "beam_m")] == ["BOAT", "pilot", 12.5, 4]
    with environ.world.database.unit_of_work() as unit_of_work:
        edit = Edit({"name": "By hand"})
        vessels.change(unit_of_work, vessel.id, edit, versions=ANY, actor=Actor(name="somebody"))
    _run(environ, "FILE", content=f"{TODAY}\n{told}".encode())
    assert _details(environ, "367000002")["name"] == "By hand"


def test_course_and_speed_of_2015_arrive_mended(environ: LiveService):
    rows = (
        american(mmsi="367000003", time="2016-01-01T00:00:00", cog="-140.7", sog="-51.2"),
        american(mmsi="367000004", time="2016-01-01T00:00:00", cog="-49.6", sog="-0.1"),
        american(mmsi="367000005", time="2016-01-01T00:00:00", cog="-49.5", sog="5", heading="720"),
    )
    result = _run(environ, "FILE", content="\n".join((AMERICAN_HEADER, *rows)).encode())
    assert _table(result.output) == {"stored": 3, "duplicate": 0, "cog": 1, "heading": 1}
    seen = [(each["cog"], each["sog"]) for each in (_details(environ, f"36700000{n}") for n in (3, 4, 5))]
    assert seen == [(268.9, 51.2), (None, None), (None, 5)]


def test_standard_input_is_read(environ: LiveService):
    done = subprocess.run(
        [sys.executable, "-m", "harbor_api.cli", "replay", "-", "--url", environ.base_url],
        env=environ.environ,
        input=zstd.compress(f"{TODAY}\n{_today(367000009)}\n".encode()),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert _table(done.stdout.decode())["stored"] == 1


def test_named_pipe_is_sent_while_it_is_open(environ: LiveService, tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    replay = subprocess.Popen(
        [sys.executable, "-m", "harbor_api.cli", "replay", str(pipe), "--url", environ.base_url],
        env=environ.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    before = _count(environ)
    with pipe.open("wb", buffering=0) as end:
        end.write(f"{TODAY}\n{_today(367000006)}\n{_today(367000007)}\n".encode())
        deadline = time.monotonic() + 30
        while _count(environ) < before + 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert _count(environ) == before + 2
    out, _ = replay.communicate(timeout=60)
    assert (replay.returncode, _table(out)) == (0, {"stored": 2, "duplicate": 0})


def test_refused_rows_are_told_and_written(environ: LiveService, tmp_path: Path):
    rejects = tmp_path / "rejects [1].csv"
    rows = [
        danish(mmsi="219000901"),
        danish(lat="91"),
        danish(time="now"),
        danish(mobile="Base Station"),
        "x",
    ]
    file = tmp_path / "\x1b[31m[red]name.csv"
    file.write_text("\n".join((DANISH_HEADER, *rows)))
    result = _run(environ, file, "--rejects", rejects)
    assert result.exit_code == 0, result.output
    assert _table(result.output) == {
        "stored": 1,
        "duplicate": 0,
        "refused: bad_time": 1,
        "refused: no_fix": 1,
        "refused: short_line": 1,
        "skipped: base_station": 1,
    }
    assert re.search(r"refused: bad_time +1 +recorded_at +4 *$", result.output, re.MULTILINE)
    assert "\x1b" not in result.output
    assert rejects.read_text().splitlines()[1:] == [
        f"3,no_fix,lat,{rows[1]}",
        f"4,bad_time,recorded_at,{rows[2]}",
        "6,short_line,,x",
    ]
    mended = rejects.read_text().replace("91", "56.1")
    assert _table(_run(environ, "FILE", content=mended.encode()).output)["stored"] == 1
    assert _run(environ, file, "--rejects", file).exit_code == 2
    assert file.read_text().startswith("# Timestamp")
    _says(_run(environ, file, "--rejects", "/dev/full"), 1, "cannot be written")


def test_dry_run_needs_nothing_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HARBOR_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    rows = [DANISH_HEADER, danish(), danish(lat="91")]
    result = _run(None, "FILE", "--dry-run", content="\n".join(rows).encode())
    assert result.exit_code == 0, result.output
    assert _table(result.output) == {"refused: no_fix": 1, "would be sent": 1}
    assert "Nothing was registered or sent" in result.output


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"MMSI,LAT\n1,2\n", "header"),
        (bytes(range(256)) * 100, "no text"),
        (AMERICAN_HEADER.encode("utf-16"), "UTF-16"),
        (gzip.compress(b"x" * 100)[:-20], "cut or damaged"),
        (b"PK\x03\x04" + bytes(50), "not a zip file"),
    ],
)
def test_file_that_is_none_is_told_in_one_line(environ: LiveService, tmp_path: Path, content, told):
    file = tmp_path / "file"
    file.write_bytes(content)
    _says(_run(environ, file), 1, told)


def test_zip_of_several_files_is_refused_in_one_line(environ: LiveService, tmp_path: Path):
    file = tmp_path / "ais.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.csv", "a")
        archive.writestr("b.csv", "b")
    _says(_run(environ, file), 1, "2 files")


def test_cut_archive_sends_what_came_before_and_says_so(environ: LiveService, tmp_path: Path):
    file = tmp_path / "ais.csv.gz"
    rows = "\n".join((TODAY, *(_today(367100000 + number % 20, number // 20) for number in range(1_200))))
    packed = gzip.compress(rows.encode())
    file.write_bytes(packed[: len(packed) * 3 // 4])
    result = _run(environ, file)
    assert result.exit_code == 1
    assert _table(result.output)["stored"] > 100
    assert "cut or damaged" in result.output.splitlines()[-1]


@pytest.mark.parametrize("arguments", [("none.csv",), (".",), ("-", "--url", "x"), ("-", "--workers", "0")])
def test_wrong_use_is_2(environ: LiveService, arguments):
    assert _run(None, *arguments).exit_code == 2


def test_nothing_is_registered_where_no_service_answers(
    environ: LiveService, monkeypatch: pytest.MonkeyPatch
):
    before = sql.count(environ.world.database, "vessels")
    content = f"{TODAY}\n{_today(367000008)}".encode()
    nobody = f"http://127.0.0.1:{free_port()}"
    _says(_run(None, "FILE", "--url", nobody, content=content), 1, "no service answers")
    another = f"{environ.base_url}/docs"
    _says(_run(None, "FILE", "--url", another, content=content), 1, "not this service")
    environ.world.tracker()
    monkeypatch.setenv("HARBOR_TRACKER_MASTER_KEY", base64.b64encode(bytes(32)).decode())
    assert isinstance(_run(environ, "FILE", content=content).exception, WrongMasterKey)
    assert sql.count(environ.world.database, "vessels") == before + 1
