"""Files on their way between JavaScript and Python: `[field, Blob]` pairs there, `File` here. Bytes stay where they are."""

from __future__ import annotations

from typing import Any

from holdfast.job import File

UNNAMED_FIELD = "attachments"
"""The field under which the JavaScript client hands over files that belong to no form field."""


def from_js(pairs: Any) -> list[File]:
    """Describe `[field, Blob | File]` pairs; the handle is the blob itself."""
    return [_file(pair[0], pair[1]) for pair in pairs or ()]


def _file(field: str, blob: Any) -> File:
    name = getattr(blob, "name", None) or "file"
    return File(
        "" if field == UNNAMED_FIELD else field, name, blob.type or "application/octet-stream", int(blob.size), blob
    )


async def read_bytes(blob: Any) -> bytes:
    """The bytes of a blob, copied into Python."""
    buffer = await blob.arrayBuffer()
    content: bytes = buffer.to_bytes()
    return content
