"""A real build of the real sources, made once; and copies of the project to edit."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast_server.build import BuildResult, build

ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".cache" / "compressed"


@dataclass(frozen=True)
class Built:
    """A finished build and its folder."""

    result: BuildResult
    out: Path

    @property
    def runtime(self) -> Path:
        return self.out / "runtime" / self.result.build

    @property
    def config(self) -> dict[str, Any]:
        """What config.js exports; it is JSON but for its first and last words."""
        text = (self.runtime / "config.js").read_text()
        return json.loads(text.removeprefix("export default ").removesuffix(";\n"))

    def file(self, url: str) -> Path:
        return self.out / ("index.html" if url == "/" else url.removeprefix("/"))


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Built:
    out = tmp_path_factory.mktemp("built") / "dist"
    return Built(build(out, root=ROOT, cache=CACHE), out)


@pytest.fixture
def copy_project(tmp_path) -> Callable[[str], Path]:
    """Makes a copy of the project under a name: sources to edit, what was fetched shared."""

    def copy(name: str) -> Path:
        root = tmp_path / name
        for folder in ("app", "sw", "static", "pyodide_modules"):
            shutil.copytree(
                ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copy
            )
        shutil.copy(ROOT / "pyproject.toml", root)
        for folder in ("node_modules", ".cache"):
            (root / folder).symlink_to(ROOT / folder)
        return root

    return copy
