"""A request's body, read once and in pieces: JSON, or a form whose files go to disk. What comes out can be fingerprinted."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from holdfast_server.attachments import IncomingFile
from holdfast_server.idempotency import Part, fingerprint_form, fingerprint_json
from holdfast_server.limits import Limits
from holdfast_server.multipart import MultipartReader
from holdfast_server.problems import Problem, malformed_body, too_large
from holdfast_server.refusal import declares_more_than, let_pass

JSON: Final = "application/json"
MULTIPART: Final = "multipart/form-data"
URLENCODED: Final = "application/x-www-form-urlencoded"

_FEED_BYTES: Final = 256 * 1024
_INLINE_JSON_BYTES: Final = 64 * 1024
_DEPTH_LIMIT: Final = 64


@dataclass(frozen=True, slots=True)
class JsonBody:
    """A JSON value."""

    value: Any

    def fingerprint(self, method: str, path: str) -> str:
        """See `idempotency.fingerprint_json`."""
        return fingerprint_json(method, path, self.value)


@dataclass(frozen=True, slots=True)
class FormBody:
    """The fields and files of a form, in their order."""

    fields: list[tuple[str, str]]
    files: list[IncomingFile] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)

    def fingerprint(self, method: str, path: str) -> str:
        """See `idempotency.fingerprint_form`."""
        return fingerprint_form(method, path, self.parts)


class _Pieces:
    """The body as it arrives."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._over = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not self._over:
            message = await self._request.receive()
            if message["type"] == "http.disconnect":
                self._over = True
                raise malformed_body("The connection ended before the body did.")
            self._over = not message.get("more_body", False)
            yield message.get("body", b"")

    async def let_pass(self) -> None:
        """Take what is left of it and forget it."""
        if not self._over:
            await let_pass(self._request, self._request.receive)


@asynccontextmanager
async def read_body(
    request: Request, *, accept: frozenset[str], limits: Limits, new_path: Callable[[], Path]
) -> AsyncIterator[JsonBody | FormBody]:
    """Read the body. Files that were not moved away by the end of the block are removed.

    Raises:
        Problem: 400, 413 or 415.
    """
    pieces = _Pieces(request)
    reader: MultipartReader | None = None
    try:
        kind, boundary = _content_type(request, accept)
        if declares_more_than(limits.body, request):
            raise _over_the_cap(limits)
        if kind == MULTIPART:
            reader = MultipartReader(boundary, limits=limits, new_path=new_path)
            await _feed(pieces, reader, limits)
            yield FormBody(reader.fields, reader.files, reader.parts)
        else:
            yield await _read_text(pieces, kind, limits)
    except Problem:
        await pieces.let_pass()
        raise
    finally:
        if reader is not None:
            await asyncio.to_thread(reader.abandon)


def _content_type(request: Request, accept: frozenset[str]) -> tuple[str, bytes]:
    media_type, options = parse_options_header(request.headers.get("content-type"))
    kind = media_type.decode("latin-1")
    if kind not in accept:
        raise Problem(415, detail=f"Send the body as {' or '.join(sorted(accept))}.")
    boundary = options.get(b"boundary", b"")
    if kind == MULTIPART and not boundary:
        raise malformed_body("The content type names no multipart boundary.")
    return kind, boundary


async def _read_text(pieces: _Pieces, kind: str, limits: Limits) -> JsonBody | FormBody:
    most = min(limits.text, limits.body)
    raw = bytearray()
    async for chunk in pieces:
        raw += chunk
        if len(raw) > most:
            raise too_large(f"The body is larger than {most} bytes, the most text may have.")
    if kind == JSON:
        return JsonBody(await _parse_json(bytes(raw)))
    return _parse_urlencoded(bytes(raw), limits)


async def _feed(pieces: _Pieces, reader: MultipartReader, limits: Limits) -> None:
    """Pass the body on in pieces that are worth a thread."""
    pending = bytearray()
    total = 0
    async for chunk in pieces:
        total += len(chunk)
        if total > limits.body:
            raise _over_the_cap(limits)
        pending += chunk
        if len(pending) >= _FEED_BYTES:
            await asyncio.to_thread(reader.feed, bytes(pending))
            pending.clear()
    await asyncio.to_thread(reader.feed, bytes(pending))
    reader.finish()


def _over_the_cap(limits: Limits) -> Problem:
    return too_large(f"The body is larger than {limits.body} bytes, the most a request may have.")


async def _parse_json(raw: bytes) -> Any:
    if len(raw) <= _INLINE_JSON_BYTES:
        return _load_json(raw)
    return await asyncio.to_thread(_load_json, raw)


def _load_json(raw: bytes) -> Any:
    """JSON as RFC 8259 has it, in UTF-8: no NaN, no Infinity. Its depth is limited, so that nobody after this runs out of stack."""
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise malformed_body("The body is not well-formed JSON in UTF-8.") from error
    if _deeper_than(_DEPTH_LIMIT, value):
        raise malformed_body(f"The body is nested more than {_DEPTH_LIMIT} levels deep.")
    return value


def _deeper_than(limit: int, value: Any) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    return bool(level)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON.")


def _parse_urlencoded(raw: bytes, limits: Limits) -> FormBody:
    try:
        text = raw.decode("ascii")
        fields = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=limits.parts)
    except ValueError as error:
        raise malformed_body("The body is not a well-formed form in UTF-8.") from error
    parts = [Part(name, None, "", hashlib.sha256(value.encode()).hexdigest()) for name, value in fields]
    return FormBody(fields, parts=parts)
