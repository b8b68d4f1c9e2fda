"""A look at the database before the service starts, in a process of its own.

``serve`` itself must not import psycopg: gevent patches a worker after the fork, and psycopg chooses how it
waits when it is imported. Without SQLAlchemy it takes a fifth of a second.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

_LONGEST_S = 30
# Of a limit that is -1 there is none. PostgreSQL 16 has one more kind of those that are kept back.
_CONNECTIONS = """
    SELECT
        least(
            current_setting('max_connections')::integer
                - current_setting('superuser_reserved_connections')::integer
                - coalesce(current_setting('reserved_connections', true)::integer, 0),
            (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user),
            (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())
        ),
        (
            SELECT count(*) FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
        )
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a first look has found: why there is no answer, or what there is.

    ``revision`` is None before the first migration, ``check_value`` what the master key's is in hexadecimal.
    ``connections`` are as many as this user may have in this database, ``taken`` those that others have.
    """

    cause: str | None = None
    revision: str | None = None
    check_value: str | None = None
    connections: int | None = None
    taken: int = 0


def look(url: str, *, timeout_ms: int, check_value: bytes, is_pooled: bool = False) -> Seen:
    """Look at the database at an address; the check value is kept there, if there is none yet.

    ``is_pooled`` as with ``connections.make_engine``.
    """
    asked = {
        "url": url,
        "timeout_ms": timeout_ms,
        "check_value": check_value.hex(),
        "is_pooled": is_pooled,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harbor_api.postgres.first_look"],
            # Neither among the arguments nor in the environment: others could see them there.
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=_LONGEST_S + 3 * timeout_ms / 1000,
            check=True,
        )
        return Seen(**json.loads(done.stdout))
    except (subprocess.SubprocessError, ValueError) as error:
        return Seen(cause=f"the first look at the database did not end well: {type(error).__name__}")


def _see(url: str, timeout_ms: int, check_value: str, is_pooled: bool) -> Seen:
    import psycopg  # noqa: PLC0415 - only in the process of its own
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - see above

    from harbor_api.postgres import failures  # noqa: PLC0415 - see above

    address, user = "the address", "that runs this"
    try:
        named: dict[str, Any] = conninfo_to_dict(url)
        address = ":".join(str(named[each]) for each in ("host", "port") if named.get(each)) or address
        user = named.get("user", user)
        options = None if is_pooled else f"-c statement_timeout={timeout_ms} -c lock_timeout={timeout_ms}"
        with psycopg.connect(
            url, autocommit=True, connect_timeout=max(2, timeout_ms // 1000), options=options
        ) as connection:
            found = connection.execute(
                "SELECT to_regclass('alembic_version')::text, to_regclass('master_key')::text"
            ).fetchone()
            [(connections, taken)] = connection.execute(_CONNECTIONS).fetchall()
            room = {"connections": connections, "taken": taken}
            if found is None or found[0] is None:
                return Seen(**room)
            [[revision]] = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            if found[1] is None:
                return Seen(revision=revision, **room)
            values = connection.execute("SELECT check_value FROM master_key").fetchall()
            if not values:
                connection.execute(
                    "INSERT INTO master_key (check_value) VALUES (%s) ON CONFLICT DO NOTHING",
                    [bytes.fromhex(check_value)],
                )
                values = connection.execute("SELECT check_value FROM master_key").fetchall()
            return Seen(revision=revision, check_value=values[0][0].hex(), **room)
    except psycopg.Error as error:
        return Seen(cause=failures.cause_of(error, address=address, user=user))


if __name__ == "__main__":
    print(json.dumps(asdict(_see(**json.load(sys.stdin)))))  # noqa: T201 - this is how it answers
