"""What the database knows of the fleet and the feed in numbers: no statement goes through what is stored.

Each looks a row up at the end of an index, or reads a table that has a row for each vessel, tracker, key or
consumer.
"""

from sqlalchemy import Connection

from harbor_api.domain import judgement
from harbor_api.domain.figures import (
    AGES_S,
    MOST_HELD,
    SOON_DAYS,
    WORST,
    Ages,
    Counts,
    FeedFigures,
    LateConsumer,
    SilentVessel,
)
from harbor_api.postgres import statements
from harbor_api.postgres.order import NEWEST
from harbor_api.postgres.statements import Statement

_REASONS = (
    judgement.NULL_ISLAND,
    judgement.FUTURE,
    judgement.CLOCK_RESET,
    judgement.WEEK_ROLLOVER,
    judgement.TOO_OLD,
    judgement.IMPOSSIBLE_JUMP,
    judgement.OUTVOTED,
    judgement.WITHDRAWN,
)
# Of a table in parts the estimate is the sum of theirs.
_COUNTS = b"""
SELECT
    (SELECT count(*) FROM vessels WHERE id > 0 AND retired_at IS NULL),
    (SELECT count(*) FROM trackers WHERE id > 0 AND disabled_at IS NULL),
    keys.holding,
    keys.ending,
    (
        SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class
        WHERE oid = 'positions'::regclass
            OR oid = ANY (ARRAY (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'positions'::regclass))
    ),
    pg_database_size(current_database())
FROM (
    SELECT
        count(*) AS holding,
        count(*) FILTER (WHERE expires_at < now() + %(soon_days)s * interval '1 day') AS ending
    FROM api_keys WHERE id > 0 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
) AS keys
"""
_AGES = b"""
WITH ages AS MATERIALIZED (
    SELECT v.id, v.name, greatest(extract(epoch FROM now() - p.recorded_at), 0)::float8 AS age
    FROM latest_positions AS p JOIN vessels AS v ON v.id = p.vessel_id
    WHERE v.retired_at IS NULL
)
SELECT
    (
        SELECT jsonb_object_agg(place, many) FROM (
            SELECT width_bucket(age, %(bounds)s::float8[]) AS place, count(*) AS many FROM ages GROUP BY place
        ) AS counted
    ),
    (SELECT coalesce(sum(age), 0) FROM ages),
    ARRAY (SELECT id FROM ages ORDER BY age DESC, id LIMIT %(worst)s),
    ARRAY (SELECT name FROM ages ORDER BY age DESC, id LIMIT %(worst)s),
    ARRAY (SELECT age FROM ages ORDER BY age DESC, id LIMIT %(worst)s)
"""
_FEED = f"""
SELECT
    {NEWEST},
    (SELECT extract(epoch FROM now() - received_at)::float8 FROM positions ORDER BY seq DESC LIMIT 1),
    (SELECT number FROM feed_floor WHERE id = 1),
    (SELECT extract(epoch FROM now() - at)::float8 FROM feed_floor WHERE id = 1)
""".encode()  # noqa: S608 - a constant of ours is put in
_HELD = b"""
SELECT reason, (
    SELECT count(*) FROM (
        SELECT FROM quarantine AS q WHERE q.state = 'held' AND q.reason = asked.reason LIMIT %(most)s
    ) AS held
)
FROM unnest(%(reasons)s::text[]) AS asked (reason)
"""
_CONSUMERS = f"""
SELECT late.api_key_id, late.name, greatest(newest.number - late.number, 0), greatest(coalesce((
        SELECT extract(epoch FROM now() - coalesce(p.released_at, p.received_at)) FROM positions AS p
        WHERE p.seq > late.number ORDER BY p.seq LIMIT 1
    ), 0) - late.delay_s, 0)::float8
FROM (SELECT {NEWEST} AS number) AS newest, (
    SELECT f.api_key_id, f.name, f.number, k.delay_s
    FROM feeds AS f JOIN api_keys AS k ON k.id = f.api_key_id
    WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
    ORDER BY f.number, f.api_key_id, f.name
    LIMIT %(worst)s
) AS late
""".encode()  # noqa: S608 - a constant of ours is put in


class FigureReader:
    """What the database knows in numbers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def counts(self) -> Counts:
        """Return how many there are of what an operator keeps."""
        values = {"soon_days": SOON_DAYS}
        [found] = statements.rows(self._connection, Statement(_COUNTS, values))
        vessels, trackers, keys, keys_ending, positions, database_bytes = found
        return Counts(
            vessels=vessels,
            trackers=trackers,
            keys=keys,
            keys_ending=keys_ending,
            positions=positions,
            database_bytes=database_bytes,
        )

    def ages(self) -> Ages:
        """Return how long ago vessels were heard of; those that never were are in it nowhere."""
        values = {"bounds": [*map(float, AGES_S)], "worst": WORST}
        [found] = statements.rows(self._connection, Statement(_AGES, values))
        by_place, sum_s, *worst = found
        return Ages(
            counts=[(by_place or {}).get(str(place), 0) for place in range(len(AGES_S) + 1)],
            sum_s=sum_s,
            worst=[
                SilentVessel(id=each, name=name, age_s=age_s)
                for each, name, age_s in zip(*worst, strict=True)
            ],
        )

    def feed(self) -> FeedFigures:
        """Return where the change feed stands."""
        [found] = statements.rows(self._connection, Statement(_FEED, {}))
        head, newest_age_s, floor, floor_age_s = found
        return FeedFigures(head=head, newest_age_s=newest_age_s, floor=floor or 0, floor_age_s=floor_age_s)

    def held(self) -> dict[str, int]:
        """Return how many fixes are held for each reason, as far as MOST_HELD."""
        values = {"reasons": [*_REASONS], "most": MOST_HELD}
        return dict(statements.rows(self._connection, Statement(_HELD, values)))

    def late_consumers(self) -> list[LateConsumer]:
        """Return the consumers that are furthest behind, whose keys hold."""
        return [
            LateConsumer(key_id=key_id, name=name, behind=behind, behind_s=behind_s)
            for key_id, name, behind, behind_s in statements.rows(
                self._connection, Statement(_CONSUMERS, {"worst": WORST})
            )
        ]
