"""The address to listen on: bound, or one line that names it and HARBOR_BIND."""

import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from harbor_api.server import listening
from harbor_api.settings import SettingsError


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(listening, "_PATIENCE_S", 0)


def _refusal_of(bind: str) -> str:
    with pytest.raises(SettingsError) as caught:
        listening.listen(bind).close()
    said = str(caught.value)
    assert said.startswith(f"HARBOR_BIND {bind} ")
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    ("bind", "said"),
    [
        ("127.0.0.1:99999", "must have a port from 0 to 65535"),
        ("nobody.invalid:8000", "names a host that is not known here"),
        (f"{'x' * 70}.example:8000", "names a host that is not known here"),
        ("192.0.2.1:8000", "is not an address of this machine"),
        ("[2001:db8::1]:8000", "is "),
        ("unix:/nowhere/harbor.sock", "cannot be listened on: No such file or directory"),
        ("unix:/etc/passwd", "names a file that is no socket"),
        (f"unix:/tmp/{'x' * 200}", "cannot be listened on: AF_UNIX path too long"),
    ],
)
def test_an_address_that_cannot_be_had_is_refused(bind: str, said: str):
    assert said in _refusal_of(bind)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_an_address_that_is_taken_is_refused(host: str):
    with listening.listen("127.0.0.1:0") as other:
        port = other.getsockname()[1]
        assert "is taken: something else listens there" in _refusal_of(f"{host}:{port}")


def test_a_socket_is_refused_while_somebody_listens_and_replaced_once_nobody_does():
    with TemporaryDirectory(prefix="harbor-") as folder:
        path = Path(folder, "harbor.sock")
        with listening.listen(f"unix:{path}"):
            assert path.stat().st_mode & 0o777 == 0o777, "the proxy in front is another user"
            assert "is taken" in _refusal_of(f"unix:{path}")
            assert "is taken" in _refusal_of(f"unix://{path}")
        assert path.exists()
        with listening.listen(f"unix:{path}"), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


@pytest.mark.parametrize(
    ("bind", "url"),
    [
        ("127.0.0.1:0", "http://127.0.0.1:"),
        ("0.0.0.0:0", "http://127.0.0.1:"),
        ("localhost:0", "http://127.0.0.1:"),
    ],
)
def test_whoever_is_on_this_machine_is_told_a_url_that_leads_there(bind: str, url: str):
    with listening.listen(bind) as listener:
        assert listening.url_of(listener) == f"{url}{listener.getsockname()[1]}"


@pytest.mark.parametrize("host", ["[::1]", "[::]"])
def test_ipv6(host: str):
    try:
        listener = listening.listen(f"{host}:0")
    except SettingsError:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert listening.url_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"


def test_a_socket_is_handed_over_by_systemd_or_by_the_service_before():
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    # It is for another process.
    assert listening.handed_over(environ) is None
    assert listening.is_activated(environ)
    assert listening.handed_over({}) is None
    assert not listening.is_activated({})
    with socket.create_server(("127.0.0.1", 0)) as ours:
        environ |= {"GUNICORN_FD": str(os.dup(ours.fileno()))}
        found = listening.handed_over(environ)
        assert found is not None
        with found:
            assert found.getsockname() == ours.getsockname()
        # Whoever this starts does not have it.
        assert "GUNICORN_FD" not in environ


def test_several_sockets_of_systemd_are_refused():
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"}
    with pytest.raises(SettingsError, match="systemd hands over 2 sockets and one is taken"):
        listening.handed_over(environ)
