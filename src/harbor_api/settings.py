"""What an operator may set, read once from ``HARBOR_*`` environment variables into a frozen object."""

import base64
import binascii
import difflib
import ipaddress
import math
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote_to_bytes, urlencode, urlsplit

import platformdirs

PREFIX = "HARBOR_"
# A secret may stand in a file, as Docker, Kubernetes and systemd hand them over: its variable ends in this.
OF_FILE = "_FILE"
MASTER_KEY_BYTES = 32
# What stands where a secret is not shown.
MASK = "***"
_LONGEST = 4_096
# A Unix socket's path has room for no more, its end included.
_LONGEST_SOCKET = 107
_ESCAPE = (
    "a URL in which each / @ : ? # % [ ] of the user and password is written %2F %40 %3A %3F %23 %25 %5B %5D"
)
_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.ASCII)
_PORTS = {"http": 80, "https": 443}
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
    address = _url(value, {"postgresql", "postgres"}, "postgresql://user:password@host:5432/database")
    parameters = parse_qsl(address.query)
    if not all(re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) for name, text in parameters if name == "port"):
        raise ValueError("a URL whose port is a number")
    if len(address.path) > 1 and "/" in address.path[1:]:
        raise ValueError("one with one name of a database; a / in it is written %2F")
    if address.hostname is None and "host" not in dict(parameters) and address.username is not None:
        raise ValueError(
            "one that names a host after the @, like postgresql://user:password@host:5432/database"
        )
    return value


def _pooler(value: str) -> str:
    if value not in {"none", "transaction"}:
        raise ValueError("none or transaction")
    return value


def _redis_url(value: str) -> str:
    address = _url(value, {"redis", "rediss", "unix"}, "redis://host:6379/0")
    if address.scheme != "unix" and not re.fullmatch(r"(/[0-9]{0,4})?", address.path, re.ASCII):
        raise ValueError("one that ends in the number of a database, like redis://host:6379/0")
    return value


def _url(value: str, schemes: set[str], example: str) -> SplitResult:
    """Return the parts of a URL that has one meaning; nothing that is raised repeats any of it.

    Whoever puts a password into a URL forgets what has a meaning there. Then a part of it is taken for the
    host, the port or a parameter, and would stand in whatever is said of these.
    """
    example = f"a URL like {example}"
    try:
        address = urlsplit(value)
        port = address.port
    except ValueError:
        raise ValueError(_ESCAPE if "@" in value else example) from None
    if address.scheme not in schemes or "://" not in value:
        raise ValueError(example)
    authority, rest = address.netloc, value.split("://", 1)[1].partition("/")[2]
    if authority.count("@") > 1 or "@" in rest or "@" in address.query or "#" in value:
        raise ValueError(_ESCAPE)
    if re.search(r"%(?![0-9A-Fa-f]{2})", value):
        raise ValueError("a URL in which a % that is meant as one is written %25")
    if re.search(r"\s|%00", value) or not _is_text_once_unquoted(value):
        raise ValueError("a URL of printable characters, others as %20 and the like in UTF-8")
    if port == 0 or "," in authority.rpartition("@")[2]:
        raise ValueError(f"{example}; several hosts are written ?host=one:5432&host=two:5432")
    try:
        parse_qsl(address.query, strict_parsing=bool(address.query))
    except ValueError:
        raise ValueError(_ESCAPE if "@" in value else f"{example}?name=value") from None
    return address


def _is_text_once_unquoted(value: str) -> bool:
    try:
        unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        return False
    return True


def masked_url(value: str) -> str:
    """Return a URL that was accepted without what is secret in it."""
    address = urlsplit(value)
    user, at, host = address.netloc.rpartition("@")
    if ":" in user:
        user = f"{user.partition(':')[0]}:{MASK}"
    query = [
        (name, MASK if "password" in name.lower() else text)
        for name, text in parse_qsl(address.query, keep_blank_values=True)
    ]
    shown = f"{address.scheme}://{user}{at}{host}{address.path}"
    return f"{shown}?{urlencode(query, safe='/*:')}" if query else shown


def _bind(value: str) -> str:
    example = "an address like 127.0.0.1:8000, [::1]:8000 or unix:/run/harbor.sock"
    if value.startswith("unix:"):
        path = value.removeprefix("unix:")
        if not path.startswith("/") or len(path.encode()) > _LONGEST_SOCKET:
            raise ValueError(f"{example}, a socket's path absolute and of at most {_LONGEST_SOCKET} bytes")
        return value
    return _address(value, example)


def _host_and_port(value: str) -> str:
    return _address(value, "an address like 127.0.0.1:9464 or [::1]:9464")


def _address(value: str, example: str) -> str:
    host, _, port = value.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or not 1 <= int(port) <= 65_535:
        raise ValueError(f"{example}, with a port from 1 to 65535")
    if not (
        _is_ipv6(host) if host.startswith("[") else re.fullmatch(r"[A-Za-z0-9._-]{1,253}", host, re.ASCII)
    ):
        raise ValueError(example)
    return value


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return host.endswith("]")


def _workers(value: str) -> int:
    if value == "auto":
        return _cores()
    try:
        return _whole_number(1, 64)(value)
    except ValueError as error:
        raise ValueError(f"auto or {error}") from None


def _cores() -> int:
    """Return how many cores this process may use: a container may have but a part of a large machine."""
    most = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        # Control groups, version 2. There is no file where all of the machine may be had.
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        most = min(most, math.ceil(int(quota) / int(period)))
    return min(max(1, most), 64)


def _log_level(value: str) -> str:
    level = value.lower()
    if level not in {"debug", "info", "warning", "error"}:
        raise ValueError("one of debug, info, warning, error")
    return level


def _origins(value: str) -> tuple[str, ...]:
    return tuple(_origin(each.strip()) for each in value.split(","))


def _origin(text: str) -> str:
    """Return an origin as browsers send it: in lower case, without the port that its scheme has anyway."""
    found = _ORIGIN.fullmatch(text.lower())
    if found is None or not text.isascii() or int(found[3] or 1) not in range(1, 1 << 16):
        raise ValueError(
            "origins like https://map.example.org, separated by commas: scheme, host and perhaps a port, "
            "with nothing behind"
        )
    scheme, host, port = found.groups()
    is_usual = port is None or int(port) == _PORTS[scheme]
    return f"{scheme}://{host}" if is_usual else f"{scheme}://{host}:{int(port)}"


def _contact(value: str) -> str:
    if not re.fullmatch(r"(mailto:[^\s@<>()\"]+@[^\s@<>()\"]+|https://[^\s<>()\"]+)", value):
        raise ValueError("an address like mailto:security@example.org or https://example.org/security")
    return value


def _collector(value: str) -> str:
    _url(value, {"http", "https"}, "http://collector:4318/v1/traces")
    return value


def _dsn(value: str) -> str:
    if not re.fullmatch(r"https?://[0-9a-zA-Z]+(:[0-9a-zA-Z]+)?@[^\s@?#]+/[0-9]+", value, re.ASCII):
        raise ValueError("a DSN like https://key@sentry.example.org/1")
    return value


def _page(value: str) -> str:
    if not re.fullmatch(r"https://[^\s<>()\"]+", value):
        raise ValueError("an address like https://example.org/terms")
    return value


def _path(value: str) -> Path:
    if not value:
        raise ValueError("a folder's path; leave it unset for the usual one")
    try:
        return Path(value).expanduser().absolute()
    except (RuntimeError, OSError):
        raise ValueError("the path of a folder that there can be; ~ needs a home, . a folder") from None


def _text(value: str) -> str:
    """Return what a variable says, without blanks around it; ValueError where it cannot be printed."""
    value = value.strip()
    if len(value) > _LONGEST:
        raise ValueError(f"no longer than {_LONGEST} characters")
    if not value.isprintable():
        raise ValueError("printable text in UTF-8")
    return value


def _held_in(variable: str, path: str) -> str:
    """Return what the file of a secret holds; SettingsError where it cannot be read."""
    try:
        with Path(_text(path)).open("rb") as file:
            # Of a file that is longer enough is read to find that out.
            return file.read(4 * (_LONGEST + 1)).decode(errors="surrogateescape")
    except OSError as error:
        raise SettingsError(f"{variable} names a file that cannot be read: {error.strerror}") from None
    except ValueError:
        raise SettingsError(f"{variable} must be the path of a file") from None


def _any(value: Any) -> str:
    """Return how the value of a setting is written in a variable."""
    if isinstance(value, bytes):
        return MASK
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _setting(parse: Callable[[str], Any], default: Any, meaning: str, *, secret: bool = False) -> Any:
    """Declare one setting: how its text is read, what holds without it, and what it means."""
    return field(
        default=default, repr=not secret, metadata={"parse": parse, "meaning": meaning, "is_secret": secret}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. The variable of a member is ``HARBOR_`` and its name in capitals.

    A secret may be read from a file instead, which the same variable with ``_FILE`` behind names.
    """

    database_url: str | None = _setting(
        _database_url,
        None,
        "PostgreSQL 15 or newer. Unset: an embedded PostgreSQL is started in the data directory.",
        secret=True,
    )
    database_pooler: str = _setting(
        _pooler,
        "none",
        "transaction where HARBOR_DATABASE_URL leads to a PgBouncer in that mode.",
    )
    database_direct_url: str | None = _setting(
        _database_url,
        None,
        "Past a pooler to PostgreSQL itself: to migrate, and to hear at once of what happens.",
        secret=True,
    )
    database_replica_url: str | None = _setting(
        _database_url,
        None,
        "A streaming replica for histories, tracks, summaries and the feed, as long as it keeps up.",
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
    metrics_bind: str | None = _setting(
        _host_and_port,
        None,
        "Where /metrics is served to Prometheus, as 127.0.0.1:9464; for operators alone. Unset: nowhere.",
    )
    workers: int = _setting(
        _workers, 1, "Worker processes. auto: one for each core that the service may use. Redis with several."
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
    keep_positions_days: int = _setting(
        _whole_number(0, 36_500),
        0,
        "Positions recorded longer ago than this are deleted by harbor-api maintain, a month at a time, and "
        "a fix that is as old is quarantined. 0: all are kept.",
    )
    keep_feed_days: int = _setting(
        _whole_number(0, 36_500),
        0,
        "Followers are told no more of what came in longer ago than this. 0: all that there is.",
    )
    keep_quarantine_days: int = _setting(
        _whole_number(0, 36_500),
        0,
        "Fixes in quarantine, decided or not, that came longer ago than this are deleted. 0: all are kept.",
    )
    keep_audit_days: int = _setting(
        _whole_number(0, 36_500),
        0,
        "Entries of the audit trail that are older than this are deleted. 0: all are kept.",
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
        "Fixes that may wait for the database in each worker, and as many keys; beyond that the answer is "
        "503 at once.",
    )
    streams: int = _setting(
        _whole_number(0, 50_000),
        5_000,
        "Streams that each worker holds open at once, as far as it may open files; further ones get a 429.",
    )
    streams_per_key: int = _setting(
        _whole_number(1, 50_000), 100, "Streams that one API key may have open at each worker."
    )
    stream_s: int = _setting(
        _whole_number(1, 86_400),
        600,
        "About how long a stream is held before its client is told to connect again, maybe elsewhere; no "
        "request waits for longer.",
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
    traces_url: str | None = _setting(
        _collector,
        None,
        "Where OpenTelemetry traces go, as OTLP over HTTP: http://collector:4318/v1/traces. Unset: nowhere.",
    )
    traces_percent: int = _setting(_whole_number(1, 100), 10, "How many of a hundred traces are kept.")
    sentry_dsn: str | None = _setting(
        _dsn, None, "The project at Sentry that learns of failures of the service. Unset: none.", secret=True
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
        of_file = {variable + OF_FILE: each for variable, each in known.items() if each.metadata["is_secret"]}
        values = {}
        for variable, text in environ.items():
            if not variable.startswith(PREFIX):
                continue
            setting = known.get(variable) or of_file.get(variable)
            if setting is None:
                # The prefix is alike in all.
                names = (each.removeprefix(PREFIX) for each in (*known, *of_file))
                near = difflib.get_close_matches(variable.removeprefix(PREFIX), [*names], n=1)
                hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
                raise SettingsError(f"{ascii(variable)[1:-1]} is not a setting of Harbor API{hint}")
            if setting.name in values:
                one = PREFIX + setting.name.upper()
                raise SettingsError(f"{one} and {one}{OF_FILE} are both set: keep one of them")
            said, verb = (_held_in(variable, text), "hold") if variable in of_file else (text, "be")
            try:
                values[setting.name] = setting.metadata["parse"](_text(said))
            except ValueError as error:
                raise SettingsError(f"{variable} must {verb} {error}") from None
        return cls(**values)

    def shown(self) -> dict[str, str | None]:
        """Return what holds for each variable, as it would be written there and with secrets masked."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in (
            "database_url",
            "database_direct_url",
            "database_replica_url",
            "redis_url",
            "traces_url",
        ):
            values[name] = values[name] and masked_url(values[name])
        values["sentry_dsn"] = values["sentry_dsn"] and MASK
        return {
            PREFIX + name.upper(): None if value is None or value == () else _any(value)
            for name, value in values.items()
        }

    @property
    def is_pooled(self) -> bool:
        """Whether the database is reached by way of a pooler."""
        return self.database_pooler != "none"

    @property
    def patience_s(self) -> float:
        """For how long a request may wait for a group: for a connection, for a lock and for a statement."""
        return 3 * self.database_timeout_ms / 1000

    def require_master_key(self) -> bytes:
        """Return the tracker master key; SettingsError, which says how to make one, where it is unset."""
        if self.tracker_master_key is None:
            raise SettingsError(f"HARBOR_TRACKER_MASTER_KEY must be set; make a key with: {_MAKE_A_KEY}")
        return self.tracker_master_key
