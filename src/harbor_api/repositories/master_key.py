"""Which master key the secrets of trackers come from: a value by which it is known again."""

from sqlalchemy import BindParameter, Connection, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert

from harbor_api.postgres.tables import master_key

_check_value: BindParameter[bytes] = bindparam("check_value")
_FIND = select(master_key.c.check_value)
_ADD = insert(master_key).values(check_value=_check_value).on_conflict_do_nothing()
_REPLACE = update(master_key).values(check_value=_check_value, since=func.now())
_LOCK = select(master_key.c.check_value).with_for_update()


class MasterKey:
    """The one row that says which key it is, from its first use on."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self) -> bytes | None:
        """Return the check value of the key in use, None before the first use of any."""
        return self._connection.scalar(_FIND)

    def add(self, check_value: bytes) -> None:
        """Keep the check value of a key where there is none; of two at once one waits, and is passed over."""
        self._connection.execute(_ADD, {"check_value": check_value})

    def lock(self) -> bytes | None:
        """Return as ``find`` does; the row stays as it is until the transaction ends."""
        return self._connection.scalar(_LOCK)

    def replace(self, check_value: bytes) -> None:
        """Put the check value of another key in its place."""
        self._connection.execute(_REPLACE, {"check_value": check_value})
