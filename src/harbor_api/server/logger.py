"""gunicorn's own lines through our structured log."""

import logging
from typing import Any

from gunicorn.glogging import Logger


class StructuredLogger(Logger):
    """A logger that leaves handlers and formats to the root logger."""

    def setup(self, cfg: Any) -> None:
        self.error_log.handlers[:] = []
        self.error_log.propagate = True
        self.error_log.setLevel(cfg.loglevel.upper())
        self.access_log.setLevel(logging.CRITICAL)
