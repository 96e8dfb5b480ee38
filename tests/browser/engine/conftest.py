"""Python in a real browser, with the library and the tests as they are on disk.

A page loads Pyodide once for a module of tests; `ask` runs one function of `inside.py` in it.
"""

import functools
import http.server
import io
import json
import threading
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import _pytest
import fastjsonschema
import iniconfig
import packaging
import pluggy
import py
import pygments
import pytest
import sortedcontainers
from playwright.sync_api import Page

from tests.support.browsers import launch_chromium, launch_firefox

ROOT = Path(__file__).parents[3]
SOURCES = (
    "pyodide_modules/holdfast",
    "app",
    "tests/contract",
    "tests/unit/holdfast",
    "tests/unit/app",
    "tests/support",
)
PURE = ("pytest", "pluggy", "iniconfig", "packaging", "pygments", "sortedcontainers")
BOOT = """async () => {
    await import("/static/inbox.js");
    await import("/static/transactions.js");
    await import("/static/sending.js");
    const { loadPyodide } = await import("/node_modules/pyodide/pyodide.mjs");
    globalThis.py = await loadPyodide({ indexURL: "/node_modules/pyodide/" });
    const archive = await (await fetch("/sources.zip")).arrayBuffer();
    py.unpackArchive(archive, "zip", { extractDir: "/sources" });
    await py.runPythonAsync("import sys; sys.path[:0] = ['/sources/pyodide_modules', '/sources']");
    py.pyimport("tests.browser.engine.inside");
}"""
ASK_SUSPENDING = """async ([name, argument]) => {
    const inside = py.pyimport("tests.browser.engine.inside");
    return await inside[name].callPromising(argument);
}"""
ASK = """async ([name, argument]) => {
    const inside = py.pyimport("tests.browser.engine.inside");
    return await inside[name](argument);
}"""

Ask = Callable[[str, str], object]


def sources(*more: Path) -> bytes:
    """The library and the tests as one archive; `more` are installed packages that the tests import."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        for folder in (*(ROOT / source for source in SOURCES), Path(__file__).parent, *more):
            base = ROOT if folder.is_relative_to(ROOT) and folder not in more else folder.parent
            files = [folder] if folder.is_file() else sorted(folder.rglob("*"))
            for file in files:
                if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".so":
                    zipped.write(file, file.relative_to(base))
    return archive.getvalue()


class _Answers:
    """What a request of a transport is answered is said by its own payload; which came is kept, in order."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self._let_go: defaultdict[str, threading.Event] = defaultdict(threading.Event)

    def ask(self, request: dict[str, Any]) -> Any:
        match request["ask"]:
            case "arrived":
                return self.arrived
            case "forget":
                self.arrived.clear()
                self._let_go.clear()
            case "let go":
                self._let_go[request["name"]].set()
        return None

    def wait_for(self, asked: dict[str, Any]) -> None:
        self.arrived.append(asked["name"])
        if asked["held"]:
            self._let_go[asked["name"]].wait(60)


class _Files(http.server.SimpleHTTPRequestHandler):
    """The checkout, an empty page and the archive; `POST` to `/answer` is answered as it asks, `/ask` tells of those."""

    archive = b""
    answers: _Answers

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/answer":
            self.answers.wait_for(body)
            self._reply(body["status"], {}, {"Idempotency-Key": body["echo"]})
        else:
            self._reply(200, self.answers.ask(body), {})

    def _reply(self, status: int, content: Any, headers: dict[str, str]) -> None:
        text = json.dumps(content).encode()
        with suppress(ConnectionError):  # whoever asked may have gone
            self.send_response(status)
            for name, value in {"Content-Length": str(len(text)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

    def do_GET(self) -> None:
        if self.path in {"/", "/sources.zip"}:
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if self.path == "/" else "application/zip")
            self.end_headers()
            self.wfile.write(b"<!doctype html><link rel=icon href=data:,>" if self.path == "/" else self.archive)
        else:
            super().do_GET()

    def log_message(self, *_arguments: object) -> None:
        """Tests are told of failures by the page."""


def serve(archive: bytes) -> http.server.ThreadingHTTPServer:
    own = {
        "archive": archive,
        "answers": _Answers(),
        "extensions_map": {**_Files.extensions_map, ".mjs": "text/javascript"},
    }
    handler = type("Files", (_Files,), own)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=ROOT))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@contextmanager
def opened(playwright: object, profile: Path, browser: str, archive: bytes) -> Iterator[Page]:
    """A page of this browser in which Python runs."""
    server = serve(archive)
    launch = {
        "chromium": lambda: launch_chromium(playwright, profile, ()),  # type: ignore[arg-type]
        "firefox": lambda: launch_firefox(playwright, profile, {}),  # type: ignore[arg-type]
    }[browser]
    context = launch()
    try:
        page = context.new_page()
        page.goto(f"http://localhost:{server.server_port}/")
        page.evaluate(BOOT)
        yield page
    finally:
        context.close()
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def ask_pytest(playwright, tmp_path_factory) -> Iterator[Ask]:
    """The same in Chromium, with pytest and Hypothesis: the pure packages of this environment, and a wheel for the rest.

    And what the app's rules are checked with, `fastjsonschema`.
    """
    packages = [
        Path(module.__file__)
        for module in (pytest, _pytest, py, pluggy, iniconfig, packaging, pygments, fastjsonschema)
    ]
    more = [
        path.parent if path.name == "__init__.py" else path for path in [*packages, Path(sortedcontainers.__file__)]
    ]
    metadata = [folder for name in PURE for folder in more[0].parent.glob(f"{name}-*.dist-info")]
    [wheel] = (ROOT / ".cache" / "test-wheels").glob("hypothesis-*.whl")
    with opened(playwright, tmp_path_factory.mktemp("profile"), "chromium", sources(*more, *metadata)) as page:
        page.evaluate(
            "url => py.loadPackage(url, { checkIntegrity: false, messageCallback() {} })",
            f"/{wheel.relative_to(ROOT)}",
        )
        yield lambda name, argument: page.evaluate(ASK_SUSPENDING, [name, argument])


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def ask(request, playwright, tmp_path_factory) -> Iterator[Ask]:
    """Runs one function of `inside.py` in a page of either browser and returns what it answers."""
    with opened(playwright, tmp_path_factory.mktemp("profile"), request.param, sources()) as page:
        yield lambda name, argument: page.evaluate(ASK, [name, argument])
