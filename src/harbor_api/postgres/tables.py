"""All tables, as SQLAlchemy Core sees them. Alembic creates them; ``alembic/versions`` is the history."""

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE, JSONB

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

Time = DateTime(timezone=True)

# Numbers each stored fix and each change of what the fleet shows. Whoever takes a number holds the
# advisory lock FLEET_ORDER_LOCK up to the commit, so that numbers become visible in their own order.
fleet_order = Sequence("fleet_order", metadata=metadata, data_type=BigInteger)
FLEET_ORDER_LOCK = 0x48415242  # "HARB"
# Where those who follow are told that there is more: a hint, sent by the same commit and once for it however
# many numbers it takes. What is sent at once waits for its turn to commit, which the lock has given already.
FLEET_ORDER_CHANNEL = "harbor_order"
# Which server, and which life of it, and which sequence the order is of, as ``order_origin()`` says (in
# ``alembic/versions/0011_fence.py``): here as a part of the statement, where it costs a tenth.
_ORIGIN = """concat_ws(' ', (SELECT system_identifier FROM pg_control_system()),
    left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
    (SELECT oid FROM pg_database WHERE datname = current_database()),
    CAST(CAST('fleet_order' AS regclass) AS oid))"""
# The last raises where the order is not the one that is known: see ``order_fences``. A sequence that stands
# below the fence was set back, as where a dump is restored while the service runs.
TAKE_ORDER = f"""
    pg_advisory_xact_lock({FLEET_ORDER_LOCK}), pg_notify('{FLEET_ORDER_CHANNEL}', ''), CASE WHEN (
        SELECT f.origin = {_ORIGIN} AND f.resumed <= (SELECT last_value FROM fleet_order)
        FROM order_fences AS f ORDER BY f.resumed DESC LIMIT 1
    ) THEN 0 ELSE order_moved() END
"""  # noqa: S608 - constants of ours are put in

# The first key of the advisory locks of vessels; the second is the vessel's id. Whoever stores fixes holds
# those of their vessels.
VESSELS_LOCK = 0x56455353  # "VESS"

vessels = Table(
    "vessels",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("imo", Text),
    Column("mmsi", Text),
    Column("call_sign", Text),
    Column("flag", Text),
    Column("kind", Text),
    Column("length_m", REAL),
    Column("beam_m", REAL),
    Column("draught_m", REAL),
    # Null: the operator's usual limit.
    Column("max_speed_kn", REAL),
    Column("retired_at", Time),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("seq", BigInteger, nullable=False),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    # Serves "what has changed since this number".
    Index("vessels_seq_idx", "seq"),
    CheckConstraint("imo ~ '^[0-9]{7}$'", name="imo"),
    CheckConstraint("mmsi ~ '^[0-9]{9}$'", name="mmsi"),
    # A retired vessel gives its numbers free: hulls are sold, and an MMSI goes with the flag.
    Index("vessels_imo_key", "imo", unique=True, postgresql_where=text("retired_at IS NULL")),
    Index("vessels_mmsi_key", "mmsi", unique=True, postgresql_where=text("retired_at IS NULL")),
)

# Whoever says for how long positions of a vessel are kept, or that none may go, holds this lock up to the
# commit, and whoever deletes what is kept no longer shares it: once it is said, it holds.
KEEPING_LOCK = 0x4B454550  # "KEEP"

# What is said of vessels beside the settings; without a row nothing is. A table of its own, as nobody who
# reads the fleet is told, by no version and no number of the order either.
vessel_keeping = Table(
    "vessel_keeping",
    metadata,
    Column("vessel_id", Integer, ForeignKey("vessels.id"), primary_key=True, autoincrement=False),
    # Null: as the setting says. 0: all of hers are kept.
    Column("keep_positions_days", Integer),
    # Null: she is not under a legal hold.
    Column("hold_reason", Text),
    Column("held_by", Text),
    Column("held_since", Time),
    Column("version", Integer, nullable=False, server_default=text("1")),
    CheckConstraint(
        "(hold_reason IS NULL) = (held_by IS NULL) AND (hold_reason IS NULL) = (held_since IS NULL)",
        name="hold",
    ),
    # Serves "who is under hold".
    Index("vessel_keeping_held_idx", "vessel_id", postgresql_where=text("hold_reason IS NOT NULL")),
)

trackers = Table(
    "trackers",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("label", Text, nullable=False),
    Column("generation", Integer, nullable=False, server_default=text("1")),
    Column("previous_valid_until", Time),
    Column("test", Boolean, nullable=False, server_default=text("false")),
    Column("disabled_at", Time),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    Column("version", Integer, nullable=False, server_default=text("1")),
)

assignments = Table(
    "assignments",
    metadata,
    Column("tracker_id", Integer, ForeignKey("trackers.id"), primary_key=True),
    # A fix belongs to the vessel of the newest assignment that starts no later than the fix.
    Column("starts_at", Time, primary_key=True),
    Column("vessel_id", Integer, ForeignKey("vessels.id"), nullable=False),
    # Serves "the trackers of this vessel".
    Index("assignments_vessel_id_idx", "vessel_id"),
)

# Which of the numbers that a tracker gives its fixes have arrived. Without a foreign key: its check would
# lock the tracker under the lock of the order, while whoever changes the tracker waits for that.
arrived_numbers = Table(
    "arrived_numbers",
    metadata,
    Column("tracker_id", Integer, primary_key=True, autoincrement=False),
    Column("numbers", INT8MULTIRANGE, nullable=False),
)

_MOTION = (
    Column("lat", Double, nullable=False),
    Column("lon", Double, nullable=False),
    Column("sog", REAL),
    Column("cog", REAL),
    Column("heading", REAL),
    Column("nav_status", SmallInteger),
    Column("accuracy_m", REAL),
    Column("battery_v", REAL),
)


def _motion() -> list[Column[object]]:
    return [Column(each.name, each.type, nullable=each.nullable) for each in _MOTION]


positions = Table(
    "positions",
    metadata,
    Column("vessel_id", Integer, nullable=False),
    Column("recorded_at", Time, nullable=False),
    Column("tracker_id", Integer, nullable=False),
    Column("received_at", Time, nullable=False),
    *_motion(),
    Column("seq", BigInteger, nullable=False),
    # When it was let in that had been held. So a fix came in when it was released, or else received: that
    # grows with the numbers, but for as long as a group of fixes takes.
    Column("released_at", Time),
    # Whether a newer one of its vessel was stored before it; null: it was not, or it is not known any more.
    Column("late", Boolean),
    # Refuses a repeated fix and serves tracks, in order of time. The key holds vessel_id and recorded_at, so
    # that the table can be distributed and partitioned as it is; for that it has no foreign keys, either.
    PrimaryKeyConstraint("vessel_id", "recorded_at", "tracker_id"),
    # Serves the committed order: what has come since, and up to where a delayed key sees.
    Index("positions_seq_idx", "seq"),
)

latest_positions = Table(
    "latest_positions",
    metadata,
    Column("vessel_id", Integer, primary_key=True, autoincrement=False),
    Column("recorded_at", Time, nullable=False),
    Column("tracker_id", Integer, nullable=False),
    Column("received_at", Time, nullable=False),
    *_motion(),
    Column("seq", BigInteger, nullable=False),
)

_open = text("state = 'held'")
quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("vessel_id", Integer, nullable=False),
    Column("recorded_at", Time, nullable=False),
    Column("tracker_id", Integer, nullable=False),
    Column("received_at", Time, nullable=False),
    Column("reason", Text, nullable=False),
    Column("fix", JSONB, nullable=False),
    # As the tracker sent it, sentinels and all.
    Column("raw", JSONB),
    Column("state", Text, nullable=False, server_default="held"),
    Column("decided_at", Time),
    # Who decided, and what they said of it; JUDGEMENT where no person did.
    Column("decided_by", Text),
    Column("note", Text),
    CheckConstraint("state IN ('held', 'released', 'rejected', 'withdrawn')", name="state"),
    # Finds a fix that is sent again, and those that are held around one.
    Index("quarantine_fix_key", "vessel_id", "recorded_at", "tracker_id", unique=True),
    # Serves the removal of those that are kept no longer.
    Index("quarantine_kept_since_idx", text("greatest(received_at, decided_at)")),
    # Finds the jumps that are held around one, past all else that was held then.
    Index(
        "quarantine_jumps_idx",
        "vessel_id",
        "recorded_at",
        "tracker_id",
        postgresql_where=text("reason IN ('impossible_jump', 'outvoted') AND state = 'held'"),
    ),
    # Serve the pages of what is filtered, each in order of id: by vessel and whatever else, and without one.
    Index("quarantine_vessel_idx", "vessel_id", "reason", "state", "id"),
    Index("quarantine_reason_idx", "reason", "state", "id"),
    # Serve decisions on many at once: those that nobody has decided on, of a reason and a time.
    Index("quarantine_open_reason_idx", "reason", "recorded_at", "id", postgresql_where=_open),
    Index("quarantine_open_vessel_idx", "vessel_id", "reason", "recorded_at", "id", postgresql_where=_open),
    Index(
        "quarantine_open_tracker_idx",
        *("tracker_id", "vessel_id", "reason", "recorded_at", "id"),
        postgresql_where=_open,
    ),
)

# What left the history again, each with its number in the committed order: a fix is `upsert` in it at its own
# number, and `delete` at the number here. Kept when the quarantine is pruned; one that is released again has
# a later number of its own.
withdrawals = Table(
    "withdrawals",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("vessel_id", Integer, nullable=False),
    Column("recorded_at", Time, nullable=False),
    Column("tracker_id", Integer, nullable=False),
    Column("withdrawn_at", Time, nullable=False),
)

# Up to which number followers are told no more, and when what stood there came: one row, once anything was
# removed that they would be told of. Whoever has read up to a lower one has missed something.
feed_floor = Table(
    "feed_floor",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False, server_default=text("1")),
    Column("number", BigInteger, nullable=False),
    Column("at", Time, nullable=False),
    CheckConstraint("id = 1", name="id"),
)

# Of fixes recorded from ``since`` up to, but without, ``until`` none has a greater number than ``number``:
# one row. Partitions in it have a trigger that raises the number where a late fix is stored after all.
order_settled = Table(
    "order_settled",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False, server_default=text("1")),
    Column("since", Time, nullable=False),
    Column("until", Time, nullable=False),
    Column("number", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="id"),
)

# Of which server, and which life of it, the committed order is, and where it went on with each before: the
# newest row holds. Numbers above ``survived`` up to ``resumed`` were given by a server whose last commits are
# lost, if at all, and by none that came after it.
order_fences = Table(
    "order_fences",
    metadata,
    Column("resumed", BigInteger, primary_key=True, autoincrement=False),
    Column("survived", BigInteger, nullable=False),
    Column("origin", Text, nullable=False),
    Column("at", Time, nullable=False, server_default=func.now()),
)

# Whoever issues, changes, rotates or revokes keys holds this lock up to the commit: what a key may give hangs
# on what it has, and what those have that it has issued hangs on both.
API_KEYS_LOCK = 0x4B455953  # "KEYS"

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False, server_default=""),
    Column("prefix", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("previous_sha256", LargeBinary),
    Column("previous_valid_until", Time),
    Column("scopes", ARRAY(Text), nullable=False),
    # Without it, the rows of `grants` are all that the key may see.
    Column("all_vessels", Boolean, nullable=False, server_default=text("true")),
    Column("delay_s", Integer, nullable=False, server_default=text("0")),
    Column("coordinate_decimals", SmallInteger),
    # How far back it sees, in days of 24 hours; null for as far as positions are kept.
    Column("history_days", Integer),
    Column("requests_per_minute", Integer),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    Column("expires_at", Time),
    Column("revoked_at", Time),
    Column("last_used_at", Time),
    Column("version", Integer, nullable=False, server_default=text("1")),
    # The key that issued it, with which it ends; null where it stands alone. Always a lower number.
    Column("parent_id", Integer, ForeignKey("api_keys.id")),
    # Serves "the keys that this one has issued".
    Index("api_keys_parent_id_idx", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
    # Both serve the look-up of a presented key: only its hash is known.
    Index("api_keys_sha256_key", "sha256", unique=True),
    Index("api_keys_previous_sha256_key", "previous_sha256", unique=True),
)

# Which master key the trackers' secrets come from: one row, once the key was used.
master_key = Table(
    "master_key",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False, server_default=text("1")),
    Column("check_value", LargeBinary, nullable=False),
    Column("since", Time, nullable=False, server_default=func.now()),
    CheckConstraint("id = 1", name="id"),
)

grants = Table(
    "grants",
    metadata,
    Column("api_key_id", Integer, ForeignKey("api_keys.id"), primary_key=True),
    Column("vessel_id", Integer, ForeignKey("vessels.id"), primary_key=True),
)

# Whoever adds a row holds this lock up to the commit, so that a reader who pages on skips none.
AUDIT_ORDER_LOCK = 0x41554449  # "AUDI"

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", Time, nullable=False, server_default=func.now()),
    Column("actor", Text, nullable=False),
    Column("api_key_id", Integer),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", JSONB),
    Column("after", JSONB),
    Column("request_id", Text),
    # Serves "what was done to this one".
    Index("audit_subject_idx", "subject", "id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("api_key_id", Integer, ForeignKey("api_keys.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    # What a new API key's secret is derived from, so that a repeat can tell it again.
    Column("nonce", LargeBinary, nullable=False),
    # What was answered, as JSON and without the secret; null while it is being done.
    Column("answer", LargeBinary),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    # Serves the removal of those that are a day old.
    Index("idempotency_keys_created_at_idx", "created_at"),
)

# Consumers whose place in the committed order is kept here, for partners that have nowhere to keep it.
feeds = Table(
    "feeds",
    metadata,
    Column("api_key_id", Integer, ForeignKey("api_keys.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    # As the partner gave them; no members where all is followed.
    Column("filters", JSONB, nullable=False),
    Column("created_at", Time, nullable=False, server_default=func.now()),
    # When it was read last.
    Column("seen_at", Time),
)
