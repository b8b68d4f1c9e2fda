"""The ceiling of reads: answers that were rendered beforehand, from the service's own worker.

There is no application: no key is looked at and no database, only a path's number. What is left is what
gunicorn, the worker and the sockets take.

    python -m tests.benchmarks.reads.constant FOLDER PORT WORKERS
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from harbor_api.server.service import Service
from harbor_api.settings import Settings
from harbor_api.telemetry import logs

# Of one connection, or set by who sends the answer.
_NOT_KEPT = frozenset({"connection", "date", "server", "keep-alive", "transfer-encoding"})


def keep(folder: Path, number: int, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
    """Keep an answer for the server that will be started with this folder."""
    kept = [(name, value) for name, value in headers if name.lower() not in _NOT_KEPT]
    (folder / f"{number}.json").write_text(json.dumps({"status": status, "headers": kept}))
    (folder / f"{number}.body").write_bytes(body)


class Constant(Service):
    """The service's worker and its options, with another application."""

    folder: Path

    def load(self) -> Callable[[Mapping[str, Any], Any], list[bytes]]:
        answers = {}
        for file in self.folder.glob("*.json"):
            kept = json.loads(file.read_text())
            headers = [(name, value) for name, value in kept["headers"]]
            status = {200: "200 OK", 304: "304 Not Modified"}[kept["status"]]
            answers[file.stem] = status, headers, [file.with_suffix(".body").read_bytes()]

        def application(environ: Mapping[str, Any], start_response: Any) -> list[bytes]:
            number = environ["PATH_INFO"].split("/", 2)[1]
            status, headers, body = answers.get(number, ("404 Not Found", [("Content-Length", "0")], []))
            start_response(status, headers)
            return body

        return application


if __name__ == "__main__":
    Constant.folder = Path(sys.argv[1])
    logs.configure("warning")
    Constant(Settings(bind=f"127.0.0.1:{sys.argv[2]}", workers=int(sys.argv[3]))).run()
