"""A later version of the app, to update to."""

import shutil
from pathlib import Path

import pytest

from holdfast_server.build import build as build_app
from tests.support.server import ROOT

SOURCES = ("app", "sw", "static", "pyodide_modules")
FETCHED = ("node_modules", ".cache")
NEXT = "\n/* the next version */\n"


@pytest.fixture(scope="session")
def next_build(tmp_path_factory) -> Path:
    """Another build of the app: one input differs, to no visible effect."""
    root: Path = tmp_path_factory.mktemp("next")
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in FETCHED:
        (root / folder).symlink_to(ROOT / folder)
    shutil.copy(ROOT / "pyproject.toml", root)
    with (root / "static" / "app.css").open("a") as style:
        style.write(NEXT)
    build_app(root / "dist", root=root)
    return root / "dist"
