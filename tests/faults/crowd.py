"""A crowd of clients who do their worst, in a process of its own: they come through nginx, as all do.

Told on its input what to do, as a JSON object of ``CrowdOrder``; it says ``ready`` once all have
come. Another line ends it, and it tells in a JSON object how many came, and how often one was sent away, who
then came again.
"""

import asyncio
import json
import socket
import ssl
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

_EVERY_S = 2.0
# So many open a connection at once: TLS is some work for both.
_AT_ONCE = 50
_AGAIN_S = 1.0
_ADDRESSES = 8
_BODY = 60_000
_RECEIVE_BUFFER = 4_096
AGENT = "reads-nothing"


@dataclass(frozen=True)
class CrowdOrder:
    """How many do what: send a byte now and then, or, where there is a path, ask for it and read nothing."""

    port: int
    certificate: str
    many: int
    per_second: float
    path: str = ""
    keys: tuple[str, ...] = ()


class _Crowd:
    def __init__(self, order: CrowdOrder) -> None:
        self._order = order
        self._tls = ssl.create_default_context(cafile=order.certificate)
        self._doors = asyncio.Semaphore(_AT_ONCE)
        self.seen: Counter[str] = Counter()
        self._here: set[int] = set()
        self.all_are_here = asyncio.Event()

    async def play(self, number: int) -> None:
        """Be one of them until cancelled: one that is sent away comes again."""
        await asyncio.sleep(number / self._order.per_second)
        while True:
            with suppress(OSError, ssl.SSLError):
                await self._once(number)
                self.seen["sent_away"] += 1
            await asyncio.sleep(_AGAIN_S)

    async def _once(self, number: int) -> None:
        is_silent = bool(self._order.path)
        # Some do not even get to the end of TLS's greeting.
        speaks_tls = is_silent or number % 3
        async with self._doors:
            reader, writer = await asyncio.open_connection(
                sock=await self._connected(f"127.0.0.{2 + number % _ADDRESSES}"),
                ssl=self._tls if speaks_tls else None,
                server_hostname="localhost" if speaks_tls else None,
            )
        try:
            writer.write(self._opening(number))
            self.seen["came"] += 1
            self._here.add(number)
            if len(self._here) == self._order.many:
                self.all_are_here.set()
            if is_silent:
                writer.transport.pause_reading()
                await asyncio.Event().wait()
            while True:
                try:
                    await asyncio.wait_for(reader.read(), _EVERY_S)
                except TimeoutError:
                    writer.write(b"a")
                    await writer.drain()
                else:
                    return
        finally:
            writer.transport.abort()

    async def _connected(self, address: str) -> socket.socket:
        sock = socket.socket()
        try:
            sock.setblocking(False)
            # Or the kernel would take whole answers for who reads nothing.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            sock.bind((address, 0))
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._order.port))
        except BaseException:
            sock.close()
            raise
        return sock

    def _opening(self, number: int) -> bytes:
        if self._order.path:
            keys = self._order.keys
            key = f"Authorization: Bearer {keys[number % len(keys)]}\r\nUser-Agent: {AGENT}"
            return f"GET {self._order.path} HTTP/1.1\r\nHost: harbor\r\n{key}\r\n\r\n".encode()
        return (
            b"\x16\x03\x01\x02\x00\x01",
            b"GET /health/live HTTP/1.1\r\nHost: harbor\r\nX-Slow: ",
            b"POST /api/v1/positions HTTP/1.1\r\nHost: harbor\r\nContent-Type: application/json\r\n"
            + f"Content-Length: {_BODY}\r\n\r\n".encode(),
        )[number % 3]


async def _main() -> None:
    order = CrowdOrder(**json.loads(sys.stdin.readline()))
    crowd = _Crowd(order)
    tasks = [asyncio.create_task(crowd.play(number)) for number in range(order.many)]
    await crowd.all_are_here.wait()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps(crowd.seen), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
