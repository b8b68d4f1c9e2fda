"""``harbor-api serve`` with less patience for slow clients, for tests that would wait too long otherwise."""

import os

from harbor_api.server.connections import Allowance, Bounds
from harbor_api.server.service import Service
from harbor_api.settings import Settings
from harbor_api.telemetry import logs

BOUNDS = Bounds(
    idle=Allowance(seconds=4),
    head=Allowance(seconds=1),
    body=Allowance(seconds=2, bytes_per_second=1_000),
    answer=Allowance(seconds=2, bytes_per_second=8_000),
    ending_s=1,
    grace_s=0.3,
    connections=60,
    connections_per_address=30,
    unfinished_bytes=4 << 20,
    unread_bytes=8 << 20,
)

if __name__ == "__main__":
    settings = Settings.from_environ(os.environ)
    logs.configure(settings.log_level)
    Service(settings, bounds=BOUNDS).run()
