"""What an operator does with keys at the command line that HTTP cannot."""

import json

import pytest
from tests.cli.commands import run
from tests.support.factories import ACTOR, World

from harbor_api.domain.api_keys import KeyTerms
from harbor_api.services import api_keys


@pytest.mark.parametrize(("options", "days"), [([], None), (["--history-days", "30"], 30)])
def test_a_key_sees_as_far_back_as_it_is_issued_for(world: World, options, days):
    url = world.database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    assert run("keys add", "partner", *options, database=url).exit_code == 0
    [listed] = json.loads(run("keys list", "--json", database=url).stdout)
    assert listed["history_days"] == days


@pytest.mark.parametrize(("options", "is_kept"), [([], False), (["--keep-issued"], True)])
def test_what_a_revoked_key_has_issued_ends_with_it_unless_it_is_kept(world: World, options, is_kept):
    parent, _ = world.key("keys:write", "vessels:read")
    terms = KeyTerms(name="partner", scopes=frozenset({"vessels:read"}), independent=False)
    with world.database.unit_of_work() as unit_of_work:
        grantor = api_keys.Grantor(parent.id, usual_limit=60)
        child, _ = api_keys.issue(unit_of_work, terms, actor=ACTOR, grantor=grantor)
    url = world.database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    assert run("keys revoke", str(parent.id), *options, database=url).exit_code == 0
    with world.database.autocommit() as unit_of_work:
        assert (unit_of_work.api_keys.get(child.id).revoked_at is None) is is_kept
        assert unit_of_work.api_keys.get(parent.id).revoked_at is not None
