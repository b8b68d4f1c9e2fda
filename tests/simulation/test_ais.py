import io
import os
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harbor_api.simulation import ais
from harbor_api.simulation.ais import AisRow, Skipped, UnknownLayoutError

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
DANISH = (
    "# Timestamp,Type of mobile,MMSI,Latitude,Longitude,Navigational status,ROT,SOG,COG,Heading,"
    "IMO,Callsign,Name,Ship type"
)
AMERICAN = (
    "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName,IMO,CallSign,VesselType,Status,TransceiverClass"
)


def danish(**fields: str) -> str:
    values = {
        "time": "26/04/2026 13:05:09",
        "mobile": "Class A",
        "mmsi": "219000429",
        "lat": "56.716565",
        "lon": "11.519042",
        "status": "Under way using engine",
        "rot": "0.0",
        "sog": "14.9",
        "cog": "241.0",
        "heading": "242",
        "imo": "9074729",
        "call": "OWAB",
        "name": "NORDLYS",
        "ship": "Cargo",
    }
    return ",".join({**values, **fields}.values())


def american(**fields: str) -> str:
    values = {
        "mmsi": "215020081",
        "time": "2014-01-05T09:48:32",
        "lat": "42.396",
        "lon": "-70.8065",
        "sog": "9.1",
        "cog": "253.0",
        "heading": "252.0",
        "name": "",
        "imo": "",
        "call": "",
        "type": "70",
        "status": "0",
        "class": "A",
    }
    return ",".join({**values, **fields}.values())


def read(*lines: str | bytes, end: bytes = b"\n") -> list[AisRow | Skipped]:
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return list(ais.read(io.BytesIO(end.join(raw) + end)))


def one(line: str, header: str = DANISH) -> AisRow:
    (row,) = read(header, line)
    assert isinstance(row, AisRow), row
    return row


def why(line: str, header: str = DANISH) -> str:
    (item,) = read(header, line)
    assert isinstance(item, Skipped), item
    return item.reason


def data(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the sample of AIS data is not at {path}")
    return path


def test_danish_row_is_read_whole():
    assert one(danish()) == AisRow(
        line=2,
        mmsi="219000429",
        recorded_at=datetime(2026, 4, 26, 13, 5, 9, tzinfo=UTC),
        lat=56.716565,
        lon=11.519042,
        sog=14.9,
        cog=241.0,
        heading=242.0,
        nav_status=0,
        name="NORDLYS",
        imo="9074729",
        call_sign="OWAB",
        ship_type="Cargo",
        mobile_type="Class A",
        kind="cargo",
    )


def test_marine_cadastre_row_is_read_whole():
    assert one(american(name="EVER NEAR", imo="IMO9074729", call="C6AB"), AMERICAN) == AisRow(
        line=2,
        mmsi="215020081",
        recorded_at=datetime(2014, 1, 5, 9, 48, 32, tzinfo=UTC),
        lat=42.396,
        lon=-70.8065,
        sog=9.1,
        cog=253.0,
        heading=252.0,
        nav_status=0,
        name="EVER NEAR",
        imo="9074729",
        call_sign="C6AB",
        ship_type="70",
        mobile_type="A",
        kind="cargo",
    )


def test_day_comes_first_in_danish_times():
    assert one(danish(time="03/04/2026 00:00:00")).recorded_at == datetime(2026, 4, 3, tzinfo=UTC)


@pytest.mark.parametrize("header", ["time,mmsi,lat,lon", "", "\x00\xff"])
def test_unknown_header_is_named(header):
    with pytest.raises(UnknownLayoutError) as caught:
        read(header, danish())
    assert repr(header.encode().decode()) in str(caught.value)


def test_empty_file_has_no_layout():
    with pytest.raises(UnknownLayoutError):
        list(ais.read(io.BytesIO(b"")))


def test_columns_are_found_by_name():
    header = "LON,LAT,BaseDateTime,MMSI"
    row = one("-70.8,42.3,2014-01-05 09:48:32,215020081", header)
    assert (row.lat, row.lon, row.sog, row.name) == (42.3, -70.8, None, None)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_bom_and_line_ends_do_not_matter(end, bom):
    rows = read(bom + DANISH, danish(), danish(ship="Tanker"), end=end)
    assert [row.kind for row in rows if isinstance(row, AisRow)] == ["cargo", "tanker"]


def test_last_line_may_lack_its_end():
    assert len(list(ais.read(io.BytesIO(f"{DANISH}\n{danish()}".encode())))) == 1


def test_quoted_comma_and_quote_stay_in_a_name():
    assert one(danish(name='"DEEP ""8"",1"')).name == 'DEEP "8",1'


def test_stray_byte_stays_in_its_field():
    rows = read(DANISH, danish(name="SK?VE").encode().replace(b"?", b"\xe5"), danish())
    assert [row.name for row in rows if isinstance(row, AisRow)] == ["SK\ufffdVE", "NORDLYS"]


def test_stray_quote_garbles_no_other_line():
    items = read(DANISH, danish(name='"UNCLOSED'), danish())
    assert items[0] == Skipped(2, "short_line")
    assert isinstance(items[1], AisRow)
    assert items[1].line == 3


def test_text_is_cleaned():
    row = one(danish(name=" NORD\x00LYS@@@@ ", call="Unknown", ship="Undefined"))
    assert (row.name, row.call_sign, row.ship_type, row.kind) == ("NORD LYS", None, None, None)


@pytest.mark.parametrize(
    "fields", [{"sog": "102.3"}, {"cog": "360.0"}, {"heading": "511"}, {"status": "Unknown value"}]
)
@pytest.mark.parametrize("make", [danish, american])
def test_sentinels_are_none(fields, make):
    if make is american and "status" in fields:
        fields = {"status": "15"}
    row = one(make(**fields), DANISH if make is danish else AMERICAN)
    (name,) = fields
    assert getattr(row, {"status": "nav_status"}.get(name, name)) is None


def test_blanks_are_none():
    row = one(danish(lat="", lon="", sog="", cog="", heading="", status="", imo="", name=""))
    assert (row.lat, row.lon, row.sog, row.cog, row.heading) == (None,) * 5
    assert (row.nav_status, row.imo, row.name) == (None, None, None)


def test_no_fix_and_numbers_out_of_range_are_left_to_the_service():
    row = one(danish(lat="91.000000", lon="181.0", cog="456", sog="102.2"))
    assert (row.lat, row.lon, row.cog, row.sog) == (91.0, 181.0, 456.0, 102.2)


def test_a_heading_that_means_nothing_does_not_cost_the_position():
    row = one(danish(heading="456"))
    assert (row.heading, row.lat is not None) == (None, True)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Under way using engine", 0),
        ("At anchor", 1),
        ("Not under command", 2),
        ("Restricted maneuverability", 3),
        ("Constrained by her draught", 4),
        ("Moored", 5),
        ("Aground", 6),
        ("Engaged in fishing", 7),
        ("Under way sailing", 8),
        ("Reserved for future amendment [HSC]", 9),
        ("Reserved for future amendment [WIG]", 10),
        ("Power-driven vessel towing astern", 11),
        ("Power-driven vessel pushing ahead or towing alongside", 12),
        ("Reserved for future use", 13),
        ("AIS-SART (active)", 14),
        ("A new one", None),
        ("99", None),
    ],
)
def test_navigational_status(text, status):
    assert one(danish(status=text)).nav_status == status


@pytest.mark.parametrize(
    ("imo", "kept"),
    [
        ("9074729", "9074729"),
        ("9074728", None),
        ("Unknown", None),
        ("0", None),
        ("19074729", None),
        ("٩٠٧٤٧٢٩", None),
    ],
)
def test_imo_is_kept_when_its_check_digit_is_right(imo, kept):
    assert one(danish(imo=imo)).imo == kept


@pytest.mark.parametrize(
    ("mobile", "reason"),
    [
        ("Base Station", "base_station"),
        ("AtoN", "aid_to_navigation"),
        ("SAR Airborne", "sar_aircraft"),
        ("Search and Rescue Transponder", "distress_device"),
        ("Man Overboard Device", "distress_device"),
        ("Submarine of tomorrow", "not_a_ship"),
    ],
)
def test_danish_senders_that_are_no_ships_are_skipped_by_type(mobile, reason):
    assert why(danish(mobile=mobile)) == reason


@pytest.mark.parametrize(
    ("mmsi", "reason"),
    [
        ("002190045", "coast_station"),
        ("2190045", "coast_station"),
        ("021900450", "ship_group"),
        ("992651006", "aid_to_navigation"),
        ("111219501", "sar_aircraft"),
        ("970219001", "distress_device"),
        ("972219001", "distress_device"),
        ("974219001", "distress_device"),
        ("982190001", "associated_craft"),
        ("826500458", "handheld_radio"),
        ("3638", "bad_mmsi"),
        ("912191373", "bad_mmsi"),
        ("119000191", "bad_mmsi"),
        ("999999999", "bad_mmsi"),
        ("000000000", "bad_mmsi"),
        ("2150200811", "bad_mmsi"),
        ("", "bad_mmsi"),
        ("21502008A", "bad_mmsi"),
        ("٢١٥٠٢٠٠٨١", "bad_mmsi"),
    ],
)
def test_senders_that_are_no_ships_are_skipped_by_mmsi(mmsi, reason):
    assert why(american(mmsi=mmsi), AMERICAN) == reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "blank_line"),
        (danish()[:40], "short_line"),
        (danish(name="A,B"), "garbled_line"),
        (danish(time="2026-04-26 13:05:09"), "bad_time"),
        (danish(time="31/02/2026 13:05:09"), "bad_time"),
        (danish(lat="north"), "bad_number"),
        (danish(lat="nan"), "bad_number"),
        (danish(sog="1e400"), "bad_number"),
        (danish(sog="1e4000"), "bad_number"),
        (danish(sog="1_0"), "bad_number"),
        (danish(cog="٩"), "bad_number"),
    ],
)
def test_unreadable_lines_are_skipped(line, reason):
    assert why(line) == reason


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("30", "fishing"),
        ("31", "tug"),
        ("36", "sailing"),
        ("37", "pleasure"),
        ("49", "hsc"),
        ("50", "pilot"),
        ("52", "tug"),
        ("60", "passenger"),
        ("79", "cargo"),
        ("80", "tanker"),
        ("99", "other"),
        ("1024", "other"),
        ("0", None),
        ("", None),
    ],
)
def test_kind_by_number(number, kind):
    assert one(american(type=number), AMERICAN).kind == kind


def test_rows_stream_before_the_file_has_ended():
    # A pipe that is still open: whoever read the file whole would wait here for ever.
    reading, writing = os.pipe()
    with open(reading, "rb") as stream:  # noqa: PTH123 - it is a descriptor
        rows = ais.read(stream)

        def write() -> None:
            os.write(writing, f"{DANISH}\n{danish()}\n".encode() * 2)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            assert isinstance(next(rows), AisRow)
        finally:
            writer.join()
            os.close(writing)
        # The header that stands in the midst of joined files is a line like any other.
        assert next(rows) == Skipped(3, "not_a_ship")


def test_danish_file():
    items = list(ais.read(data("ais-denmark-2026-04-26.csv")))
    rows = [item for item in items if isinstance(item, AisRow)]
    reasons = Counter(item.reason for item in items if isinstance(item, Skipped))

    assert len(items) == 19_999
    assert [item.line for item in items] == list(range(2, 20_001))
    assert reasons == {
        "base_station": 1270,
        "aid_to_navigation": 300,
        "bad_mmsi": 58,
        "coast_station": 19,
        "handheld_radio": 2,
    }
    assert len({row.mmsi for row in rows}) == 1887
    assert set().union(*({row.kind} for row in rows)) - {None} <= ais.KINDS
    assert {row.recorded_at.date().isoformat() for row in rows} == {"2026-04-26"}
    # 133 of the file's 750 rows without a fix are base stations, six more have no ship's MMSI.
    assert sum(row.lat == 91 for row in rows) == 611
    assert "CPA0,5" not in {row.name for row in rows}


def test_danish_file_as_it_was_published():
    senders, without_fix = set(), 0
    with data("ais-denmark-2026-04-26.csv").open(encoding="utf-8", errors="replace") as lines:
        next(lines)
        for line in lines:
            fields = line.split(",")
            senders.add(fields[2])
            without_fix += fields[3].startswith("91.")
    assert (len(senders), without_fix) == (2005, 750)


def test_american_file():
    items = list(ais.read(data("ais-us-2014-01-01.csv")))
    assert len(items) == 972
    assert Counter(item.mmsi for item in items if isinstance(item, AisRow)) == {
        "215020081": 534,
        "257990100": 264,
        "255880350": 94,
        "240000208": 80,
    }
