"""Runs statements so many times a second, each time in a transaction, until it is told to stop.

It knows nothing of the service, so that it is there at once. `writes.py` starts it.

    python -m tests.benchmarks.reads.writer URL A_SECOND VESSELS STATEMENT...
"""

import sys
import threading
import time

import psycopg


def _write(url: str, a_second: int, vessels: int, statements: list[str]) -> int:
    over = threading.Event()

    def wait() -> None:
        sys.stdin.readline()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    with psycopg.connect(url, autocommit=True) as connection:
        print(connection.info.backend_pid, flush=True)
        began, written = time.monotonic(), 0
        while not over.is_set():
            # Neighbours in time are not neighbours in the fleet.
            values = {"vessel": written * 7919 % vessels + 1}
            with connection.transaction():
                for statement in statements:
                    connection.execute(statement, values, prepare=True)
            written += 1
            over.wait(max(0, began + written / a_second - time.monotonic()))
    return written


if __name__ == "__main__":
    print(_write(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]), flush=True)
