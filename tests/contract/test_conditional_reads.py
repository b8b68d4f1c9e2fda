"""Every read that has a tag: what it stands for, and that nobody reads again what they have."""

import re
from typing import Any

import pytest
from tests.support import sql
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.operations import operations_of
from tests.support.urls import KEYS, POSITIONS, TRACKERS, VESSELS

Document = dict[str, Any]


def _tagged(document: Document) -> list[Any]:
    return [each for each in operations_of(document) if "304" in each.described["responses"]]


def test_every_read_with_a_key_has_one_but_that_which_changes_with_each_request(document: Document):
    reads = {
        each.described["operationId"]
        for each in operations_of(document)
        if each.method == "GET" and each.security and "api_key" in each.security[0]
    }
    assert reads - {each.described["operationId"] for each in _tagged(document)} == {"getMe"}


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
            for name in ("ETag", "Cache-Control", "Vary"):
                assert again.headers[name] == first.headers[name], str(operation)
            assert "Content-Type" not in again.headers
        assert "Authorization" in again.headers["Vary"]


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
        bearer = world.bearer()
        before = seen(bearer)
        assert b'"stale":false' in before[0][1]
        for table in ("positions", "latest_positions"):
            sql.run(world.database, f"UPDATE {table} SET recorded_at = recorded_at - interval '2 s'")
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
