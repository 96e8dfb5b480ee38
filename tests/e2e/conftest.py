"""Other builds of the app: a later version to update to, one whose inspections go together."""

import shutil
from pathlib import Path

import pytest

from holdfast_server.build import build as build_app
from tests.support.server import ROOT

SOURCES = ("app", "sw", "static", "pyodide_modules")
FETCHED = ("node_modules", ".cache")
NEXT = "\n/* the next version */\n"
ROUTE = '    files_field="photos",\n'


def copy_of_the_app(root: Path) -> Path:
    """All that goes into a build, to be changed."""
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in FETCHED:
        (root / folder).symlink_to(ROOT / folder)
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


@pytest.fixture(scope="session")
def next_build(tmp_path_factory) -> Path:
    """Another build of the app: one input differs, to no visible effect."""
    root = copy_of_the_app(tmp_path_factory.mktemp("next"))
    with (root / "static" / "app.css").open("a") as style:
        style.write(NEXT)
    build_app(root / "dist", root=root)
    return root / "dist"


@pytest.fixture(scope="session")
def batching_build(tmp_path_factory) -> Path:
    """The app with one more option: inspections that wait together share a request."""
    root = copy_of_the_app(tmp_path_factory.mktemp("batching"))
    jobs = root / "app" / "jobs.py"
    route = jobs.read_text()
    assert ROUTE in route
    jobs.write_text(route.replace(ROUTE, f"{ROUTE}    batch=True,\n"))
    build_app(root / "dist", root=root)
    return root / "dist"
