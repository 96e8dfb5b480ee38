"""Puts a build's files where they are served from, so that at no moment an unfinished one is: the build's own folder
appears whole, and the line that makes browsers look for it comes last.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

_LAST = "sw.js"


def is_current(out: Path, tree: Mapping[str, bytes], build: str) -> bool:
    """Whether `out` holds this very build. What `write` does last names it; an older builder's work has another name."""
    try:
        return (out / _LAST).read_bytes() == tree[_LAST] and (out / "runtime" / build).is_dir()
    except FileNotFoundError:
        return False


def write(out: Path, tree: Mapping[str, bytes], build: str) -> None:
    """Write the files. Of older builds the newest stays, for tabs that are still open; the rest goes."""
    folder = out / "runtime" / build
    partial = out / "runtime" / f".{build}"
    shutil.rmtree(partial, ignore_errors=True)
    prefix = f"runtime/{build}/"
    for path, data in tree.items():
        if path.startswith(prefix):
            _put(partial / path.removeprefix(prefix), data)
    shutil.rmtree(folder, ignore_errors=True)
    previous = _newest(out / "runtime")
    partial.rename(folder)
    shared = {path: data for path, data in tree.items() if not path.startswith("runtime/")}
    for path in sorted(shared, key=lambda path: (path.startswith(_LAST), path == _LAST)):
        _put(out / path, shared[path])
    for found in [path for path in out.rglob("*") if path.is_file()]:
        relative = found.relative_to(out).as_posix()
        if not relative.startswith("runtime/") and relative not in shared:
            found.unlink()
    for other in (out / "runtime").iterdir():
        if other not in (folder, previous):
            shutil.rmtree(other)


def _newest(runtime: Path) -> Path | None:
    builds = [folder for folder in runtime.iterdir() if not folder.name.startswith(".")]
    return max(builds, key=lambda folder: folder.stat().st_mtime, default=None)


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)
