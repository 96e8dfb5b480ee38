"""Wheels of our own sources, made the same way on every machine: sorted, dated alike, stored instead of deflated (so that
no compressor's version shows, and the whole is compressed better on its way). Reads no files.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip file can tell
_WHEEL = "Wheel-Version: 1.0\nGenerator: holdfast\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make(name: str, version: str, files: Mapping[str, bytes]) -> tuple[str, bytes]:
    """The file name and the bytes of a pure-Python wheel with `files`, by their import paths."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    content = {
        **{path: files[path] for path in sorted(files)},
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": _WHEEL.encode(),
    }
    record = "".join(f"{path},{_record_hash(data)},{len(data)}\n" for path, data in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as wheel:
        for path, data in content.items():
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.create_system = 3  # whatever the machine, as on Unix
            entry.external_attr = 0o644 << 16
            wheel.writestr(entry, data)
    return f"{stem}-py3-none-any.whl", archive.getvalue()


def _record_hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"sha256={digest}"
