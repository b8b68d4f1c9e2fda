"""When a secret may be replaced: the rule that trackers and API keys share."""

from datetime import datetime, timedelta

from harbor_api.domain.errors import Conflict


def demand_rotatable(previous_valid_until: datetime | None, *, grace: timedelta, now: datetime) -> None:
    """Raise Conflict while the grace time of an earlier rotation lasts.

    A second rotation would end the secret that is still in use. Without any grace all earlier secrets
    are to end at once, whatever is under way: that is for a secret in wrong hands.
    """
    if grace and previous_valid_until is not None and previous_valid_until > now:
        raise Conflict(
            f"A rotation is under way until {previous_valid_until.isoformat()}; wait, or rotate with "
            "grace_s 0, which ends all earlier secrets now"
        )
