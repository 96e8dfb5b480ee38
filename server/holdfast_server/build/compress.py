"""A smaller copy of a file for each encoding that saves bytes. Slow for Pyodide's megabytes and the same every time, so
results are kept by content hash.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import brotli

# Brotli's 11 takes twice as long as its 10 and saves 2 % more of Pyodide's wasm.
_ENCODERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    ".br": lambda data: bytes(brotli.compress(data, quality=10)),
    ".gz": lambda data: gzip.compress(data, 9, mtime=0),
}
_WORTH_IT: Final = 0.95  # below that share of the original; zip files and pictures stay as they are


def smaller_copies(files: Iterable[bytes], cache: Path) -> dict[tuple[bytes, str], bytes]:
    """For each content and suffix (".br", ".gz") the compressed bytes, left out where they would save nothing.

    Both compressors work outside the interpreter's lock, so threads use every core; the largest file goes first.
    """
    cache.mkdir(parents=True, exist_ok=True)
    wanted = [(data, suffix) for data in sorted(set(files), key=len, reverse=True) for suffix in _ENCODERS]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(lambda item: _compressed(item[0], item[1], cache), wanted)
        return {item: data for item, data in zip(wanted, done, strict=True) if data}


def _compressed(data: bytes, suffix: str, cache: Path) -> bytes:
    kept = cache / f"{hashlib.sha256(data).hexdigest()}{suffix}"
    try:
        return kept.read_bytes()
    except FileNotFoundError:
        small = _ENCODERS[suffix](data)
        if len(small) > _WORTH_IT * len(data):
            small = b""  # kept as well: not to be tried again
        partial = kept.with_suffix(f"{suffix}.{os.getpid()}")
        partial.write_bytes(small)
        partial.replace(kept)
        return small
