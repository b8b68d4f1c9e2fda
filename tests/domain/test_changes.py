"""When a secret may be replaced: the rule that trackers and API keys share."""

from datetime import timedelta

import pytest
from tests.support.factories import EPOCH

from harbor_api.domain.changes import demand_rotatable
from harbor_api.domain.errors import Conflict

DAY = timedelta(days=1)


@pytest.mark.parametrize("previous", [None, EPOCH - DAY, EPOCH])
@pytest.mark.parametrize("grace", [timedelta(0), DAY])
def test_may_be_replaced_when_no_rotation_is_under_way(previous, grace):
    demand_rotatable(previous, grace=grace, now=EPOCH)


def test_may_not_be_replaced_while_a_rotation_is_under_way():
    with pytest.raises(Conflict, match="under way until"):
        demand_rotatable(EPOCH + DAY, grace=DAY, now=EPOCH)


def test_may_always_be_replaced_at_once():
    demand_rotatable(EPOCH + DAY, grace=timedelta(0), now=EPOCH)
