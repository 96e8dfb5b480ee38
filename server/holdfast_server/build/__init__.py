"""`holdfast build`: the files a server hands out, from the sources of an app and the pinned parts that `make setup`
fetched. This module only says in which order; it touches no network, and equal inputs give equal bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast_server.build import output, site
from holdfast_server.build.compress import smaller_copies
from holdfast_server.build.errors import BuildError
from holdfast_server.build.inputs import build_id, collect
from holdfast_server.build.project import Project

__all__ = ["BuildError", "BuildResult", "build"]


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """What was built: its id, where it lies, and the bytes that a first visit costs (everything that is precached)."""

    build: str
    out: Path
    written: bool  # False: `out` held this very build already
    files: int
    bytes: int
    gzip_bytes: int
    brotli_bytes: int

    def __str__(self) -> str:
        """One line for a terminal."""
        state = "Built" if self.written else "Up to date:"
        sizes = (f"{size / 1e6:.2f} MB {how}" for size, how in ((self.brotli_bytes, "br"), (self.gzip_bytes, "gzip")))
        return f"{state} {self.build} in {self.out}: a first visit takes {self.files} files, {', '.join(sizes)}"


def build(out: Path, *, root: Path | None = None, cache: Path | None = None) -> BuildResult:
    """Build the app in `root` (by default the project the current folder lies in) into the folder `out`.

    `cache` keeps compressed files between builds, by default in the project's `.cache`. Raises `BuildError` where
    an input is missing or wrong; `out` is then as it was.
    """
    project = Project.load(root) if root else Project.find(Path.cwd())
    inputs = collect(project)
    name = build_id(inputs)
    tree = site.make(project, inputs, name)
    copies = smaller_copies(tree.values(), cache or project.root / ".cache" / "compressed")
    written = not output.is_current(out, tree, name)
    if written:
        encoded = {
            path + suffix: copies[data, suffix]
            for path, data in tree.items()
            for suffix in (".br", ".gz")
            if (data, suffix) in copies
        }
        output.write(out, tree | encoded, name)
    first_visit = [data for path, data in tree.items() if site.needed_offline(path)]
    return BuildResult(
        build=name,
        out=out,
        written=written,
        files=len(first_visit),
        bytes=sum(len(data) for data in first_visit),
        gzip_bytes=sum(len(copies.get((data, ".gz"), data)) for data in first_visit),
        brotli_bytes=sum(len(copies.get((data, ".br"), data)) for data in first_visit),
    )
