"""The world of a neighbours' test: a PostgreSQL of its own, a fleet with a past, and the service."""

import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg
from tests.neighbours.scene import (
    ABOARD,
    CHECKING,
    FLEET,
    HONEST_KEPT,
    HONEST_NEW,
    HONEST_SLOW,
    INTRUDER,
    ODD,
    PAST,
    REPEATING,
    Scene,
    rfc3339,
    tracker_id,
)
from tests.neighbours.troubles import JUMPS_SPAN_S
from tests.support.factories import MASTER_KEY
from tests.support.live_service import LiveService, OwnPostgres
from tests.support.signed_posts import register_fleet

from harbor_api.database import Database
from harbor_api.domain.signatures import derive_secret
from harbor_api.settings import Settings

ROOT = Path(__file__).parents[2]
_COMMAND_S = 120
# Many minutes are filled in at a time, so that none of it is one long transaction.
_MINUTES_AT_ONCE = 50_000
# What an operator gets who sets nothing; what tests usually raise would hide what the limits are for.
_AS_SHIPPED = {
    name: getattr(Settings(), name) for name in ("database_pool", "failures_per_minute", "workers")
}


class World:
    """A running service with a fleet, and what the parts need to know of it."""

    def __init__(
        self,
        *,
        positions: int,
        url: str | None = None,
        source: Path | None = None,
        say: Callable[[str], None] = lambda _: None,
        **settings: Any,
    ) -> None:
        """Store so many positions, in a PostgreSQL of its own unless there is one.

        ``source`` is where the service's package is, unless it is this one.
        """
        self._positions = positions
        self._given_url = url
        self._source = source
        self._say = say
        self._settings = _AS_SHIPPED | settings
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        self._newest = now - timedelta(hours=1)
        self._jumps_from = now - timedelta(days=1, seconds=JUMPS_SPAN_S)

    def scene(self, **play: Any) -> Scene:
        """Return what a part needs to know."""
        signing = (HONEST_NEW, HONEST_KEPT, HONEST_SLOW, ODD, ABOARD, INTRUDER, CHECKING, REPEATING)
        return Scene(
            port=self.service.port,
            secrets={tracker_id(each): derive_secret(MASTER_KEY, tracker_id(each), 1) for each in signing},
            key=self._key,
            newest=rfc3339(self._newest),
            jumps_from=rfc3339(self._jumps_from),
            **play,
        )

    def execute(self, statements: Iterable[str]) -> None:
        """Run statements, each in a transaction of its own."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def start_anew(self) -> None:
        """Start the service once more, so that nothing is left of what it has been through."""
        self.service.kill()
        self.service.start()

    def worker(self) -> psutil.Process:
        """Return the process that answers."""
        return self.service.worker()

    def __enter__(self) -> "World":
        with ExitStack() as stack:
            logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harbor-")))
            self._url = self._given_url or stack.enter_context(_postgres())
            self.service = LiveService(self._url, log=logs / "log", **self._settings)
            if self._source:
                self.service.environ["PYTHONPATH"] = str(self._source)
            # By the service's own commands: another version has another schema.
            self._command("migrate")
            self._key = self._command("keys", "add", "operations", "--admin", "--limit", "1000000")
            self._populate()
            # Also where it does not start.
            stack.callback(self.service.kill)
            stack.enter_context(self.service)
            self._stop = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()

    def _command(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "harbor_api.cli", *arguments],
            env=self.service.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"harbor-api {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def _populate(self) -> None:
        database = Database(self._url, pool_size=1)
        register_fleet(database, FLEET)
        database.dispose()
        self.execute([f"UPDATE assignments SET vessel_id = {ABOARD} WHERE tracker_id = {INTRUDER}"])
        began = time.monotonic()
        self._give_past(PAST[0], PAST[-1], math.ceil(self._positions / len(PAST)), self._newest, "1 min")
        # Each jump lies between two of these.
        jumps_until = self._jumps_from + timedelta(seconds=JUMPS_SPAN_S)
        self._give_past(ABOARD, ABOARD, JUMPS_SPAN_S // 20 + 1, jumps_until, "20 s")
        self.execute(
            [
                """
                INSERT INTO latest_positions
                    (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, seq)
                SELECT newest.vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, newest.seq
                FROM vessels,
                    LATERAL (
                        SELECT * FROM positions
                        WHERE vessel_id = vessels.id ORDER BY recorded_at DESC LIMIT 1
                    ) AS newest
                """,
                "VACUUM (ANALYZE)",
                "CHECKPOINT",
            ]
        )
        self._say(f"{self._positions:,} positions are stored, which took {time.monotonic() - began:.0f} s")

    def _give_past(self, first: int, last: int, turns: int, end: datetime, step: str) -> None:
        """Give vessels a past in the order in which it would have come in: a fix of each in each turn."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            for since in range(1, turns + 1, _MINUTES_AT_ONCE):
                connection.execute(
                    """
                    INSERT INTO positions
                        (vessel_id, recorded_at, tracker_id, received_at, lat, lon, sog, seq)
                    SELECT vessel, moment, vessel, moment, 50 + vessel / 100.0, 5, 3, nextval('fleet_order')
                    FROM generate_series(%(since)s::integer, %(until)s::integer) AS turn,
                        LATERAL (SELECT %(end)s - (%(turns)s - turn) * %(step)s::interval) AS clock (moment),
                        generate_series(%(first)s::integer, %(last)s::integer) AS vessel
                    """,
                    {
                        "since": since,
                        "until": min(since + _MINUTES_AT_ONCE - 1, turns),
                        "end": end,
                        "turns": turns,
                        "step": step,
                        "first": first,
                        "last": last,
                    },
                )


@contextmanager
def _postgres() -> Iterator[str]:
    """Run a PostgreSQL that is empty, and return its URL."""
    own = OwnPostgres()
    try:
        own.start()
        yield own.url
    finally:
        own.__exit__()


def package_in(folder: Path) -> Path:
    """Return where the package of a source tree is: in the folder itself, or in its ``src``."""
    for each in (folder / "src", folder):
        if (each / "harbor_api").is_dir():
            return each.resolve()
    raise ValueError(f"there is no harbor_api in {folder}")
