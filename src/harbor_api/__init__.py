"""Harbor API: a fleet operator's position service."""

__version__ = "0.2.0"
