"""The built app on its real server, in real browsers; and what a page did that it should not have."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from holdfast_server.build import build
from tests.support.builds import NEXT, changed_app
from tests.support.server import Server

ROOT = Path(__file__).parents[3]
READY = "() => ['ready', 'failed'].includes(globalThis.holdfast?.python)"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args, browser_name):
    args = dict(browser_type_launch_args)
    if browser_name == "chromium" and (path := shutil.which("chromium")):
        quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
        args |= {"executable_path": path, "args": [*args.get("args", []), "--no-sandbox", *quiet]}
    elif browser_name == "firefox" and (path := shutil.which("firefox-esr")):
        args |= {
            "channel": "moz-firefox",
            "executable_path": path,
            "firefox_user_prefs": {
                "permissions.default.persistent-storage": 1,
                "dom.serviceWorkers.idle_timeout": 3000,
            },
        }
    return args


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc):
    """Both engines, unless the command line names some."""
    metafunc.config.option.browser = metafunc.config.option.browser or ["chromium", "firefox"]


@pytest.fixture(scope="session")
def dist(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("built") / "dist"
    build(out, root=ROOT)
    return out


@pytest.fixture(scope="session")
def next_dist(tmp_path_factory) -> Path:
    """A later version of the app."""
    return changed_app(tmp_path_factory.mktemp("next"), NEXT)


@pytest.fixture
def server(dist, tmp_path):
    with Server(tmp_path / "data", dist) as running:
        yield running


def watched(page: Page, faults: list[str]) -> Page:
    page.on("pageerror", lambda error: faults.append(f"uncaught: {error}"))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    return page


@pytest.fixture
def faults() -> list[str]:
    """Uncaught errors and console errors of the pages made by `open_page`."""
    return []


@pytest.fixture
def open_page(context: BrowserContext, server, faults) -> Callable[..., Page]:
    """Open the app (or another path) in a new tab; waits for Python to be there, or not to come, unless told."""

    def open_(path: str = "/", *, wait: bool = True) -> Page:
        page = watched(context.new_page(), faults)
        page.goto(server.url + path)
        if wait:
            page.wait_for_function(READY, timeout=90_000)
        return page

    return open_


@pytest.fixture
def lone_page(browser, server, faults):
    """A tab in a browser without service workers, prepared by a script before anything else runs."""
    contexts = []

    def open_(*scripts: str, path: str = "/", block: str = "", wait: bool = False) -> Page:
        context = browser.new_context(service_workers="block")
        contexts.append(context)
        context.add_init_script("Object.defineProperty(Navigator.prototype, 'serviceWorker', {value: undefined})")
        for script in scripts:
            context.add_init_script(script)
        page = watched(context.new_page(), faults)
        if block:
            page.route(block, lambda route: route.abort())
        page.goto(server.url + path)
        page.wait_for_function("() => globalThis.holdfast")
        if wait:
            page.wait_for_function(READY, timeout=90_000)
        return page

    yield open_
    for context in contexts:
        context.close()
