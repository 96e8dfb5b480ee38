"""The bench: the built app with the contenders beside it, one browser with a profile on disk, and the table at the end."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.gate import Gate
from tests.bench.table import Table
from tests.bench.unwatched import Unwatched
from tests.bench.workshop import Workshop
from tests.support.browsers import Device, copy_profile, launch_chromium, which_chromium
from tests.support.server import ROOT, Server, free_port
from tests.support.watch import Watch

QUICK = bool(os.environ.get("QUICK"))
ROUNDS = 3 if QUICK else 5
FIGURES = ROOT / "test-results" / "bench.json"
CONTENDERS = Path(__file__).parent / "contenders"
PUBLISHED = (
    "idb/build/index.js",
    "workbox-core/build/workbox-core.prod.js",
    "workbox-background-sync/build/workbox-background-sync.prod.js",
)
PLAIN_INTERPRETER = """import {{ start, version }} from "/runtime/{build}/python.js";
export {{ version }};
export const loadPyodide = async (options) => (await start(options)).python;
"""
TABLE = pytest.StashKey[Table]()


@pytest.fixture(scope="session")
def table(request) -> Table:
    table = Table(rounds=ROUNDS, path=FIGURES)
    request.config.stash[TABLE] = table
    return table


def pytest_terminal_summary(terminalreporter, config):
    table = config.stash.get(TABLE, None)
    if table is None or not table.lines:
        return
    terminalreporter.write_line(str(table))
    terminalreporter.write_line(f"Every round: {FIGURES.relative_to(ROOT)}")


@pytest.fixture(scope="session")
def build_name(build) -> str:
    """The build's name."""
    (folder,) = (build / "runtime").iterdir()
    return folder.name


@pytest.fixture(scope="session")
def dist(tmp_path_factory, build, build_name) -> Path:
    """The build; beside the app the same page with a start that never waits for a snapshot; and the contenders."""
    dist = tmp_path_factory.mktemp("bench") / "dist"
    shutil.copytree(build, dist)
    ours = json.dumps(f"/runtime/{build_name}/interpreter.js")
    page = (dist / "index.html").read_text()
    assert ours in page
    (dist / "plain.html").write_text(page.replace(ours, '"/plain.js"'))
    (dist / "plain.js").write_text(PLAIN_INTERPRETER.format(build=build_name))
    (dist / "bench").mkdir()
    for file in CONTENDERS.iterdir():
        if file.is_file():
            (dist / "bench" / file.name).write_text(file.read_text().replace("{{build}}", build_name))
    for file in PUBLISHED:
        name = "idb.js" if file.startswith("idb/") else Path(file).name
        shutil.copyfile(ROOT / "node_modules" / file, dist / "bench" / name)
    return dist


@pytest.fixture(scope="session")
def workshop(tmp_path_factory, dist, build_name, port, playwright, _visited_chromium) -> Iterator[Workshop]:
    """One server and one browser for all rows."""
    watch = Watch()

    def device() -> Device:
        return Device(tmp_path_factory.mktemp("profile"), lambda folder: launch_chromium(playwright, folder, ()), watch)

    def unwatched() -> Unwatched:
        profile = tmp_path_factory.mktemp("unwatched")
        copy_profile(_visited_chromium, profile)
        return Unwatched(which_chromium().get("executable_path") or playwright.chromium.executable_path, profile)

    server = Server(tmp_path_factory.mktemp("data"), dist, port=free_port())
    with server, Gate(port, server.port) as gate:
        watch.own(gate.url)
        visited = device()
        copy_profile(_visited_chromium, visited.profile)
        yield Workshop(
            visited.start(), gate, build_name, another=device, unwatched=unwatched, rounds=ROUNDS, quick=QUICK
        )
        visited.kill()
    watch.check()
