"""Vessels over HTTP: registered, changed, retired and restored."""

import pytest
from tests.support.checked_client import CheckedClient
from tests.support.factories import World, a_fix
from tests.support.urls import POSITIONS
from tests.support.urls import VESSELS as URL

from harbor_api.domain.identifiers import IMO_RULE, MMSI_RULE

ANY = {"If-Match": "*"}
IMO, OTHER_IMO = "9074729", "9176187"


@pytest.fixture
def operator(world: World) -> dict[str, str]:
    """Return the headers of a key that may manage vessels."""
    return world.bearer("vessels:read", "vessels:write")


class TestRegister:
    def test_with_all_that_is_known(self, client: CheckedClient, operator):
        details = {
            "name": "Skagerrak Trader",
            "imo": IMO,
            "mmsi": "257123450",
            "call_sign": "LAXY5",
            "flag": "NO",
            "kind": "cargo",
            "length_m": 86.5,
            "beam_m": 13.2,
            "draught_m": 4.1,
        }
        answer = client.post(URL, json=details, headers=operator)
        assert answer.status_code == 201
        assert answer.json["properties"].items() >= details.items()
        found = client.get(answer.headers["Location"], headers=operator)
        assert (found.json, found.headers["ETag"]) == (answer.json, answer.headers["ETag"])

    @pytest.mark.parametrize(
        "wrong",
        [
            {"name": ""},
            {"name": " "},
            {"name": "a\x7fb"},
            {"name": "x" * 101},
            {"imo": "9074728"},
            {"imo": "0000000"},
            {"mmsi": "000000000"},
            {"imo": "９０７４７２９"},
            {"imo": "9074729\n"},
            {"mmsi": "12345678"},
            {"flag": "no"},
            {"length_m": 0},
            {"length_m": "86.5"},
            {"length_m": True},
        ],
    )
    def test_422_where_a_member_cannot_be(self, client: CheckedClient, operator, wrong):
        answer = client.post(URL, json={"name": "x"} | wrong, headers=operator)
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
        assert answer.json["errors"][0]["pointer"] == f"#/{next(iter(wrong))}"

    @pytest.mark.parametrize(
        ("member", "rule"),
        [
            ({"imo": "IMO 9074729"}, IMO_RULE),
            ({"imo": "imo9074729"}, IMO_RULE),
            ({"imo": "9074728"}, IMO_RULE),
            ({"mmsi": "257 123 450"}, MMSI_RULE),
            ({"mmsi": "MMSI 257123450"}, MMSI_RULE),
        ],
    )
    def test_a_number_that_is_written_otherwise_is_told_how(
        self, client: CheckedClient, operator, member, rule
    ):
        answer = client.post(URL, json={"name": "x", **member}, headers=operator)
        assert [each["detail"] for each in answer.json["errors"]] == [rule]

    @pytest.mark.parametrize("number", [{"imo": IMO}, {"mmsi": "257123450"}])
    def test_conflict_where_a_number_is_taken(self, client: CheckedClient, world: World, operator, number):
        world.vessel("First", **number)
        answer = client.post(URL, json={"name": "Second"} | number, headers=operator)
        assert (answer.status_code, answer.json["code"]) == (409, "conflict")

    def test_the_same_request_is_done_once(self, client: CheckedClient, operator):
        once = operator | {"Idempotency-Key": "one"}
        first, second = (client.post(URL, json={"name": "Once"}, headers=once) for _ in range(2))
        assert (first.status_code, first.json) == (second.status_code, second.json)
        assert len(client.get(URL, headers=operator).json["features"]) == 1

    def test_a_repeat_gets_the_first_answer_whatever_has_changed_since(self, client: CheckedClient, operator):
        once = operator | {"Idempotency-Key": "one"}
        first = client.post(URL, json={"name": "Once"}, headers=once)
        url = first.headers["Location"]
        client.patch(url, json={"name": "Now"}, headers=operator | ANY)
        again = client.post(URL, json={"name": "Once"}, headers=once)
        assert (again.json, again.headers["ETag"]) == (first.json, first.headers["ETag"])
        assert client.get(url, headers=operator).json["properties"]["name"] == "Now"

    def test_a_request_that_was_refused_may_be_mended_under_the_same_key(
        self, client: CheckedClient, world: World, operator
    ):
        world.vessel("First", imo=IMO)
        once = operator | {"Idempotency-Key": "one"}
        assert client.post(URL, json={"name": "x", "imo": IMO}, headers=once).status_code == 409
        assert client.post(URL, json={"name": "x", "imo": OTHER_IMO}, headers=once).status_code == 201


class TestChange:
    def test_what_is_left_out_stays_and_null_takes_away(self, client: CheckedClient, world: World, operator):
        vessel = world.vessel("Old", flag="NO", kind="cargo")
        answer = client.patch(
            f"{URL}/{vessel.id}", json={"name": "New", "flag": None}, headers=operator | ANY
        )
        changed = answer.json["properties"]
        assert (changed["name"], changed["flag"], changed["kind"]) == ("New", None, "cargo")

    def test_a_new_position_is_no_edit(self, client: CheckedClient, world: World, operator):
        vessel = world.vessel()
        url = f"{URL}/{vessel.id}"
        etag = client.get(url, headers=operator).headers["ETag"]
        client.post(POSITIONS, **world.tracker(vessel).signed(a_fix()))
        assert client.get(url, headers=operator).headers["ETag"] != etag
        answer = client.patch(url, json={"name": "New"}, headers=operator | {"If-Match": etag})
        assert answer.status_code == 200

    def test_412_where_somebody_was_faster(self, client: CheckedClient, world: World, operator):
        url = f"{URL}/{world.vessel().id}"
        etag = {"If-Match": client.get(url, headers=operator).headers["ETag"]}
        statuses = [
            client.patch(url, json={"name": name}, headers=operator | etag).status_code for name in ("A", "B")
        ]
        assert statuses == [200, 412]
        assert client.get(url, headers=operator).json["properties"]["name"] == "A"

    def test_428_without_a_version(self, client: CheckedClient, world: World, operator):
        answer = client.patch(f"{URL}/{world.vessel().id}", json={"name": "x"}, headers=operator)
        assert (answer.status_code, answer.json["code"]) == (428, "precondition_required")

    def test_conflict_where_a_number_is_anothers(self, client: CheckedClient, world: World, operator):
        world.vessel("Other", mmsi="257123450")
        vessel = world.vessel("This one")
        answer = client.patch(
            f"{URL}/{vessel.id}", json={"mmsi": "257123450"}, headers={**operator, "If-Match": "*"}
        )
        assert (answer.status_code, answer.json["code"]) == (409, "conflict")

    def test_422_where_the_name_is_taken_away(self, client: CheckedClient, world: World, operator):
        answer = client.patch(f"{URL}/{world.vessel().id}", json={"name": None}, headers=operator | ANY)
        assert answer.status_code == 422


class TestRetire:
    def test_it_leaves_the_map_and_comes_back(self, client: CheckedClient, world: World, operator):
        url = f"{URL}/{world.vessel().id}"
        retired = [client.post(f"{url}/retire", headers=operator).json for _ in range(2)]
        assert retired[0] == retired[1]
        assert client.get(URL, headers=operator).json["features"] == []
        assert client.get(f"{URL}?retired=true", headers=operator).json["features"] == [retired[0]]
        assert client.get(url, headers=operator).json == retired[0]

        restored = client.post(f"{url}/restore", headers=operator).json
        assert restored["properties"]["retired_at"] is None
        assert client.get(URL, headers=operator).json["features"] == [restored]

    def test_its_numbers_are_free_and_it_cannot_come_back_for_them(
        self, client: CheckedClient, world: World, operator
    ):
        url = f"{URL}/{world.vessel(imo=IMO).id}"
        client.post(f"{url}/retire", headers=operator)
        assert client.post(URL, json={"name": "Heir", "imo": IMO}, headers=operator).status_code == 201
        answer = client.post(f"{url}/restore", headers=operator)
        assert (answer.status_code, answer.json["code"]) == (409, "conflict")
        assert client.get(url, headers=operator).json["properties"]["retired_at"] is not None

    def test_its_trackers_may_go_on_posting(self, client: CheckedClient, world: World, operator):
        vessel = world.vessel()
        signing = world.tracker(vessel)
        client.post(f"{URL}/{vessel.id}/retire", headers=operator)
        assert client.post(POSITIONS, **signing.signed(a_fix())).status_code == 201


@pytest.mark.parametrize("action", ["", "/retire", "/restore"])
def test_404_where_there_is_no_such_vessel(client: CheckedClient, operator, action):
    body = {} if action else {"json": {"name": "x"}}
    method = "POST" if action else "PATCH"
    answer = client.open(f"{URL}/2000000000{action}", method=method, headers=operator | ANY, **body)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
