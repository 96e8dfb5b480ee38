"""An HTTP client that costs next to nothing beside the server: one connection that is kept, one request after the other."""

import asyncio
from dataclasses import dataclass
from typing import Self

import httpx


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def as_sent(request: httpx.Request) -> bytes:
    """The bytes of a request."""
    lines = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + request.read()


class Connection:
    """One connection to a server on this machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> Answer:
        """Send a request (at once, before anything is awaited) and read its answer, which must tell its length."""
        self._writer.write(request)
        status = int((await self._reader.readline()).split()[1])
        headers: dict[str, str] = {}
        while (line := await self._reader.readline()) != b"\r\n":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return Answer(status, headers, await self._reader.readexactly(int(headers["content-length"])))

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        await self._writer.wait_closed()
