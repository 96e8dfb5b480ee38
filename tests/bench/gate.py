"""The way in: a server so small that what is measured is the browser's side, and behind it the app's real server.

`POST /sink` is answered here at once, with a receipt, and so is a batch of such requests. Everything else goes on to the app. Writes are noted with their time
and key, and the bytes that go back to the browser are counted.
"""

import asyncio
import json
import threading
import time
from contextlib import closing, suppress
from types import TracebackType
from typing import Any, Final, Self

CHUNK = 65_536
SINK = "/sink"
BATCH = "/api/batch"
DONE: Final = {"done": True}


class Gate:
    """Listens on `port` in a thread of its own."""

    def __init__(self, port: int, upstream: int) -> None:
        self.port = port
        self.arrived_at: list[float] = []
        """When each write came in, by `time.perf_counter`."""
        self.keys: list[str] = []
        """The idempotency keys of the writes that were answered here, in order of arrival."""
        self.bytes_out = 0
        """What went to the browser from the app's server, heads included."""
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None]] = set()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """The origin as the browser sees it."""
        return f"http://localhost:{self.port}"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connected, "127.0.0.1", self.port))
        self._listening.set()
        self._loop.run_forever()
        server.close()
        for connection in self._connections:
            connection.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._connections, return_exceptions=True))
        self._loop.close()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Kept here: the event loop holds tasks only weakly.
        connection = self._loop.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A browser ends connections when it likes, and is killed at the end.
        with closing(writer), suppress(OSError, asyncio.IncompleteReadError):
            while await self._exchange(reader, writer):
                pass

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection may serve another."""
        head = await reader.readuntil(b"\r\n\r\n")
        begun = time.perf_counter()
        request, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = request.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if method == "POST":
            self.arrived_at.append(begun)
        if path == SINK:
            key = headers.get("idempotency-key", "")
            self.keys.append(key)
            writer.write(_answer(201, DONE, f"Idempotency-Key: {key}\r\n"))
            return True
        if path == BATCH:
            keys = [item["key"] for item in json.loads(body)["items"]]
            self.keys += keys
            results = [{"status": 201, "headers": {"idempotency-key": key}, "body": DONE} for key in keys]
            writer.write(_answer(200, {"results": results}))
            return True
        await self._forward(head, body, writer)
        return False

    async def _forward(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        request, _, rest = head.partition(b"\r\n")
        kept = [line for line in rest.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        upstream, out = await asyncio.open_connection("127.0.0.1", self._upstream)
        with closing(out):
            out.write(b"\r\n".join((request, b"Connection: close", *kept)) + body)
            while chunk := await upstream.read(CHUNK):
                self.bytes_out += len(chunk)
                writer.write(chunk)
                await writer.drain()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10), f"port {self.port} cannot be listened on"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


def _answer(status: int, content: Any, headers: str = "") -> bytes:
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 {status} \r\nContent-Type: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
