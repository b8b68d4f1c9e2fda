"""A database's dump, and its return in the place of what is there: as the README says, in one transaction."""

import subprocess
from typing import Any

from tests.support.live_service import OwnPostgres

# pg_restore --clean cannot: it would drop the indexes of partitions before the table that they are of.
_IN_ITS_PLACE = b"DROP SCHEMA public CASCADE; CREATE SCHEMA public;\n"


def dump(postgres: OwnPostgres) -> bytes:
    """Return the dump of a server's database."""
    return _run(postgres, "pg_dump", "--format=custom", _url(postgres))


def restore(postgres: OwnPostgres, dumped: bytes) -> None:
    """Put a dump in the place of what is in a server's database."""
    script = _run(postgres, "pg_restore", "--file=-", input=dumped)
    psql = ("psql", "--single-transaction", "--quiet", "--set=ON_ERROR_STOP=1", "--no-psqlrc")
    _run(postgres, *psql, _url(postgres), input=_IN_ITS_PLACE + script)


def _url(postgres: OwnPostgres) -> str:
    return postgres.url.replace("postgresql://postgres:@", "postgresql://postgres@")


def _run(postgres: OwnPostgres, program: str, *arguments: str, **options: Any) -> bytes:
    done = subprocess.run(
        [postgres.programs / program, *arguments], stdout=subprocess.PIPE, check=True, **options
    )
    return bytes(done.stdout)
