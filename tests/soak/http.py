"""A connection that is kept open, for a program that asks hundreds of times a second and is to stay light."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

# A server ends a connection that rests, and may do so just when a request is on its way.
_RESTS_S = 20.0
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Answer:
    """A status, headers with names in lower case, and the body as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """One request at a time; it connects anew where it was told to, or has rested."""

    def __init__(self, port: int, context: ssl.SSLContext | None, source: str) -> None:
        self._port = port
        self._context = context
        self._source = source
        self._writer: asyncio.StreamWriter | None = None
        self._used_at = 0.0

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        """Return the answer; OSError, EOFError or TimeoutError where there is no whole one."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await self._ask(method, path, headers, body)
        except BaseException:
            self.close()
            raise

    async def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self._writer is None or time.monotonic() > self._used_at + _RESTS_S or self._reader.at_eof():
            await self._connect()
        assert self._writer is not None
        sent = {"Host": "localhost", **headers} | ({} if body is None else {"Content-Length": str(len(body))})
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        self._writer.write("\r\n".join(lines).encode() + (body or b""))
        answer = await self._answer()
        self._used_at = time.monotonic()
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    async def _connect(self) -> None:
        self.close()
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1",
            self._port,
            ssl=self._context,
            server_hostname=None if self._context is None else "localhost",
            local_addr=(self._source, 0),
            limit=1 << 20,
        )

    async def _answer(self) -> Answer:
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
        status = int(first.split(" ", 2)[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if status in {204, 304}:
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") != "chunked":
            return Answer(status, headers, await self._reader.readexactly(int(headers["content-length"])))
        parts = []
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            parts.append((await self._reader.readexactly(size + 2))[:-2])
        await self._reader.readexactly(2)
        return Answer(status, headers, b"".join(parts))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
