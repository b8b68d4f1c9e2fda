"""GPX as its schema has it: read again by an XML parser, whatever the vessel is called."""

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st
from tests.support.gpx import segments_of

from harbor_api.schemas.gpx import GpxTrack

TIME = "2026-01-02T03:04:05.000000Z"


def written(name: str, *parts: list[tuple[float, float, str]]) -> bytes:
    track = GpxTrack()
    pieces = [track.head(name)]
    for part in parts:
        pieces += [track.part(), track.points(part)]
    return b"".join([*pieces, track.tail()])


def test_each_part_is_a_segment():
    content = written("Fjord", [(59.0, 10.0, TIME), (59.1, 10.1, TIME)], [], [(60.0, 11.0, TIME)])
    assert segments_of(content) == [[(59.0, 10.0, TIME), (59.1, 10.1, TIME)], [(60.0, 11.0, TIME)]]


def test_a_track_of_nothing_has_no_segment():
    assert segments_of(written("Fjord")) == []
    assert segments_of(written("Fjord", [])) == []


def test_points_go_on_where_the_ones_before_ended():
    track = GpxTrack()
    content = track.head("Fjord")
    for lat in range(5):
        content += track.points([(lat, 10.0, TIME)])
    assert segments_of(content + track.tail()) == [[(lat, 10.0, TIME) for lat in range(5)]]


def test_a_segment_ends_where_a_line_would_go_around_the_world():
    crossing = [(-17.0, lon, TIME) for lon in (179.9, 180.0, -179.9, -180.0, 179.8)]
    told = [[lon for _, lon, _ in segment] for segment in segments_of(written("Fiji", crossing))]
    assert told == [[179.9], [-180.0, -179.9, -180.0], [179.8]]
    track = GpxTrack()
    content = track.head("Fiji") + b"".join(track.points([point]) for point in crossing) + track.tail()
    assert content == written("Fiji", crossing)


def test_small_numbers_are_plain_decimals():
    assert b'lat="0.000001" lon="-0.000001"' in written("Null", [(1e-6, -1e-6, TIME)])


@given(name=st.text(st.characters(), max_size=30))
def test_any_name_can_be_read_again(name):
    root = ET.fromstring(written(name, [(1.0, 2.0, TIME)]))
    told = root.findtext("{*}trk/{*}name")
    assert len(told or "") == len(name)
    assert all(was in (now, "\r") or now == "\ufffd" for now, was in zip(told or "", name, strict=True))


def test_a_name_of_markup_is_text():
    for name in ("<b>&amp;</b>", "]]>", "\"'", "<!--", "<![CDATA[x]]>", "Ægir & Ψ \U0001f6a2"):
        assert ET.fromstring(written(name)).findtext("{*}trk/{*}name") == name


@given(
    st.lists(
        st.tuples(
            st.floats(-90, 90).map(lambda number: round(number, 6) + 0.0),
            st.floats(-180, 180).map(lambda number: round(number, 6) + 0.0),
            st.just(TIME),
        )
    )
)
def test_every_point_comes_once_and_in_order(points):
    segments = segments_of(written("Any", points))
    told = [point for segment in segments for point in segment]
    assert told == [(lat, -180.0 if lon == 180 else lon, time) for lat, lon, time in points]
