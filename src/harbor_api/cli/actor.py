"""Who changes something at the command line."""

import getpass

from harbor_api.domain.entities import Actor


def actor() -> Actor:
    """Return the person who runs the command, as the operating system names them."""
    try:
        return Actor(name=f"cli: {getpass.getuser()}")
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return Actor(name="cli")
