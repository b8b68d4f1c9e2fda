"""harbor-api replay with the files of the authorities: verdicts that add up, and a fleet that agrees."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support import sql
from tests.support.live_service import LiveService
from tests.support.urls import VESSELS

DATA = Path(__file__).parents[3] / "shared" / "data"
DANISH = DATA / "ais-denmark-2026-04-26.csv"
AMERICAN = DATA / "ais-us-2014-01-01.csv"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the AIS files are not beside this checkout")


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
    *table, last = done.stdout.strip().splitlines()
    rows = [re.fullmatch(r"\s*(.+?)\s+(\d+)\s*", line) for line in table]
    return {row[1]: int(row[2]) for row in rows if row}, last


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


@pytest.mark.parametrize("file", [DANISH, AMERICAN], ids=lambda file: file.stem)
def test_the_fleet_is_the_newest_valid_row_of_each_ship(live_service: LiveService, file: Path):
    first, line = _replay(live_service, file)

    read = file.read_bytes().count(b"\n") - 1
    assert sum(first.values()) == read
    assert line.startswith(f"{read} in all = {read} rows read")
    fleet = _fleet(live_service)
    expected = _read_independently(file)
    assert len(expected) > 3
    assert {mmsi: fleet.get(mmsi) for mmsi in expected} == expected
    assert set(fleet) == set(expected)
    rows = sql.count(live_service.world.database, "positions WHERE abs(lat) > 90")
    stored = _count(live_service)
    assert (rows, stored) == (0, first["stored"])

    second, _ = _replay(live_service, file)
    assert second["stored"] == 0
    assert second["duplicate"] == first["stored"] + first["duplicate"]


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
    table = dict(re.findall(r"^\s*(stored|duplicate)\s+(\d+)\s*$", out, re.MULTILINE))
    stored, duplicate = int(table["stored"]), int(table["duplicate"])
    # A fix whose answer died with the service is told "duplicate" when it is sent again.
    assert stored <= _count(live_service) <= stored + duplicate
    assert {
        mmsi: _fleet(live_service).get(mmsi) for mmsi in _read_independently(AMERICAN)
    } == _read_independently(AMERICAN)


def _count(service: LiveService) -> int:
    return sql.count(service.world.database, "positions")


def test_ctrl_c_ends_a_replay_with_its_table(live_service: LiveService):
    replay = subprocess.Popen(
        [sys.executable, "-m", "harbor_api.cli", "replay", str(DANISH), "--url", live_service.base_url],
        env=live_service.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    while not _count(live_service):
        time.sleep(0.05)
    os.kill(replay.pid, signal.SIGINT)
    out, _ = replay.communicate(timeout=30)
    assert replay.returncode == 1
    assert "not sent: interrupted" in out
    assert " in all = " in out
