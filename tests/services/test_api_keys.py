"""No sequence of operations brings the holder of a key to more than that key has."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.examples import many
from tests.support.factories import ACTOR, World, rolled_back

from harbor_api.database import UnitOfWork
from harbor_api.domain.api_keys import SCOPES, ApiKey, KeyTerms, exceeded, narrowed
from harbor_api.domain.changes import ANY, Edit
from harbor_api.domain.errors import Conflict, ExceedsKey, ScopeMissing
from harbor_api.domain.vessels import VesselDetails
from harbor_api.services import api_keys
from harbor_api.services.api_keys import Grantor

USUAL = 60
NOW = datetime(2026, 1, 2, tzinfo=UTC)
VESSELS = 3

_scopes = st.one_of(
    st.just(frozenset({"vessels:read"})),
    st.sets(st.sampled_from(["vessels:read", "vessels:write", "keys:read", "keys:write"])).map(frozenset),
    st.just(frozenset(SCOPES)),
)
_MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "scopes": _scopes,
    "vessel_ids": st.none() | st.sets(st.integers(0, VESSELS - 1), max_size=2).map(frozenset),
    "delay_s": st.sampled_from([0, 0, 60, 3600]),
    "coordinate_decimals": st.sampled_from([None, None, 1, 3]),
    "history_days": st.sampled_from([None, None, 1, 30]),
    "requests_per_minute": st.sampled_from([None, 10, USUAL, 600]),
    "expires_at": st.sampled_from([None, NOW + timedelta(days=1), NOW + timedelta(days=9)]),
}
# What somebody asks for who holds a key: mostly to issue or change another, or this one.
_step = st.tuples(
    st.sampled_from(["issue", "issue", "change", "change", "change", "rotate", "revoke"]),
    st.integers(0, 30),
    st.integers(0, 30),
    st.fixed_dictionaries({}, optional={**_MEMBERS, "independent": st.booleans()}),
)
_standing = st.fixed_dictionaries(
    {"scopes": _scopes}, optional={name: each for name, each in _MEMBERS.items() if name != "scopes"}
)


@dataclass
class Keys:
    """Keys that were there before, and whoever holds one of them and asks for what comes to mind."""

    unit_of_work: UnitOfWork
    vessels: tuple[int, ...]
    all: list[int] = field(default_factory=list)
    held: list[int] = field(default_factory=list)

    def stand(self, members: dict[str, Any]) -> None:
        """Let the operator issue a key, if there can be such a one."""
        try:
            key, _ = api_keys.issue(self.unit_of_work, self._terms(members), actor=ACTOR)
        except Conflict:
            key, _ = api_keys.issue(
                self.unit_of_work, KeyTerms(name="x", scopes=members["scopes"]), actor=ACTOR
            )
        self.all.append(key.id)

    def ask(self, what: str, who: int, whom: int, members: dict[str, Any]) -> None:
        """Ask for something with one of the keys that are held, as a view does for a key that may."""
        asking, subject = self.held[who % len(self.held)], self.all[whom % len(self.all)]
        key = self.get(asking)
        if key.revoked_at is not None or "keys:write" not in key.terms.scopes:
            return
        common = {"actor": ACTOR, "grantor": Grantor(asking, USUAL)}
        if what == "issue":
            asked = {"scopes": frozenset({"vessels:read"}), "independent": False, **members}
            made, _ = api_keys.issue(self.unit_of_work, self._terms(asked), **common)
            self.all.append(made.id)
            self.held.append(made.id)
        elif what == "change":
            edit = Edit(self._granted(members))
            api_keys.change(self.unit_of_work, subject, edit, versions=ANY, **common)
        elif what == "rotate":
            api_keys.rotate(self.unit_of_work, subject, grace=timedelta(0), now=NOW, **common)
            if subject not in self.held:
                self.held.append(subject)
        else:
            api_keys.revoke(self.unit_of_work, subject, **common)

    def get(self, key_id: int) -> ApiKey:
        return self.unit_of_work.api_keys.get(key_id)

    def _terms(self, members: dict[str, Any]) -> KeyTerms:
        return KeyTerms(name="x", **self._granted(members))

    def _granted(self, members: dict[str, Any]) -> dict[str, Any]:
        granted = members.get("vessel_ids")
        if granted is None:
            return members
        return {**members, "vessel_ids": frozenset(self.vessels[each] for each in granted)}


@settings(
    max_examples=many(60),
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(standing=st.lists(_standing, min_size=1, max_size=4), steps=st.lists(_step, min_size=4, max_size=14))
def test_who_holds_a_key_never_comes_to_more_than_it_had(world: World, standing, steps):
    with rolled_back(world.database) as unit_of_work:
        keys = Keys(unit_of_work, tuple(_vessel(unit_of_work, number) for number in range(VESSELS)))
        # Without it nothing can be asked.
        keys.stand({**standing[0], "scopes": standing[0]["scopes"] | {"keys:write"}})
        for members in standing[1:]:
            keys.stand(members)
        keys.held.append(keys.all[0])
        had = keys.get(keys.all[0]).terms
        for step in steps:
            with suppress(ScopeMissing, ExceedsKey, Conflict):
                keys.ask(*step)
            for key in map(keys.get, keys.held):
                assert not exceeded(key.terms, had, usual_limit=USUAL), (step, key)
            for key in map(keys.get, keys.all):
                _demand_place(keys, key)


def _demand_place(keys: Keys, key: ApiKey) -> None:
    """Demand that a key has no more than the one that issued it, and ended where that did."""
    assert key.terms.independent == (key.parent_id is None)
    if key.parent_id is not None and key.revoked_at is None:
        parent = keys.get(key.parent_id)
        assert parent.revoked_at is None
        assert not exceeded(key.terms, parent.terms, usual_limit=USUAL), (key, parent)


def _vessel(unit_of_work: UnitOfWork, number: int) -> int:
    return unit_of_work.vessels.add(VesselDetails(name=f"Vessel {number}")).id


ADMINISTRATOR = KeyTerms(name="ops", scopes=frozenset(SCOPES))
MANAGER = KeyTerms(
    name="manager",
    scopes=frozenset({"keys:write", "keys:read", "vessels:read"}),
    requests_per_minute=100,
    expires_at=NOW + timedelta(days=9),
)
PARTNER = KeyTerms(
    name="partner",
    scopes=frozenset({"vessels:read"}),
    requests_per_minute=100,
    expires_at=NOW + timedelta(days=9),
    independent=False,
)


@pytest.fixture
def unit_of_work(world: World) -> Iterator[UnitOfWork]:
    with rolled_back(world.database) as unit_of_work:
        yield unit_of_work


def _issue(unit_of_work: UnitOfWork, terms: KeyTerms, by: ApiKey | None = None) -> ApiKey:
    grantor = None if by is None else Grantor(by.id, USUAL)
    return api_keys.issue(unit_of_work, terms, actor=ACTOR, grantor=grantor)[0]


def _change(unit_of_work: UnitOfWork, key: ApiKey, by: ApiKey, **members: Any) -> ApiKey:
    return api_keys.change(
        unit_of_work, key.id, Edit(members), versions=ANY, actor=ACTOR, grantor=Grantor(by.id, USUAL)
    )


@pytest.mark.parametrize(
    "more",
    [
        {"expires_at": None},
        {"expires_at": NOW + timedelta(days=10)},
        {"requests_per_minute": 101},
        {"independent": True},
    ],
)
def test_a_key_gives_neither_itself_nor_another_a_later_end_or_a_higher_limit(unit_of_work: UnitOfWork, more):
    manager = _issue(unit_of_work, MANAGER)
    partner = _issue(unit_of_work, PARTNER, manager)
    with pytest.raises(ExceedsKey):
        _issue(unit_of_work, replace(PARTNER, **more), manager)
    with pytest.raises(ExceedsKey):
        _change(unit_of_work, partner, manager, **more)
    if "independent" not in more:
        with pytest.raises(ExceedsKey):
            _change(unit_of_work, manager, manager, **more)


@pytest.mark.parametrize(
    ("own", "most", "left"), [(None, None, None), (7, None, 7), (None, 30, 30), (7, 30, 7), (90, 30, 30)]
)
def test_the_shorter_reach_is_left_of_two(own, most, left):
    terms, held = (replace(PARTNER, history_days=days) for days in (own, most))
    assert narrowed(terms, held, usual_limit=USUAL).history_days == left
    assert exceeded(terms, held, usual_limit=USUAL) == (() if left == own else ("history_days",))


def test_the_usual_limit_is_more_than_a_lower_one(unit_of_work: UnitOfWork):
    slow = _issue(unit_of_work, replace(MANAGER, requests_per_minute=USUAL - 1))
    with pytest.raises(ExceedsKey):
        _issue(unit_of_work, replace(PARTNER, requests_per_minute=None), slow)
    quick = _issue(unit_of_work, MANAGER)
    assert _issue(unit_of_work, replace(PARTNER, requests_per_minute=None), quick).parent_id == quick.id


def test_a_key_has_no_power_over_the_one_that_it_comes_from(unit_of_work: UnitOfWork):
    manager = _issue(unit_of_work, MANAGER)
    child = _issue(unit_of_work, replace(MANAGER, independent=False), manager)
    grandchild = _issue(unit_of_work, replace(MANAGER, independent=False), child)
    by = Grantor(grandchild.id, USUAL)
    for above in (manager, child):
        with pytest.raises(ExceedsKey):
            _change(unit_of_work, above, grandchild, name="mine")
        with pytest.raises(ExceedsKey):
            api_keys.rotate(unit_of_work, above.id, grace=timedelta(0), now=NOW, actor=ACTOR, grantor=by)
        with pytest.raises(ExceedsKey):
            api_keys.revoke(unit_of_work, above.id, actor=ACTOR, grantor=by)
    assert api_keys.revoke(unit_of_work, grandchild.id, actor=ACTOR, grantor=by).revoked_at is not None


class TestChildren:
    @pytest.fixture
    def family(self, unit_of_work: UnitOfWork) -> list[ApiKey]:
        """Return a manager, one that it issued, and one that that one issued."""
        manager = _issue(unit_of_work, MANAGER)
        child = _issue(unit_of_work, replace(MANAGER, independent=False), manager)
        return [manager, child, _issue(unit_of_work, PARTNER, child)]

    def test_end_with_their_parent(self, unit_of_work: UnitOfWork, family):
        api_keys.revoke(unit_of_work, family[0].id, actor=ACTOR)
        assert all(unit_of_work.api_keys.get(each.id).revoked_at for each in family)
        entries = unit_of_work.audit.search(after=None, limit=3, newest_first=True)
        assert {(each.action, each.subject) for each in entries} == {
            ("api_key.revoked", f"api-keys/{each.id}") for each in family
        }

    def test_stand_alone_where_the_operator_keeps_them(self, unit_of_work: UnitOfWork, family):
        api_keys.revoke(unit_of_work, family[0].id, actor=ACTOR, keep_issued=True)
        kept = [unit_of_work.api_keys.get(each.id) for each in family[1:]]
        assert [(each.revoked_at, each.parent_id) for each in kept] == [(None, None), (None, kept[0].id)]

    def test_lose_what_their_parent_loses(self, unit_of_work: UnitOfWork, family):
        administrator = _issue(unit_of_work, replace(ADMINISTRATOR, requests_per_minute=1_000))
        _change(
            unit_of_work,
            family[0],
            administrator,
            requests_per_minute=7,
            scopes=frozenset({"keys:write"}),
            expires_at=NOW,
        )
        for each in family:
            terms = unit_of_work.api_keys.get(each.id).terms
            assert (terms.requests_per_minute, terms.expires_at) == (7, NOW)
            assert terms.scopes <= {"keys:write"}

    def test_reach_no_further_back_than_their_parent(self, unit_of_work: UnitOfWork, family):
        administrator = _issue(unit_of_work, replace(ADMINISTRATOR, requests_per_minute=1_000))
        _change(unit_of_work, family[2], administrator, history_days=90)
        reading = frozenset({"vessels:read"})
        _change(unit_of_work, family[0], administrator, scopes=reading, history_days=30)
        assert {unit_of_work.api_keys.get(each.id).terms.history_days for each in family} == {30}
        for further in (31, None):
            with pytest.raises(Conflict, match="history_days"):
                _change(unit_of_work, family[1], administrator, history_days=further)
        _change(unit_of_work, family[1], administrator, history_days=7)
        reaches = [unit_of_work.api_keys.get(each.id).terms.history_days for each in family]
        assert reaches == [30, 7, 7]

    def test_get_more_than_their_parent_only_where_an_administrator_lets_them_go(
        self, unit_of_work: UnitOfWork, family
    ):
        administrator = _issue(unit_of_work, replace(ADMINISTRATOR, requests_per_minute=1_000))
        with pytest.raises(Conflict):
            _change(unit_of_work, family[1], administrator, expires_at=None)
        freed = _change(unit_of_work, family[1], administrator, expires_at=None, independent=True)
        assert (freed.parent_id, freed.terms.expires_at) == (None, None)
        api_keys.revoke(unit_of_work, family[0].id, actor=ACTOR)
        assert unit_of_work.api_keys.get(family[2].id).revoked_at is None
        with pytest.raises(Conflict):
            _change(unit_of_work, freed, administrator, independent=False)

    @pytest.mark.parametrize(
        "lacks",
        [
            {"scopes": frozenset(SCOPES) - {"audit:read"}},
            {"expires_at": NOW + timedelta(days=99)},
        ],
    )
    def test_are_let_go_by_nobody_but_an_administrator(self, unit_of_work: UnitOfWork, family, lacks):
        almost = _issue(unit_of_work, replace(ADMINISTRATOR, requests_per_minute=1_000, **lacks))
        with pytest.raises(ExceedsKey):
            _change(unit_of_work, family[2], almost, independent=True)
        with pytest.raises(ExceedsKey):
            _issue(unit_of_work, replace(PARTNER, independent=True), almost)
