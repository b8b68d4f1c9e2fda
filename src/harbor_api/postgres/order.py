"""The committed order in SQL: where it stands, and where in it a time lies (see ``domain/order.py``).

Numbers lie in an index of each partition, and to look into one costs as much whether there is something or
not. Nearly all that is above a number lies in the newest months: so the row of ``order_settled`` says for
which stretch of time nothing lies above which number, and there nobody looks. What it says holds in each
snapshot: see ``postgres/partitions.py``, which makes the stretch longer.
"""

# As PostgreSQL sees it, something may be older than -infinity.
_UNSETTLED = "(p.recorded_at < nullif({}, '-infinity') OR p.recorded_at >= {})"


def unsettled(since: str, until: str) -> str:
    """Return the condition on positions ``p`` to lie outside of a settled stretch, without a look inside."""
    return _UNSETTLED.format(since, until)


def is_unsettled(condition: str) -> bool:
    """Return whether a condition is that of ``unsettled``, whatever the stretch."""
    return condition.startswith(_UNSETTLED.partition("{}")[0])


def above(number: str) -> str:
    """Return the condition on positions ``p`` to have a greater number, and to lie where some have."""
    return f"p.seq > {number} AND {_outside(f'WHERE number <= {number}')}"


def _outside(condition: str = "") -> str:
    """Return the condition to lie outside of the settled stretch, where it has what is asked of it."""
    until = f"(SELECT until FROM order_settled {condition})"  # noqa: S608 - an expression of ours
    return unsettled("(SELECT since FROM order_settled)", f"coalesce({until}, '-infinity')")


# The greatest number that is visible, never the last one drawn: whoever holds that may not have committed.
# Each is one step from the end of an index.
NEWEST_OF_POSITIONS = f"""greatest(
        (SELECT p.seq FROM positions AS p WHERE {_outside()} ORDER BY p.seq DESC LIMIT 1),
        (SELECT nullif(number, 0) FROM order_settled)
    )"""  # noqa: S608 - constants of ours are put in
NEWEST_OF_EACH = f"""
    {NEWEST_OF_POSITIONS},
    (SELECT seq FROM vessels ORDER BY seq DESC LIMIT 1),
    (SELECT seq FROM withdrawals ORDER BY seq DESC LIMIT 1)
"""  # noqa: S608 - constants of ours are put in
# Whether a number was lost with the server that gave it, and with what it was given to.
IS_LOST = "EXISTS (SELECT FROM order_fences AS f WHERE f.resumed >= {0} AND f.survived < {0})"
# What is kept no longer may have been the newest: the order does not fall below the floor.
FLOOR = "(SELECT number FROM feed_floor WHERE id = 1)"
NEWEST = f"greatest({NEWEST_OF_EACH}, {FLOOR}, 0)"
# So many numbers are gone through one by one where it is not known which of them came first.
_FEW = 16
_PROBE = """LEFT JOIN LATERAL (
        SELECT p.seq, coalesce(p.released_at, p.received_at) < {at} - %(under_way)s AS is_early
        FROM positions AS p
        WHERE p.seq > {middle} AND {within}
        ORDER BY p.seq
        LIMIT 1
    ) AS probe ON true"""
_STEP = """CASE WHEN probe.is_early THEN probe.seq ELSE {0}.low END,
        CASE WHEN probe.is_early THEN {0}.high ELSE {1} END"""
_WITHIN = "p.recorded_at >= (SELECT since FROM about) AND p.recorded_at < (SELECT until FROM about)"


def halving(at: str) -> str:
    """Return what stands behind WITH RECURSIVE to find a number that comes little before a time.

    The greatest ``low`` of ``halving`` is a number up to which all that has one had come before. ``at`` is
    the time in the words of the statement, which takes %(under_way)s.

    Fixes come in order of their numbers, but for what is under way, so whatever halves may be asked. First
    only those of the partition of that month are, as a look at all partitions costs as many steps as there
    are. Where a look at all finds that much lies between, as what had been kept aboard for long came just
    then, all are asked after all that are not settled. What is in the one partition of all that is older is
    asked with all others.
    """
    middle = "near.low / 2 + near.high / 2"
    further = f"""CASE WHEN halving.is_first THEN halving.low + {_FEW}
        ELSE halving.low / 2 + halving.high / 2 END"""
    outside = unsettled("s.since", f"CASE WHEN s.number <= {further} THEN s.until ELSE '-infinity' END")
    return f"""about AS MATERIALIZED (
    SELECT CASE WHEN is_month THEN month ELSE '-infinity' END AS since,
        CASE WHEN is_month THEN month + interval '1 month' ELSE 'infinity' END AS until
    FROM (
        SELECT date_trunc('month', {at}, 'UTC') AS month, {at} >= coalesce((
            SELECT max(to_timestamp(substring(relname FROM '_before_([0-9]{{4}}_[0-9]{{2}})'), 'YYYY_MM'))
            FROM pg_class WHERE relname LIKE 'positions\\_before\\_%%' AND relkind = 'r'
        ), '-infinity') AS is_month
    ) AS at
), near AS (
    SELECT 0::bigint AS low, (SELECT last_value FROM fleet_order) AS high
    UNION ALL
    SELECT {_STEP.format("near", middle)}
    FROM near {_PROBE.format(at=at, middle=middle, within=_WITHIN)}
    WHERE near.low < near.high - {_FEW}
), halving AS (
    SELECT max(near.low) AS low, (SELECT last_value FROM fleet_order) AS high, true AS is_first FROM near
    UNION ALL
    SELECT {_STEP.format("halving", further)}, false
    FROM halving CROSS JOIN order_settled AS s {_PROBE.format(at=at, middle=further, within=outside)}
    WHERE halving.low < halving.high - CASE WHEN halving.is_first THEN 1 ELSE {_FEW} END
)"""  # noqa: S608 - constants of ours are put in, and names of parameters
