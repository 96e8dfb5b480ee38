"""Uploaded files on disk: taken in under a temporary name, kept under the SHA-256 of their content, never overwritten.

A file is on disk (content and name) before the transaction that refers to it commits. So a crash leaves at worst a file that
nothing refers to, and `clean` removes those at the next start.
"""

import fcntl
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """A file that was received in full and lies under a temporary name."""

    field: str
    name: str
    type: str
    size: int
    sha256: str
    path: Path


class Attachments:
    """The folder of attachments. All methods block on the disk: call them from a thread."""

    def __init__(self, folder: Path) -> None:
        self._incoming = folder / "incoming"
        self._kept = folder / "kept"
        self._lock_path = folder / "lock"
        self._lock: BinaryIO | None = None

    def open(self) -> bool:
        """Make the folders ready. Says whether no other process serves from here, so that `clean` may run before `share`."""
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._kept.mkdir(exist_ok=True)
        self._lock = self._lock_path.open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def clean(self, referenced: set[str]) -> None:
        """Remove what no record refers to. Another process's uploads would look like leftovers, see `open`."""
        for path in self._incoming.iterdir():
            path.unlink()
        for path in self._kept.glob("??/*"):
            if path.name not in referenced:
                path.unlink()

    def share(self) -> None:
        """Let other processes serve from here as well. Waits for one that is cleaning."""
        assert self._lock is not None  # noqa: S101  (opened before)
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def new_path(self) -> Path:
        """A temporary path for a file that is coming in."""
        return self._incoming / uuid4().hex

    def keep(self, files: Iterable[IncomingFile]) -> None:
        """Put received files on disk for good under the digests of their contents; on return they survive a power cut."""
        folders = set()
        for file in files:
            target = self.path(file.sha256)
            _sync(file.path)
            if not target.parent.exists():
                target.parent.mkdir(exist_ok=True)
                folders.add(self._kept)
            # The same content may be there already; the rename then puts equal bytes in its place.
            file.path.replace(target)
            folders.add(target.parent)
        for folder in folders:
            _sync(folder)

    def discard(self, files: Iterable[IncomingFile]) -> None:
        """Remove received files that were not kept."""
        for file in files:
            file.path.unlink(missing_ok=True)

    def path(self, sha256: str) -> Path:
        """Where the content with this digest is kept.

        Raises:
            ValueError: that is no digest.
        """
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no SHA-256 in hex.")
        return self._kept / sha256[:2] / sha256


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
