"""Every read that has a tag: what it stands for, and that nobody reads again what they have."""

import re
from typing import Any

import pytest
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.codings import DECODERS
from tests.support.factories import World, a_fix
from tests.support.operations import operations_of
from tests.support.urls import KEYS, POSITIONS, TRACKERS, VESSELS

Document = dict[str, Any]
KEEPING = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept, Accept-Encoding"}


# What changes takes a number of the committed order, whoever changes it.
_NUMBERED = "UPDATE vessels SET seq = nextval('fleet_order')"


def _tagged(document: Document) -> list[Any]:
    return [each for each in operations_of(document) if "304" in each.described["responses"]]


def test_every_read_with_a_key_has_one_but_that_which_changes_with_each_request(document: Document):
    reads = {
        each.described["operationId"]
        for each in operations_of(document)
        if each.method == "GET" and each.security and "api_key" in each.security[0]
    }
    assert reads - {each.described["operationId"] for each in _tagged(document)} == {
        "getMe",
        "followPositions",
        "streamPositions",
        "listFeeds",
        "getFeed",
        "readFeed",
    }


@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}', '"x",W/{} , "y"', "*"])
def test_304_where_the_caller_has_what_would_be_answered(
    client: CheckedClient, world: World, document: Document, admin, form
):
    client.post(POSITIONS, **world.tracker(world.vessel()).signed(a_fix()))
    world.key()
    for operation in _tagged(document):
        # What stands in an answer may change with the first use of a key.
        client.get(operation.url, headers=admin)
        first = client.get(operation.url, headers=admin)
        tag = first.headers["ETag"]
        for method in ("GET", "HEAD"):
            again = client.open(
                operation.url, method=method, headers=admin | {"If-None-Match": form.format(tag)}
            )
            assert (again.status_code, again.data) == (304, b""), str(operation)
            for name in ("ETag", *KEEPING):
                assert again.headers[name] == first.headers[name], str(operation)
            assert not {"Content-Type", "Content-Length", "Content-Encoding"} & set(again.headers.keys())
        assert {name: first.headers[name] for name in KEEPING} == KEEPING


@pytest.mark.parametrize("form", ['"x"', "{bare}", '"{bare}x"', "W/", "", '"', '"*"'])
def test_200_where_no_tag_fits(client: CheckedClient, world: World, document: Document, admin, form):
    world.tracker(world.vessel())
    world.key()
    for operation in _tagged(document):
        client.get(operation.url, headers=admin)
        bare = client.get(operation.url, headers=admin).headers["ETag"].strip('"')
        answer = client.get(operation.url, headers=admin | {"If-None-Match": form.format(bare=bare)})
        # Without its quotes it is no tag, but what werkzeug takes for one.
        expected = 304 if form == "{bare}" else 200
        assert answer.status_code == expected, str(operation)


class TestCodings:
    """Each of them is a representation with a tag of its own, of the same content."""

    @pytest.fixture
    def reads(self, client: CheckedClient, world: World, document: Document, admin) -> list[str]:
        client.post(POSITIONS, **world.tracker(world.vessel()).signed(a_fix()))
        world.key()
        urls = [each.url for each in _tagged(document)]
        for url in urls:
            client.get(url, headers=admin)
        return urls

    @pytest.mark.parametrize("coding", DECODERS)
    def test_a_read_in_a_coding_is_that_read(self, client: CheckedClient, admin, reads, coding):
        # Small answers are coded for those only who take nothing else.
        asked = admin | {"Accept-Encoding": f"{coding}, identity;q=0"}
        for url in reads:
            plain, coded = client.get(url, headers=admin), client.get(url, headers=asked)
            assert "Content-Encoding" not in plain.headers, url
            assert coded.headers["Content-Encoding"] == coding, url
            assert DECODERS[coding](coded.data) == plain.data, url
            bare = plain.headers["ETag"].strip('"')
            assert coded.headers["ETag"] == f'"{bare}.{coding}"', url
            head = client.head(url, headers=asked)
            for name in ("ETag", "Content-Encoding", "Content-Length", "Content-Type", *KEEPING):
                assert head.headers[name] == coded.headers[name], url
            for method, named, status in (
                ("GET", f'"{bare}.{coding}"', 304),
                ("HEAD", f'"x", W/"{bare}.{coding}"', 304),
                ("GET", f'"{bare}"', 200),
            ):
                again = client.open(url, method=method, headers=asked | {"If-None-Match": named})
                assert again.status_code == status, (url, named)
                assert again.headers["ETag"] == coded.headers["ETag"], url
                assert {name: again.headers[name] for name in KEEPING} == KEEPING, url

    def test_small_answers_go_as_they_are(self, client: CheckedClient, world: World, admin, reads):
        asked = admin | {"Accept-Encoding": "gzip"}
        assert "Content-Encoding" not in client.get(VESSELS, headers=asked).headers
        for number in range(9):
            world.vessel(f"Vessel {number}")
        plain, coded = client.get(VESSELS, headers=admin), client.get(VESSELS, headers=asked)
        assert coded.headers["Content-Encoding"] == "gzip"
        assert 3 * len(coded.data) < len(plain.data)

    def test_what_is_no_read_is_not_coded_and_not_kept(self, client: CheckedClient, world: World, admin):
        """Secrets above all: how long they are in a coding could tell what they are."""
        asked = admin | {"Accept-Encoding": "gzip, identity;q=0"}
        world.tracker(world.vessel())
        answers = [
            client.post(KEYS, json={"name": "x" * 100, "scopes": ["vessels:read"]}, headers=asked),
            client.post(f"{KEYS}/2/rotate", json={}, headers=asked),
            client.post(TRACKERS, json={"vessel_id": 1}, headers=asked),
            client.post(f"{TRACKERS}/1/rotate", json={}, headers=asked),
            client.patch(f"{VESSELS}/1", json={"name": "x" * 100}, headers=asked | {"If-Match": "*"}),
            client.get(f"{VESSELS}/999", headers=asked),
            client.get(VESSELS, headers={"Accept-Encoding": "gzip, identity;q=0"}),
        ]
        assert [each.status_code for each in answers] == [201, 200, 201, 200, 200, 404, 401]
        for each in answers:
            assert "Content-Encoding" not in each.headers
            assert each.headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize("coding", DECODERS)
    @pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', '{} , W/"x"', "  {}"])
    def test_a_change_may_name_a_tag_of_any_coding(self, client: CheckedClient, world, admin, coding, form):
        world.vessel()
        asked = admin | {"Accept-Encoding": f"{coding}, identity;q=0"}
        tag = client.get(f"{VESSELS}/1", headers=asked).headers["ETag"]
        for name, status in (("New", 200), ("Newer", 412)):
            change = {"json": {"name": name}, "headers": admin | {"If-Match": form.format(tag)}}
            assert client.patch(f"{VESSELS}/1", **change).status_code == status


def test_a_careless_cache_hands_nobody_what_is_anothers(client: CheckedClient, world: World):
    """It is shared and keeps what is private, and asks with any tag that it has: only Vary is minded."""
    kept: dict[tuple[str | None, ...], Any] = {}

    def fetch(headers: dict[str, str]) -> bytes:
        tags = ", ".join(each.headers["ETag"] for each in kept.values())
        answer = client.get(VESSELS, headers=headers | ({"If-None-Match": tags} if tags else {}))
        name = tuple(headers.get(each) for each in answer.headers["Vary"].split(", "))
        if answer.status_code == 200:
            kept[name] = answer
        return DECODERS.get(headers.get("Accept-Encoding", ""), bytes)(kept[name].data)

    mine, yours = world.vessel("Mine"), world.vessel("Yours")
    for number in range(9):
        world.vessel(f"Of neither {number}")
    partners = {
        name: world.bearer(vessel_ids=frozenset({vessel.id, *range(3, 8)}))
        for name, vessel in (("Mine", mine), ("Yours", yours))
    }
    for _ in range(2):
        for coding in ("gzip", "zstd", "identity", "br"):
            for name, bearer in partners.items():
                read = fetch(bearer | {"Accept-Encoding": coding})
                assert [other for other in partners if other.encode() in read] == [name]
    assert len(kept) == 8


class TestTag:
    """Of a vessel and the fleet: a function of all bytes that the key is shown, and of nothing else."""

    @pytest.fixture
    def seen(self, client: CheckedClient, world: World) -> Any:
        def read(bearer: dict[str, str]) -> tuple[tuple[str, bytes], ...]:
            answers = [client.get(url, headers=bearer) for url in (VESSELS, f"{VESSELS}/1")]
            return tuple((each.headers["ETag"], each.data) for each in answers)

        return read

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE latest_positions SET received_at = received_at + interval '1 second'",
            "UPDATE latest_positions SET recorded_at = now()",
            "UPDATE latest_positions SET sog = 9",
            "UPDATE latest_positions SET lat = lat + 0.000001",
            "UPDATE vessels SET name = 'Other'",
        ],
    )
    def test_changes_with_each_member(self, client: CheckedClient, world: World, seen, change):
        client.post(POSITIONS, **world.tracker(world.vessel()).signed(a_fix()))
        bearer = world.bearer()
        before = seen(bearer)
        sql.run(world.database, change)
        sql.run(world.database, _NUMBERED)
        for (old, _), (new, _) in zip(before, seen(bearer), strict=True):
            assert old != new

    def test_stays_whatever_becomes_of_others_and_tells_no_number(
        self, client: CheckedClient, world: World, seen
    ):
        mine = world.vessel()
        bearer = world.bearer(vessel_ids=frozenset({mine.id}))
        client.post(POSITIONS, **world.tracker(mine).signed(a_fix()))
        before = seen(bearer)
        other = world.tracker(world.vessel("Other"))
        for second in range(7):
            client.post(POSITIONS, **other.signed(a_fix(second)))
        assert seen(bearer) == before
        for tag, _ in before:
            assert re.fullmatch(r'"([0-9a-f]{16}-)?[0-9a-f]{32}"', tag)

    def test_is_another_where_another_key_sees_other_things(self, client: CheckedClient, world: World, seen):
        one, two = world.vessel("One"), world.vessel("Two")
        for vessel in (one, two):
            client.post(POSITIONS, **world.tracker(vessel).signed(a_fix()))
        terms = ({}, {"vessel_ids": frozenset({one.id})}, {"coordinate_decimals": 0})
        fleets = [seen(world.bearer(**each))[0][0] for each in terms]
        assert len(set(fleets)) == len(terms)

    def test_changes_when_the_vessel_becomes_stale_by_the_clock(
        self, client: CheckedClient, world: World, seen
    ):
        client.post(POSITIONS, **world.tracker(world.vessel()).signed(a_fix()))
        fresh = "UPDATE {0} SET recorded_at = now() - interval '899 s'"
        for table in ("positions", "latest_positions"):
            sql.run(world.database, fresh.format(table))
        sql.run(world.database, _NUMBERED)
        bearer = world.bearer()
        before = seen(bearer)
        assert b'"stale":false' in before[0][1]
        for table in ("positions", "latest_positions"):
            sql.run(world.database, f"UPDATE {table} SET recorded_at = recorded_at - interval '2 s'")
        sql.run(world.database, _NUMBERED)
        after = seen(bearer)
        assert b'"stale":true' in after[0][1]
        assert {tag for tag, _ in before}.isdisjoint({tag for tag, _ in after})


@pytest.mark.parametrize("limit", [{"delay_s": 1}, {"coordinate_decimals": 3}])
def test_an_edit_that_is_undone_is_nothing_that_a_limited_key_notices(
    client: CheckedClient, world: World, admin, limit
):
    vessel = world.vessel("Old")
    bearer = world.bearer(**limit)
    before = client.get(f"{VESSELS}/{vessel.id}", headers=bearer).headers["ETag"]
    for name in ("New", "Old"):
        client.patch(f"{VESSELS}/{vessel.id}", json={"name": name}, headers=admin | {"If-Match": "*"})
    assert client.get(f"{VESSELS}/{vessel.id}", headers=bearer).headers["ETag"] == before


@pytest.mark.parametrize(("url", "edit"), [(VESSELS, "name"), (TRACKERS, "label"), (KEYS, "name")])
def test_a_tag_is_good_for_a_change_of_its_own_resource_only(
    client: CheckedClient, world: World, admin, url, edit
):
    for _ in range(2):
        world.tracker(world.vessel())
        world.key()
    tag = client.get(f"{url}/1", headers=admin).headers["ETag"]
    statuses = [
        client.patch(f"{url}/{number}", json={edit: "x"}, headers=admin | {"If-Match": f'"other", W/{tag}'})
        for number in (2, 1, 1)
    ]
    assert [each.status_code for each in statuses] == [412, 200, 412]
    answered = statuses[1].headers["ETag"]
    again = client.patch(f"{url}/1", json={edit: "y"}, headers=admin | {"If-Match": answered})
    assert again.status_code == 200
