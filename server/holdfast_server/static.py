"""The built app as files: compressed where the client takes it, for ever under /runtime/<build>/, looked at anew elsewhere."""

import asyncio
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from holdfast_server.files import WholeFile
from holdfast_server.problems import Problem

MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".whl": "application/zip",
    ".woff2": "font/woff2",
    ".zip": "application/zip",
}

ENCODINGS: Final = (("br", ".br"), ("gzip", ".gz"))
"""Content codings in order of preference, and how the name of a precompressed file ends."""

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_IMMUTABLE: Final = re.compile(r"/runtime/[^/]+/.+")


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    stat: os.stat_result
    digest: str


class StaticFiles:
    """Serves a folder. Raises `Problem` 404 or 405, so it belongs behind an app that answers those.

    A file is named by plain segments only and must lie inside the folder when all links are followed. It is looked up at
    every request, so a new build in the same place is served without a restart.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[Path, tuple[tuple[int, ...], str]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        response = await self._answer(scope)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        url_path = scope["path"]
        headers = Headers(scope=scope)
        found = await asyncio.to_thread(self._find, url_path, accepted_encodings(headers.get("accept-encoding", "")))
        if found is None:
            hint = "The app is not built: run `holdfast build`." if url_path == "/" else ""
            raise Problem(404, detail=hint)
        if scope["method"] not in ("GET", "HEAD"):
            raise Problem(405, headers={"Allow": "GET, HEAD"})
        file, encoding, media_type, varies = found
        etag = f'"{file.digest}"'
        answer = {
            "Cache-Control": "public, max-age=31536000, immutable" if _IMMUTABLE.fullmatch(url_path) else "no-cache",
            "ETag": etag,
        }
        if varies:
            answer["Vary"] = "Accept-Encoding"
        if _names(headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=answer)
        answer["Content-Type"] = media_type
        if encoding:
            answer["Content-Encoding"] = encoding
        return WholeFile(file.path, headers=answer, stat_result=file.stat)

    def _find(self, url_path: str, accepted: frozenset[str]) -> tuple[_File, str, str, bool] | None:
        """The file for a path and the codings the client takes: file, its coding or '', media type, whether codings matter."""
        relative = "index.html" if url_path == "/" else url_path.removeprefix("/")
        if not all(_SEGMENT.fullmatch(segment) for segment in relative.split("/")):
            return None
        plain = self._open(relative)
        if plain is None:
            return None
        media_type = MEDIA_TYPES.get(Path(relative).suffix, "application/octet-stream")
        packed = [(name, file) for name, suffix in ENCODINGS if (file := self._open(relative + suffix)) is not None]
        for name, file in packed:
            if name in accepted:
                return file, name, media_type, True
        return plain, "", media_type, bool(packed)

    def _open(self, relative: str) -> _File | None:
        try:
            path = (self._folder / relative).resolve(strict=True)
            stat = path.stat()
        except (OSError, ValueError):
            return None
        if not path.is_relative_to(self._folder.resolve()) or not path.is_file():
            return None
        return _File(path, stat, self._digest(path, stat))

    def _digest(self, path: Path, stat: os.stat_result) -> str:
        """A digest of the content, as entity tag. Times alone do not do: a reproducible build gives all files the same."""
        identity = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        known = self._digests.get(path)
        if known is not None and known[0] == identity:
            return known[1]
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
        self._digests[path] = (identity, digest)
        return digest


def accepted_encodings(header: str) -> frozenset[str]:
    """The content codings a client takes (RFC 9110, 12.5.3), of those named in `Accept-Encoding`."""
    accepted = set()
    for item in header.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        if not any(re.fullmatch(r"q=0(\.0{0,3})?", parameter) for parameter in parameters):
            accepted.add(name)
    return frozenset(accepted)


def _names(header: str, etag: str) -> bool:
    """Whether `If-None-Match` names this entity tag (weak comparison, RFC 9110, 13.1.2)."""
    return header.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in header.split(","))
