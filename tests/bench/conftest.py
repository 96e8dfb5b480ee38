"""The bench: the built app with a plain page beside it, a browser with a profile on disk, and the table at the end."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.bench.arrivals import Arrivals
from tests.bench.table import Table
from tests.bench.workshop import Workshop
from tests.support.server import ROOT, Server, free_port

ROUNDS = 3 if os.environ.get("QUICK") else 9
FIGURES = ROOT / "test-results" / "bench.json"
PLAIN_INTERPRETER = """import {{ start, version }} from "/runtime/{build}/python.js";
export {{ version }};
export const loadPyodide = async (options) => (await start(options)).python;
"""


@pytest.fixture(scope="session")
def table(request) -> Table:
    table = Table(rounds=ROUNDS)
    request.config.stash[TABLE] = table
    return table


TABLE = pytest.StashKey[Table]()


def pytest_terminal_summary(terminalreporter, config):
    table = config.stash.get(TABLE, None)
    if table is None or not table.lines:
        return
    terminalreporter.write_line(str(table))
    table.write(FIGURES)
    terminalreporter.write_line(f"Every round: {FIGURES.relative_to(ROOT)}")


@pytest.fixture
def name(build) -> str:
    """The build's name."""
    (folder,) = (build / "runtime").iterdir()
    return folder.name


@pytest.fixture
def dist(tmp_path, build, name) -> Path:
    """The build, and beside the app the same page with a start that never waits for a snapshot."""
    dist = tmp_path / "dist"
    shutil.copytree(build, dist)
    ours = json.dumps(f"/runtime/{name}/interpreter.js")
    page = (dist / "index.html").read_text()
    assert ours in page
    (dist / "plain.html").write_text(page.replace(ours, '"/plain.js"'))
    (dist / "plain.js").write_text(PLAIN_INTERPRETER.format(build=name))
    return dist


@pytest.fixture
def workshop(tmp_path, dist, name, port, chromium):
    with Server(tmp_path / "data", dist, port=free_port()) as server, Arrivals(port, server) as relay:
        device = chromium(visited=True)
        device.watch.own(relay.url)
        yield Workshop(device, relay, name, ROUNDS)
