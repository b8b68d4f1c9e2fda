"""A road to PostgreSQL on which each answer may be late, in a process of its own.

Its first line has the port to listen on and the server's socket; each further one for how many seconds
answers are held, from now on.
"""

import asyncio
import sys
from contextlib import suppress


class _Road:
    def __init__(self, socket: str) -> None:
        self.late_s = 0.0
        self._socket = socket

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry what a client and the server say, until one of them ends."""
        try:
            answers, asks = await asyncio.open_unix_connection(self._socket)
        except OSError:
            writer.close()
            return
        ways = [asyncio.create_task(self._carry(reader, asks, is_late=False))]
        ways.append(asyncio.create_task(self._carry(answers, writer, is_late=True)))
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for each in ways:
            each.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (writer, asks):
            end.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_late: bool
    ) -> None:
        """Carry all of one direction. What comes together is late together, as on a long road."""
        clock = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def arrive() -> None:
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(max(0.0, due - clock.time()))
                if not data:
                    return
                writer.write(data)
                await writer.drain()

        arriving = asyncio.create_task(arrive())
        try:
            data = b"-"
            while data:
                data = await reader.read(65_536)
                under_way.put_nowait((clock.time() + is_late * self.late_s, data))
            await arriving
        finally:
            arriving.cancel()


async def _main() -> None:
    port, socket = sys.stdin.readline().split()
    road = _Road(socket)
    async with await asyncio.start_server(road.serve, "127.0.0.1", int(port)):
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            road.late_s = float(line)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_main())
