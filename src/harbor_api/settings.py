"""What an operator may set, read once from ``HARBOR_*`` environment variables into a frozen object."""

import base64
import binascii
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

PREFIX = "HARBOR_"
MASTER_KEY_BYTES = 32
_MAKE_A_KEY = 'python3 -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"'


class SettingsError(Exception):
    """A setting is missing or malformed; the message is one line that says which and how to mend it."""


def _whole_number(least: int, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", value) or not least <= int(value) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(value)

    return parse


def _master_key(value: str) -> bytes:
    try:
        key = base64.b64decode(value, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != MASTER_KEY_BYTES:
        raise ValueError(f"32 bytes as base64; make one with: {_MAKE_A_KEY}")
    return key


def _database_url(value: str) -> str:
    if urlsplit(value).scheme not in {"postgresql", "postgres"}:
        raise ValueError("a URL like postgresql://user:password@host:5432/database")
    return value


def _redis_url(value: str) -> str:
    if urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("a URL like redis://host:6379/0")
    return value


def _bind(value: str) -> str:
    if not re.fullmatch(r"(?:[^\s:]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}|unix:\S+", value):
        raise ValueError("an address like 127.0.0.1:8000 or unix:/run/harbor.sock")
    return value


def _log_level(value: str) -> str:
    level = value.lower()
    if level not in {"debug", "info", "warning", "error"}:
        raise ValueError("one of debug, info, warning, error")
    return level


def _origins(value: str) -> tuple[str, ...]:
    origins = tuple(origin.strip() for origin in value.split(","))
    if not all(re.fullmatch(r"https?://[^\s/*]+", origin) for origin in origins):
        raise ValueError("origins like https://map.example.org, separated by commas")
    return origins


def _contact(value: str) -> str:
    if not re.fullmatch(r"(mailto:[^\s@<>()\"]+@[^\s@<>()\"]+|https://[^\s<>()\"]+)", value):
        raise ValueError("an address like mailto:security@example.org or https://example.org/security")
    return value


def _page(value: str) -> str:
    if not re.fullmatch(r"https://[^\s<>()\"]+", value):
        raise ValueError("an address like https://example.org/terms")
    return value


def _path(value: str) -> Path:
    return Path(value).expanduser().absolute()


def _setting(parse: Callable[[str], Any], default: Any, meaning: str, *, secret: bool = False) -> Any:
    """Declare one setting: how its text is read, what holds without it, and what it means."""
    return field(default=default, repr=not secret, metadata={"parse": parse, "meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. The variable of a member is ``HARBOR_`` and its name in capitals."""

    database_url: str | None = _setting(
        _database_url,
        None,
        "PostgreSQL 15 or newer. Unset: an embedded PostgreSQL is started in the data directory.",
        secret=True,
    )
    data_dir: Path = _setting(
        _path,
        platformdirs.user_data_path("harbor-api"),
        "Where the embedded PostgreSQL and the demo keep their files.",
    )
    tracker_master_key: bytes | None = _setting(
        _master_key,
        None,
        "The key that every tracker's secret is derived from: 32 bytes as base64. Required to serve.",
        secret=True,
    )
    redis_url: str | None = _setting(
        _redis_url,
        None,
        "Redis that holds the limiter's counters for all workers. Unset: each worker counts alone.",
        secret=True,
    )
    bind: str = _setting(_bind, "127.0.0.1:8000", "The address that the service listens on.")
    workers: int = _setting(
        _whole_number(1, 64), 1, "Worker processes; about one a core, and Redis with more than one."
    )
    database_pool: int = _setting(
        _whole_number(1, 100), 8, "Connections to PostgreSQL that each worker may hold."
    )
    database_timeout_ms: int = _setting(
        _whole_number(100, 60_000),
        5_000,
        "How long a request may wait for a connection, a lock or a statement, each.",
    )
    key_requests_per_minute: int = _setting(
        _whole_number(1, 1_000_000), 60, "Requests a minute for an API key that has no own limit."
    )
    tracker_requests_per_minute: int = _setting(
        _whole_number(1, 1_000_000), 600, "Signed requests a minute for one tracker."
    )
    failures_per_minute: int = _setting(
        _whole_number(1, 1_000_000),
        60,
        "Failed authentications a minute from one address, before they are answered with 429.",
    )
    stale_after_s: int = _setting(
        _whole_number(1, 31_536_000), 900, "A vessel not heard of for longer than this is stale."
    )
    future_tolerance_s: int = _setting(
        _whole_number(0, 86_400), 300, "A fix further in the future than this is quarantined."
    )
    oldest_fix_days: int = _setting(
        _whole_number(0, 36_500), 0, "A fix older than so many days is quarantined. 0: none is too old."
    )
    max_speed_kn: int = _setting(
        _whole_number(1, 1_000),
        60,
        "The speed that a vessel cannot exceed, unless it has its own; a fix that asks for more is held.",
    )
    noise_m: int = _setting(
        _whole_number(0, 100_000), 250, "Metres that a fix may be wrong by, whatever the time between two."
    )
    max_waiting: int = _setting(
        _whole_number(1, 1_000_000),
        50_000,
        "Fixes that may wait for the database in each worker; beyond that the answer is 503 at once.",
    )
    trusted_proxies: int = _setting(
        _whole_number(0, 8),
        0,
        "Reverse proxies in front whose X-Forwarded-For and -Proto are believed.",
    )
    cors_origins: tuple[str, ...] = _setting(
        _origins, (), "Origins whose pages may call the API from a browser, separated by commas. Unset: none."
    )
    security_contact: str | None = _setting(
        _contact,
        None,
        "Whom /.well-known/security.txt names: a mailto: or https: address. Unset: there is none.",
    )
    support_contact: str | None = _setting(
        _contact,
        None,
        "Whom callers of the API ask, named in its documentation: a mailto: or https: address.",
    )
    terms_of_service: str | None = _setting(
        _page, None, "Where it says what callers may do with the data: an https: address."
    )
    log_level: str = _setting(
        _log_level,
        "info",
        "debug, info, warning or error; debug adds a line for every fix and probe.",
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings; a malformed, empty or unknown variable raises SettingsError."""
        known = {PREFIX + each.name.upper(): each for each in fields(cls)}
        values = {}
        for variable, text in environ.items():
            if not variable.startswith(PREFIX):
                continue
            if variable not in known:
                near = difflib.get_close_matches(variable, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise SettingsError(f"{variable} is not a setting of Harbor API{hint}")
            setting = known[variable]
            try:
                values[setting.name] = setting.metadata["parse"](text.strip())
            except ValueError as error:
                raise SettingsError(f"{variable} must be {error}") from None
        return cls(**values)

    def require_master_key(self) -> bytes:
        """Return the tracker master key; SettingsError, which says how to make one, where it is unset."""
        if self.tracker_master_key is None:
            raise SettingsError(f"HARBOR_TRACKER_MASTER_KEY must be set; make a key with: {_MAKE_A_KEY}")
        return self.tracker_master_key
