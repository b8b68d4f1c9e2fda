import io
import math
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harbor_api.simulation import ais
from harbor_api.simulation.ais import AisRow, Reader, Refused, Ship, Skipped, UnknownLayoutError

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
DANISH = (
    "# Timestamp,Type of mobile,MMSI,Latitude,Longitude,Navigational status,ROT,SOG,COG,Heading,"
    "IMO,Callsign,Name,Ship type"
)
AMERICAN = (
    "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName,IMO,CallSign,VesselType,Status,Length,Width,Draft,"
    "Cargo,TransceiverClass"
)
# As it is published since 2025.
TODAY = (
    "mmsi,base_date_time,longitude,latitude,sog,cog,heading,vessel_name,imo,call_sign,vessel_type,status,"
    "length,width,draft,cargo,transceiver"
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
        "length": "",
        "width": "",
        "draft": "",
        "cargo": "",
        "class": "A",
    }
    return ",".join({**values, **fields}.values())


def read(*lines: str | bytes, end: bytes = b"\n") -> list[AisRow | Skipped | Refused]:
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return list(Reader(io.BytesIO(end.join(raw) + end)))


def one(line: str, header: str = DANISH) -> AisRow:
    (row,) = read(header, line)
    assert isinstance(row, AisRow), row
    return row


def why(line: str, header: str = DANISH) -> str:
    (item,) = read(header, line)
    assert isinstance(item, Skipped | Refused), item
    return item.reason


def data(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the sample of AIS data is not at {path}")
    return path


def test_danish_row_is_read_whole():
    assert one(danish()) == AisRow(
        line=2,
        raw=f"{danish()}\n".encode(),
        ship=Ship("219000429", "NORDLYS", "9074729", "OWAB", "cargo"),
        recorded_at=datetime(2026, 4, 26, 13, 5, 9, tzinfo=UTC),
        lat=56.716565,
        lon=11.519042,
        sog=14.9,
        cog=241.0,
        heading=242.0,
        nav_status=0,
    )


def test_marine_cadastre_row_is_read_whole():
    line = american(name="EVER NEAR", imo="IMO9074729", call="C6AB", length="180", width="30", draft="9.8")
    assert one(line, AMERICAN) == AisRow(
        line=2,
        raw=f"{line}\n".encode(),
        ship=Ship("215020081", "EVER NEAR", "9074729", "C6AB", "cargo", 180, 30, 9.8),
        recorded_at=datetime(2014, 1, 5, 9, 48, 32, tzinfo=UTC),
        lat=42.396,
        lon=-70.8065,
        sog=9.1,
        cog=253.0,
        heading=252.0,
        nav_status=0,
    )


def test_row_of_the_layout_of_today_is_read_whole():
    line = "367525420,2025-01-01 00:00:03,-89.98,29.9,0.0,189.9,,EMDEN,IMO9074729,WDF2,31,15,26,8,3.1,57,A"
    row = one(line, TODAY)
    assert row == AisRow(
        line=2,
        raw=f"{line}\n".encode(),
        ship=Ship("367525420", "EMDEN", "9074729", "WDF2", "tug", 26, 8, 3.1),
        recorded_at=datetime(2025, 1, 1, 0, 0, 3, tzinfo=UTC),
        lat=29.9,
        lon=-89.98,
        sog=0.0,
        cog=189.9,
    )
    blank = one("367525420,2025-01-01 00:00:03,-89.98,29.9,,,,,,,,,,,,,", TODAY)
    assert blank == AisRow(2, blank.raw, Ship("367525420"), row.recorded_at, 29.9, -89.98)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_layout_is_told_by_its_names_in_any_order(separator, quote):
    names = ["Latitude", "call sign", "LONGITUDE", "base date_time", "Mmsi", "somebody's note", "SOG"]
    values = [
        "42,3" if separator == ";" else "42.3",
        "c6ab",
        "-70.8",
        "2025-01-05 09:48:32",
        "215020081",
        "",
        "1",
    ]
    header, line = (separator.join(f"{quote}{each}{quote}" for each in row) for row in (names, values))
    row = one(line, header)
    assert (row.lat, row.lon, row.sog, row.ship) == (42.3, -70.8, 1.0, Ship("215020081", call_sign="C6AB"))


@pytest.mark.parametrize(
    ("published", "cog"),
    [
        ("-140.7", 268.9),
        ("-204.8", 204.8),
        ("-49.7", 359.9),
        ("-49.6", None),
        ("360.0", None),
        ("204.7", 204.7),
        ("-0.0", 0.0),
    ],
)
def test_course_that_was_read_as_a_signed_number_is_mended(published, cog):
    row = one(american(cog=published), AMERICAN)
    assert (row.cog, row.left_out) == (cog, ())
    assert row.cog is None or math.copysign(1, row.cog) == 1


@pytest.mark.parametrize(
    ("published", "sog"),
    [("-51.2", 51.2), ("-0.2", 102.2), ("-0.1", None), ("102.3", None), ("51.1", 51.1), ("-0.0", 0.0)],
)
def test_speed_that_was_read_as_a_signed_number_is_mended(published, sog):
    row = one(american(sog=published), AMERICAN)
    assert (row.sog, row.left_out) == (sog, ())


@pytest.mark.parametrize(
    ("fields", "header"),
    [
        ({"cog": "-0.1"}, AMERICAN),  # 409.5 of 12 bits
        ({"cog": "-49.5"}, AMERICAN),
        ({"cog": "-204.9"}, AMERICAN),
        ({"sog": "-51.3"}, AMERICAN),
        ({"sog": "102.4"}, AMERICAN),
        ({"heading": "-1"}, AMERICAN),
        ({"heading": "456"}, AMERICAN),
        ({"cog": "-140.7"}, DANISH),
        ({"sog": "-0.1"}, DANISH),
        ({"cog": "456"}, DANISH),
        ({"heading": "1e400"}, DANISH),
        ({"sog": "1e4000"}, DANISH),
        ({"sog": "1_0"}, DANISH),
        ({"sog": "nan"}, DANISH),
        ({"cog": "\u0669"}, DANISH),
    ],
)
def test_measure_that_means_nothing_does_not_cost_the_position(fields, header):
    row = one((danish if header is DANISH else american)(**fields), header)
    (name,) = fields
    assert (getattr(row, name), row.left_out) == (None, (name,))
    assert row.lat is not None


def test_measures_are_rounded_before_they_are_compared():
    row = one(danish(sog="102.29996", cog="359.99996", heading="510.9999"))
    assert (row.sog, row.cog, row.heading, row.left_out) == (None, None, None, ())


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        ("2025-01-01T00:00:03", "2025-01-01T00:00:03+00:00"),
        ("2025-01-01 00:00:03Z", "2025-01-01T00:00:03+00:00"),
        ("2025-01-01 00:00:03.25", "2025-01-01T00:00:03.250000+00:00"),
        ("2025-01-01 00:00:03.123456789", "2025-01-01T00:00:03.123456+00:00"),
        ("2025-01-01 02:00:03+02", "2025-01-01T00:00:03+00:00"),
        ("2024-12-31 19:30:03-04:30", "2025-01-01T00:00:03+00:00"),
    ],
)
def test_iso_times(time, moment):
    assert one(american(time=time), AMERICAN).recorded_at.isoformat() == moment


def test_day_comes_first_in_danish_times():
    assert one(danish(time="03/04/2026 00:00:00")).recorded_at == datetime(2026, 4, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b"time,mmsi,lat,lon\n", "none of .*'time,mmsi,lat,lon'"),
        (b"[red]MMSI[/red],lat\n", "none of"),
        (b"MMSI,BaseDateTime,LAT,Latitude,LON\n", "lat twice"),
        (b"", "empty"),
        (b"\n", "blank line"),
        (b"\x00\xff", "no text"),
        (b"MMSI\x1b[31m,BaseDateTime,LAT,LON\n", "no text"),
        (AMERICAN.encode("utf-16"), "UTF-16"),
        (b"%PDF-1.7\n", "none of"),
    ],
)
def test_unknown_header_is_told_in_one_line(header, told):
    with pytest.raises(UnknownLayoutError, match=told) as caught:
        Reader(io.BytesIO(header))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_bom_and_line_ends_do_not_matter(end, bom):
    rows = read(bom + DANISH, danish(), danish(ship="Tanker"), end=end)
    assert [row.ship.kind for row in rows if isinstance(row, AisRow)] == ["cargo", "tanker"]


def test_last_line_may_lack_its_end():
    assert len(list(Reader(io.BytesIO(f"{DANISH}\n{danish()}".encode())))) == 1


def test_quoted_comma_and_quote_stay_in_a_name():
    assert one(danish(name='"DEEP ""8"",1"')).ship.name == 'DEEP "8",1'


def test_stray_byte_stays_in_its_field():
    rows = read(DANISH, danish(name="SK?VE").encode().replace(b"?", b"\xe5"), danish())
    assert [row.ship.name for row in rows if isinstance(row, AisRow)] == ["SK\ufffdVE", "NORDLYS"]


def test_stray_quote_garbles_no_other_line():
    items = read(DANISH, danish(name='"UNCLOSED'), danish())
    assert items[0] == Refused(2, (danish(name='"UNCLOSED') + "\n").encode(), "short_line")
    assert isinstance(items[1], AisRow)
    assert items[1].line == 3


def test_text_is_cleaned():
    row = one(danish(name=" NORD\x00LYS@@@@ ", call="Unknown", ship="Undefined"))
    assert row.ship == Ship("219000429", "NORD LYS", "9074729")


@pytest.mark.parametrize(
    ("fields", "ship"),
    [
        ({"name": "[bold]B[/bold]"}, {"name": "[bold]B[/bold]"}),
        ({"name": "\x1b[2J\u202e\u200b"}, {"name": "[2J"}),
        ({"name": "\u200b\u200b"}, {"name": None}),
        ({"name": "N" * 101}, {"name": None}),
        ({"call": "ow ab"}, {"call_sign": None}),
        ({"call": "owab"}, {"call_sign": "OWAB"}),
    ],
)
def test_text_of_a_ship_is_such_as_the_service_takes(fields, ship):
    described = one(danish(**fields)).ship
    assert {name: getattr(described, name) for name in ship} == ship


@pytest.mark.parametrize(
    ("length", "width", "draft", "kept"),
    [
        ("0", "0", "0.0", (None, None, None)),
        ("", "", "", (None, None, None)),
        ("399.9", "61.5", "16.04", (399.9, 61.5, 16.04)),
        ("1001", "127", "25.6", (None, None, None)),
        ("-5", "nan", "deep", (None, None, None)),
    ],
)
def test_dimensions(length, width, draft, kept):
    ship = one(american(length=length, width=width, draft=draft), AMERICAN).ship
    assert (ship.length_m, ship.beam_m, ship.draught_m) == kept


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
    row = one(danish(sog="", cog="", heading="", status="", imo="", name=""))
    assert (row.sog, row.cog, row.heading, row.nav_status, row.left_out) == (None, None, None, None, ())
    assert (row.ship.imo, row.ship.name) == (None, None)


@pytest.mark.parametrize(
    ("fields", "reason", "member"),
    [
        ({"lat": "91.000000", "lon": "181.0"}, "no_fix", "lat"),
        ({"lon": "181"}, "no_fix", "lon"),
        ({"lat": ""}, "no_fix", "lat"),
        ({"lat": "90.1"}, "out_of_range", "lat"),
        ({"lon": "-180.5"}, "out_of_range", "lon"),
        ({"lon": "1e999"}, "out_of_range", "lon"),
        ({"lat": "north"}, "bad_number", "lat"),
        ({"lat": "nan"}, "bad_number", "lat"),
        ({"time": "31/02/2026 13:05:09"}, "bad_time", "recorded_at"),
        ({"time": ""}, "bad_time", "recorded_at"),
        ({"mmsi": "x"}, "bad_mmsi", "mmsi"),
    ],
)
def test_refused_row_names_the_member_that_is_to_blame(fields, reason, member):
    line = danish(**fields)
    assert read(DANISH, danish(), line)[1] == Refused(3, f"{line}\n".encode(), reason, member)


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
    assert one(danish(imo=imo)).ship.imo == kept


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
        (danish(name="A" * ais.LONGEST_LINE), "long_line"),
    ],
)
def test_unreadable_lines_are_refused(line, reason):
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
        ("1000", "other"),
        ("1001", "fishing"),
        ("1002", "fishing"),
        ("1003", "cargo"),
        ("1004", "cargo"),
        ("1005", "other"),
        ("1010", "other"),
        ("1012", "passenger"),
        ("1015.0", "passenger"),
        ("1016", "cargo"),
        ("1017", "tanker"),
        ("1018", "other"),
        ("1019", "pleasure"),
        ("1020", "other"),
        ("1021", "sar"),
        ("1022", "other"),
        ("1023", "tug"),
        ("1024", "tanker"),
        ("1025", "tug"),
        ("0", None),
        ("", None),
    ],
)
def test_kind_by_number(number, kind):
    assert one(american(type=number), AMERICAN).ship.kind == kind


@pytest.mark.parametrize(
    ("number", "cargo", "kind"),
    [("", "70", "cargo"), ("0", "80.0", "tanker"), ("", "0", None), ("31", "70", "tug"), ("", "x", None)],
)
def test_cargo_tells_the_kind_where_the_type_does_not(number, cargo, kind):
    assert one(american(type=number, cargo=cargo), AMERICAN).ship.kind == kind


@pytest.mark.parametrize(("header", "line"), [(DANISH, danish()), (AMERICAN, american())])
def test_header_in_the_midst_of_joined_files_is_skipped(header, line):
    items = read(header, line, "\ufeff" + header, line)
    assert items[1] == Skipped(3, "header_line")
    assert isinstance(items[2], AisRow)


def test_what_two_rows_say_of_a_ship_is_put_together():
    first = Ship("219000429", "NORDLYS", kind="cargo")
    later = Ship("219000429", "NORDLYSET", "9074729", None, "tug", 80, None, 4.5)
    assert first.with_missing_of(later) == Ship(
        "219000429", "NORDLYS", "9074729", None, "cargo", 80, None, 4.5
    )


def test_danish_file():
    items = list(Reader(io.BytesIO(data("ais-denmark-2026-04-26.csv").read_bytes())))
    rows = [item for item in items if isinstance(item, AisRow)]
    reasons = Counter(item.reason for item in items if isinstance(item, Skipped | Refused))

    assert len(items) == 19_999
    assert [item.line for item in items] == list(range(2, 20_001))
    assert reasons == {
        "base_station": 1270,
        "aid_to_navigation": 300,
        "bad_mmsi": 58,
        "coast_station": 19,
        "handheld_radio": 2,
        # 133 of the file's 750 rows without a fix are base stations, six more have no ship's MMSI.
        "no_fix": 611,
    }
    assert len({row.ship.mmsi for row in rows}) == 1665
    assert {row.ship.kind for row in rows} - {None} <= ais.KINDS
    assert {row.ship.beam_m for row in rows} >= {None, 21, 14, 28}
    assert Counter(member for row in rows for member in row.left_out) == {"heading": 6}
    assert {row.recorded_at.date().isoformat() for row in rows} == {"2026-04-26"}
    assert "CPA0,5" not in {row.ship.name for row in rows}


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
    items = list(Reader(io.BytesIO(data("ais-us-2014-01-01.csv").read_bytes())))
    assert len(items) == 972
    assert Counter(item.ship.mmsi for item in items if isinstance(item, AisRow)) == {
        "215020081": 534,
        "257990100": 264,
        "255880350": 94,
        "240000208": 80,
    }
