"""The address that the service listens on, bound before anything else is begun.

Or a socket that listens already is handed over, so that nobody is refused while one service takes the place
of another: by the service before this one (``arbiter.py``, at SIGUSR2), or by systemd, which keeps it open
while there is none (a .socket unit; see sd_listen_fds).
"""

import errno
import os
import socket
import stat
import time
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from harbor_api.settings import SettingsError

_BACKLOG = 2048
# The workers of a service that was killed keep its address until they notice, which takes a second.
_PATIENCE_S = 3.0
_LOOK_AGAIN_S = 0.2
_WHY = {
    errno.EADDRNOTAVAIL: "is not an address of this machine; set it to one that is, as 127.0.0.1:8000",
    errno.EACCES: "is not ours to listen on; set it to a port from 1024 on, as 127.0.0.1:8000",
    errno.EAFNOSUPPORT: "is of a kind that this machine does not have; set it to one like 127.0.0.1:8000",
    errno.EEXIST: "names a file that is no socket; set it to a path that is free",
}


# systemd hands over what follows the three that every process has.
_FIRST_OF_SYSTEMD = 3


# Where the service before this one says which sockets these are: gunicorn the first, and we the other.
_FD, METRICS_FD = "GUNICORN_FD", "HARBOR-API-METRICS-FD"


class AddressTaken(SettingsError):
    """Something else listens on the address."""


def handed_over(environ: MutableMapping[str, str]) -> socket.socket | None:
    """Return the socket that was handed over to this process, None where none was; SettingsError."""
    number = environ.pop(_FD, None)
    if number is None and environ.get("LISTEN_PID") == str(os.getpid()):
        if environ.get("LISTEN_FDS") != "1":
            raise SettingsError(
                f"systemd hands over {environ.get('LISTEN_FDS')} sockets and one is taken: "
                "leave one ListenStream= in the .socket unit"
            )
        number = str(_FIRST_OF_SYSTEMD)
    return None if number is None else socket.socket(fileno=int(number))


def handed_over_for_metrics(environ: MutableMapping[str, str]) -> socket.socket | None:
    """Return the socket at which metrics were told, None where none was handed over."""
    number = environ.pop(METRICS_FD, None)
    return None if number is None else socket.socket(fileno=int(number))


def is_activated(environ: Mapping[str, str]) -> bool:
    """Return whether the socket is systemd's, or was: a service that takes over finds it said as well."""
    return "LISTEN_FDS" in environ


def listen(bind: str, *, setting: str = "HARBOR_BIND") -> socket.socket:
    """Return a socket that listens on what a setting says; SettingsError, in one line, where none can."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return _listen(bind, setting)
        except AddressTaken:
            if time.monotonic() > deadline:
                raise
        time.sleep(_LOOK_AGAIN_S)


def url_of(listener: socket.socket) -> str:
    """Return the URL at which this machine finds a socket that listens on a host and a port."""
    host, port = listener.getsockname()[:2]
    if ":" in host:
        return f"http://[{'::1' if host == '::' else host}]:{port}"
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104 - compared, not bound


def _listen(bind: str, setting: str) -> socket.socket:
    try:
        if bind.startswith("unix:"):
            return _listen_on_path(bind.removeprefix("unix:").removeprefix("//"))
        return _listen_on(bind)
    except (socket.gaierror, UnicodeError) as error:
        raise SettingsError(f"{setting} {bind} names a host that is not known here") from error
    except OverflowError:
        raise SettingsError(f"{setting} {bind} must have a port from 0 to 65535") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressTaken(
                f"{setting} {bind} is taken: something else listens there; "
                f"end that, or set {setting} to another address"
            ) from error
        why = _WHY.get(error.errno or 0, f"cannot be listened on: {error.strerror or error}")
        raise SettingsError(f"{setting} {bind} {why}") from error


def _listen_on(bind: str) -> socket.socket:
    host, _, port = bind.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name such as localhost has several addresses: whoever says 127.0.0.1 instead means the same.
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Connections of the service that stood here before may still be in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address[0], int(port), *address[2:]))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _listen_on_path(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _make_way(Path(path))
        # The proxy in front of it runs as another user; whom the socket is for, its folder says.
        umask = os.umask(0)
        try:
            listener.bind(path)
        finally:
            os.umask(umask)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _make_way(path: Path) -> None:
    """Remove the socket of a service that was killed; OSError where the path is somebody else's."""
    try:
        is_socket = stat.S_ISSOCK(path.stat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        if other.connect_ex(str(path)) == 0:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    path.unlink()
