"""Everything a build is made from, as bytes by name, and the hash that names the build. Only what is read here may end
up in a build: so equal inputs give an equal build, and its name changes with any of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from holdfast_server.build.errors import BuildError
from holdfast_server.build.project import Project

Files = Mapping[str, bytes]

PYODIDE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")

# What a page really asks for: PyScript imports all its plugins before it looks at the page, used or not, `toml-V*` for a
# configuration in TOML, `pyodide_graph-*` for one that names packages. Left out: what comes only with an editor, a terminal,
# a game or files in a zip.
PYSCRIPT = (
    "core.js",
    "core-*.js",
    "deprecations-manager-*.js",
    "donkey-*.js",
    "error-*.js",
    "py-editor-*.js",
    "py-game-*.js",
    "py-terminal-*.js",
    "pyodide_graph-*.js",
    "toml-V*.js",
)


def collect(project: Project) -> dict[str, bytes]:
    """All inputs of `project`, by names that say where they go; raises `BuildError` for one that is missing."""
    return dict(sorted(_walk(project)))


def build_id(inputs: Files) -> str:
    """The first 16 hex digits of a SHA-256 over every name and every byte."""
    digest = hashlib.sha256()
    for name in sorted(inputs):
        digest.update(f"{name}\0{hashlib.sha256(inputs[name]).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def under(inputs: Files, folder: str) -> dict[str, bytes]:
    """The inputs below `folder`, by the rest of their names."""
    prefix = f"{folder}/"
    return {name.removeprefix(prefix): data for name, data in inputs.items() if name.startswith(prefix)}


def _walk(project: Project) -> Iterator[tuple[str, bytes]]:
    yield "settings", json.dumps(project.settings, sort_keys=True).encode()
    yield from _folder(Path(__file__).parent, "builder", "*.py")
    yield from _folder(project.root / "pyodide_modules" / "holdfast", "holdfast", "*")
    yield from _folder(project.root / "app", "app", "*")
    yield from _folder(project.root / "sw", "sw", "*")
    yield from _folder(project.root / "static", "static", "*")
    for part, folder, patterns in (
        ("pyodide", project.root / "node_modules" / "pyodide", PYODIDE),
        ("pyscript", project.root / "node_modules" / "@pyscript" / "core" / "dist", PYSCRIPT),
        ("wheels", project.root / ".cache" / "wheels", tuple(f"{name}-*.whl" for name in wheel_names(project))),
    ):
        for pattern in patterns:
            found = _one(folder, pattern)
            yield f"{part}/{found.name}", found.read_bytes()


def wheel_names(project: Project) -> tuple[str, ...]:
    """The wheels that come from outside, as they are spelt in file names."""
    return tuple(name.lower().replace("-", "_") for name in ("micropip", *project.packages))


def _folder(folder: Path, name: str, pattern: str) -> Iterator[tuple[str, bytes]]:
    if not folder.is_dir():
        raise BuildError(f"{folder} is missing: a Holdfast app has it.")
    for path in folder.rglob(pattern):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in relative.parts):
            yield f"{name}/{relative.as_posix()}", path.read_bytes()


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise BuildError(f"{folder / pattern} is missing: run `make setup`.")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise BuildError(f"{folder} has more than one {pattern} ({names}): run `make clean setup`.")
    return found[0]
