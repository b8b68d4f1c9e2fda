"""nginx before a server as operators set it up: connections stay open on both sides, headers are added."""

import getpass
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.benchmarks.servers import Running, process, wait_for
from tests.support.live_service import free_port

# Bodies and answers stay in memory, so that no candidate is measured by the disk.
_CONFIGURATION = """
user {user};
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/answer;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    # A load that is hung up on stops.
    keepalive_requests 100000000;
    client_max_body_size 1m;
    client_body_buffer_size 1m;
    proxy_buffers 32 16k;
    upstream server {{
        server 127.0.0.1:{behind};
        keepalive 64;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://server;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


def program() -> str | None:
    """Return where nginx is, None where it is not installed."""
    # Not every user has the folders of the system's programs in the path.
    return shutil.which("nginx", path=os.pathsep.join([os.environ["PATH"], "/usr/local/sbin", "/usr/sbin"]))


@contextmanager
def before(
    start: Callable[[str, Path], AbstractContextManager[Running]], url: str, logs: Path
) -> Iterator[Running]:
    """Run a server, and nginx before it."""
    nginx = program()
    if nginx is None:
        raise FileNotFoundError("nginx is not installed")
    with start(url, logs) as running:
        port = free_port()
        folder = logs / f"nginx-{port}"
        folder.mkdir()
        configuration = folder / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(user=getpass.getuser(), folder=folder, behind=running.port, port=port)
        )
        log = folder / "nginx.log"
        with process([nginx, "-e", str(log), "-p", str(folder), "-c", str(configuration)], log) as pid:
            wait_for(port, log)
            yield Running(port, running.pid, proxy=pid)
