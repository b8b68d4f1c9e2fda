"""gunicorn's own lines through our structured log."""

from typing import Any

from gunicorn.glogging import Logger


class StructuredLogger(Logger):
    """A logger that leaves handlers and formats to the root logger, and requests to the application."""

    def setup(self, cfg: Any) -> None:
        self.error_log.handlers[:] = []
        self.error_log.propagate = True
        self.error_log.setLevel(cfg.loglevel.upper())

    def access(self, *_: Any) -> None:
        """Write no line for a request: the application writes one, with its id."""
