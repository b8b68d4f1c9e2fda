"""nginx with the file that operators run, before a service of a test."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from tests.support.live_service import free_port

FILES = Path(__file__).parents[2] / "deploy" / "nginx"
_PATIENCE_S = 30
# Folders that nginx makes, which a test has of its own.
_OF_THE_TEST = """
client_body_temp_path {folder}/body;
proxy_temp_path {folder}/answers;
fastcgi_temp_path {folder}/fastcgi;
uwsgi_temp_path {folder}/uwsgi;
scgi_temp_path {folder}/scgi;
"""


def program(name: str = "nginx") -> str:
    """Return where a program is; the test is skipped where it is not installed."""
    # Not every user has the folders of the system's programs in the path.
    path = os.pathsep.join([os.environ["PATH"], "/usr/local/sbin", "/usr/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


class Nginx:
    """A running nginx; a context manager that leaves no process behind.

    Of the file only addresses and paths are others. The address of the service is a host with its port.
    """

    def __init__(self, *servers: str) -> None:
        self._program, openssl = program(), program("openssl")
        # Its workers run as another user, who has to find what is in it.
        self.folder = Path(tempfile.mkdtemp(prefix="harbor-nginx-"))
        self.folder.chmod(0o755)
        self.port, self.plain_port = free_port(), free_port()
        self.base_url = f"https://localhost:{self.port}"
        self._make_certificate(openssl)
        self.set_servers(*servers)
        self._write_configuration()
        self._process: subprocess.Popen[bytes] | None = None

    def set_servers(self, *servers: str) -> None:
        """Say where the service is, in the words of upstream-socket.conf."""
        shipped = (FILES / "upstream-socket.conf").read_text()
        lines = "\n".join(rf"server {each}\1;" for each in servers)
        upstream, found = re.subn(r"server unix:\S+( .*)?;", lines, shipped)
        assert found == 1
        (self.folder / "upstream.conf").write_text(upstream + _OF_THE_TEST.format(folder=self.folder))

    @property
    def pid(self) -> int:
        """Return the id of its first process."""
        assert self._process is not None
        return self._process.pid

    @property
    def certificate(self) -> Path:
        return self.folder / "tls" / "fullchain.pem"

    def context(self) -> ssl.SSLContext:
        """Return what a client trusts this nginx by."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def client(self, **options: object) -> httpx.Client:
        """Return a client of it, which keeps its connections."""
        return httpx.Client(base_url=self.base_url, verify=self.context(), timeout=60, **options)

    def log(self) -> str:
        return (self.folder / "error.log").read_text()

    def accesses(self) -> str:
        return (self.folder / "access.log").read_text()

    def command(self, *arguments: str) -> Sequence[str]:
        """Return nginx with this configuration and more arguments."""
        log, pid = self.folder / "error.log", self.folder / "nginx.pid"
        return [
            self._program,
            *("-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", str(log)),
            *("-g", f"daemon off; pid {pid}; error_log {log} info;"),
            *arguments,
        ]

    def _make_certificate(self, openssl: str) -> None:
        self.certificate.parent.mkdir()
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        files = ["-keyout", str(self.certificate.with_name("privkey.pem")), "-out", str(self.certificate)]
        subprocess.run([openssl, "req", "-x509", *key, *name, *files], check=True, capture_output=True)

    def _write_configuration(self) -> None:
        text = (FILES / "nginx.conf").read_text()
        for port, taken in ((443, self.port), (80, self.plain_port)):
            text, found = re.subn(rf"listen {port} ", f"listen 127.0.0.1:{taken} ", text)
            assert found == 1
            text, found = re.subn(rf" *listen \[::\]:{port} .*\n", "", text)
            assert found == 1
        text, found = re.subn(r"/var/log/nginx/access.log", str(self.folder / "access.log"), text)
        assert found == 1
        (self.folder / "nginx.conf").write_text(text)

    def __enter__(self) -> "Nginx":
        self._process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return self
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    raise AssertionError(f"nginx did not start: {self.log()}") from None
                time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE_S)
        shutil.rmtree(self.folder, ignore_errors=True)
