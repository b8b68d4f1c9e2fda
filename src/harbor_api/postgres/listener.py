"""What PostgreSQL tells at once of what is committed: LISTEN on a connection of its own.

What is heard is a hint that there is more to read, and no more: a hint that is lost, or a pooler between that
passes none on, costs whoever waits for it no more than a second.
"""

import time
from collections.abc import Callable
from contextlib import suppress

import psycopg
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

# After how long it is looked whether anybody wants to hear still, and a lost connection is made anew.
_LOOK_EVERY_S = 1.0

log = structlog.get_logger(__name__)


class Listener:
    """Somebody who listens to a channel."""

    def __init__(self, engine: Engine, channel: str, heard: Callable[[], None]) -> None:
        """Listen at ``engine``'s database; ``heard`` is called each time that something is to be heard."""
        self._engine = engine
        self._listen = f"LISTEN {channel}"
        self._heard = heard

    def listen(self, is_wanted: Callable[[], bool]) -> None:
        """Listen for as long as that is wanted, to a new connection wherever one is lost."""
        is_lost = False
        while is_wanted():
            try:
                self._listen_once(is_wanted)
            except (DBAPIError, psycopg.Error, PoolTimeout):
                if not is_lost:
                    log.warning("listener_lost")
                is_lost = True
                # Whatever was told meanwhile is found by looking.
                self._heard()
                time.sleep(_LOOK_EVERY_S)
            else:
                is_lost = False

    def _listen_once(self, is_wanted: Callable[[], bool]) -> None:
        """Listen to one connection until it is lost, or nobody wants to hear any more."""
        pooled = self._engine.raw_connection()
        connection = pooled.driver_connection
        assert isinstance(connection, psycopg.Connection)
        # It is none of the pool's any more, which has a place for another one.
        pooled.detach()
        try:
            connection.execute(self._listen.encode())
            # There may be more than was read before it could be heard.
            self._heard()
            while is_wanted():
                for _ in connection.notifies(timeout=_LOOK_EVERY_S, stop_after=1):
                    self._heard()
        finally:
            with suppress(psycopg.Error):
                connection.close()
