"""The committed order in SQL: where it stands, and where in it a time lies (see ``domain/order.py``)."""

# The greatest number that is visible, never the last one drawn: whoever holds that may not have committed.
# Each is one step from the end of an index.
NEWEST_OF_EACH = ", ".join(
    f"(SELECT seq FROM {table} ORDER BY seq DESC LIMIT 1)"  # noqa: S608 - names of ours are put in
    for table in ("positions", "vessels", "withdrawals")
)
# Whether a number was lost with the server that gave it, and with what it was given to.
IS_LOST = "EXISTS (SELECT FROM order_fences AS f WHERE f.resumed >= {0} AND f.survived < {0})"
# What is kept no longer may have been the newest: the order does not fall below the floor.
FLOOR = "(SELECT number FROM feed_floor WHERE id = 1)"
NEWEST = f"greatest({NEWEST_OF_EACH}, {FLOOR}, 0)"
# How many numbers may lie between two, for the rest to be gone through one by one.
_FEW = 256
# What a recursive term ``halving`` consists of, for the time that is put in; it takes %(under_way)s. Fixes
# come in order of their numbers, but for what is under way: so the first that came at a time or later is
# looked for from where that halves in on, in place of from the beginning. The greatest `low` is a number
# up to which all that has one had come before. Each look asks every partition, so there are as few as can be:
# they end where little is left between, and both ends are such as cost no look.
HALVING = f"""SELECT 0::bigint AS low, (SELECT last_value FROM fleet_order) AS high
    UNION ALL
    SELECT
        CASE WHEN probe.is_early THEN probe.seq ELSE halving.low END,
        CASE WHEN probe.is_early THEN halving.high ELSE halving.low / 2 + halving.high / 2 END
    FROM halving LEFT JOIN LATERAL (
        SELECT p.seq, coalesce(p.released_at, p.received_at) < {{0}} - %(under_way)s AS is_early
        FROM positions AS p
        WHERE p.seq > halving.low / 2 + halving.high / 2
        ORDER BY p.seq
        LIMIT 1
    ) AS probe ON true
    WHERE halving.low < halving.high - {_FEW}"""  # noqa: S608 - constants of ours are put in
