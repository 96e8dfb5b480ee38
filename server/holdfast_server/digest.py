"""A request's body as any app gets it: held for the app, and fingerprinted by what it means, whatever it is made of.

JSON counts by value, a form by its parts (a browser draws a new boundary for every attempt), everything else by its bytes.
"""

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Callable
from typing import IO, Any, Final, TypeVar

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request
from starlette.types import Message, Receive

from holdfast_server.idempotency import Part, fingerprint_bytes, fingerprint_form, fingerprint_json
from holdfast_server.limits import MIB
from holdfast_server.problems import Problem, malformed_body, too_large
from holdfast_server.refusal import declares_more_than, let_pass

Result = TypeVar("Result")

IN_MEMORY: Final = MIB
PARTS_LIMIT: Final = 1_000
_PIECE: Final = 256 * 1024
_INLINE: Final = 16 * 1024
"""What is hashed or parsed at once. More of it goes to a thread, so that other requests are served meanwhile."""


class HeldBody:
    """A body that was read to its end: in memory while it is small, in a temporary file beyond that."""

    def __init__(self) -> None:
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._size = 0

    async def add(self, chunk: bytes) -> None:
        """Keep the next piece."""
        self._size += len(chunk)
        if self._file is None and self._size <= IN_MEMORY:
            self._memory += chunk
            return
        if self._file is None:
            self._file = await asyncio.to_thread(tempfile.TemporaryFile)
            await asyncio.to_thread(self._file.write, self._memory)
            self._memory = bytearray()
        await asyncio.to_thread(self._file.write, chunk)

    def receive(self, then: Receive) -> Receive:
        """A `receive` that gives the body, and after it whatever the connection says."""
        if self._file is not None:
            self._file.seek(0)
        left = self._size
        over = False

        async def receive() -> Message:
            nonlocal left, over
            if over:
                return await then()
            piece = bytes(self._memory) if self._file is None else await asyncio.to_thread(self._file.read, _PIECE)
            left -= len(piece)
            over = left == 0
            return {"type": "http.request", "body": piece, "more_body": not over}

        return receive

    def close(self) -> None:
        """Forget it."""
        if self._file is not None:
            self._file.close()


class BodyDigest:
    """Takes the body in pieces and gives the request's fingerprint."""

    def __init__(self, content_type: str) -> None:
        media_type, options = parse_options_header(content_type)
        self._type = media_type.decode("latin-1")
        self._bytes = hashlib.sha256()
        self._json: bytearray | None = bytearray() if self._type == "application/json" else None
        self._form: _FormDigest | None = None
        if self._type == "multipart/form-data" and options.get(b"boundary"):
            self._form = _FormDigest(options[b"boundary"])

    @property
    def refusal(self) -> Problem | None:
        """Why the body cannot be fingerprinted; known as soon as it is clear."""
        return None if self._form is None else self._form.refusal

    def add(self, chunk: bytes) -> None:
        """Take the next piece."""
        if self._json is None:
            self._bytes.update(chunk)
        else:
            self._json += chunk
            if len(self._json) > IN_MEMORY:
                self._by_its_bytes(self._json)
        if self._form is not None:
            self._form.add(chunk)

    def fingerprint(self, method: str, path: str) -> str:
        """The fingerprint. A body that is not what it says counts by its bytes; refusing it is the app's business."""
        if self._form is not None and self._form.whole:
            return fingerprint_form(method, path, self._form.parts)
        if self._json is not None:
            try:
                return fingerprint_json(method, path, json.loads(self._json.decode()))
            except (ValueError, RecursionError):
                self._by_its_bytes(self._json)
        return fingerprint_bytes(method, path, self._type, self._bytes.hexdigest())

    def _by_its_bytes(self, so_far: bytearray) -> None:
        self._json = None
        self._bytes.update(so_far)


class _FormDigest:
    def __init__(self, boundary: bytes) -> None:
        self.parts: list[Part] = []
        self.whole = False
        self.refusal: Problem | None = None
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._content = hashlib.sha256()
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        try:
            self._parser: MultipartParser | None = MultipartParser(boundary, callbacks)
        except FormParserError:
            self._parser = None

    def add(self, chunk: bytes) -> None:
        if self._parser is not None:
            try:
                self._parser.write(chunk)
            except FormParserError:
                self._parser = None
                self.whole = False
            except Problem as problem:
                self._parser = None
                self.refusal = problem

    def _begin(self) -> None:
        if len(self.parts) == PARTS_LIMIT:
            raise too_large(f"The form has more than {PARTS_LIMIT} parts, the most a request with a key may have.")
        self._headers = {}
        self._content = hashlib.sha256()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._content.update(memoryview(data)[start:end])

    def _end_part(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        filename = options.get(b"filename")
        self.parts.append(
            Part(
                options.get(b"name", b"").decode("latin-1"),
                None if filename is None else filename.decode("latin-1"),
                self._headers.get(b"content-type", b"").decode("latin-1"),
                self._content.hexdigest(),
            )
        )

    def _end(self) -> None:
        self.whole = True


class TeeBody:
    """The body between connection and app: fingerprinted as the app reads it, or read to its end before the app does.

    Nothing is held for an app that reads first, and the body of a request without a key is not looked into.
    """

    def __init__(self, request: Request, receive: Receive, *, limit: int) -> None:
        keyed = "idempotency-key" in request.headers
        self._digest = BodyDigest(request.headers.get("content-type", "")) if keyed else None
        self._request = request
        self._receive = receive
        self._limit = limit
        self._size = 0
        self._over = False
        self._held: HeldBody | None = None
        self._rest: Receive | None = None

    async def receive(self) -> Message:
        """The app's `receive`."""
        if self._rest is not None:
            return await self._rest()
        if self._over:
            return await self._receive()
        return await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            chunk = message.get("body", b"")
            self._size += len(chunk)
            self._over = not message.get("more_body", False)
            if self._digest is not None and self._size <= self._limit:
                await _aside(len(chunk), self._digest.add, chunk)
        return message

    async def fingerprint(self, method: str, path: str) -> str:
        """The fingerprint of a request with a key; what the app has not read of its body yet is read now and held for it.

        Raises:
            Problem: 413, it is or will be over the limit, or has too many parts; 400, it broke off.
        """
        digest = self._digest
        assert digest is not None  # noqa: S101  (a request without a key is refused, or runs without one)
        if declares_more_than(self._limit, self._request):
            raise self._too_large()
        if not self._over:
            self._held = HeldBody()
            more = True
            while more:
                message = await self._next()
                if message["type"] == "http.disconnect":
                    raise malformed_body("The connection ended before the body did.")
                self._check(digest)
                await self._held.add(message.get("body", b""))
                more = message.get("more_body", False)
            self._rest = self._held.receive(self._receive)
        self._check(digest)
        return await _aside(self._size, digest.fingerprint, method, path)

    def _check(self, digest: BodyDigest) -> None:
        if self._size > self._limit:
            raise self._too_large()
        if digest.refusal is not None:
            raise digest.refusal

    def _too_large(self) -> Problem:
        return too_large(f"The body is larger than {self._limit} bytes, the most a request with a key may have.")

    async def let_pass(self) -> None:
        """Take what is left of the body and forget it, before an answer of our own, see `refusal.let_pass`."""
        if not self._over:
            await let_pass(self._request, self._receive)

    def close(self) -> None:
        """Forget what was held."""
        if self._held is not None:
            self._held.close()


async def _aside(size: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call it, in a thread where the body that it looks at is long."""
    return function(*arguments) if size <= _INLINE else await asyncio.to_thread(function, *arguments)
