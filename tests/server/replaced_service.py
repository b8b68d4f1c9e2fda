"""A service without a database, for tests of how it is replaced: ``python replaced_service.py FOLDER PORT``.

It answers with its process. A file ``no-worker`` in the folder lets no worker start, ``no-start`` no service.
"""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harbor_api.server.listening import handed_over, listen
from harbor_api.server.service import Service
from harbor_api.settings import Settings
from harbor_api.telemetry import logs


class _Answers:
    extensions = {"harbor_api": SimpleNamespace(hub=None)}

    def __call__(self, _: Any, start_response: Any) -> list[bytes]:
        body = f"{os.getpid()}".encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


class _Service(Service):
    def load(self) -> Any:
        if (Path(sys.argv[1]) / "no-worker").exists():
            raise RuntimeError("no worker may start")
        return _Answers()


if __name__ == "__main__":
    if (Path(sys.argv[1]) / "no-start").exists():
        sys.exit(1)
    logs.configure("info")
    settings = Settings(workers=2, bind=f"127.0.0.1:{sys.argv[2]}")
    _Service(settings, listener=handed_over(os.environ) or listen(settings.bind)).run()
