"""The built app on its real server, in real browsers; and what a page did that it should not have."""

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.support.browsers import (
    CHROMIUM_ARGS,
    Device,
    copy_profile,
    launch_chromium,
    launch_firefox,
    which_chromium,
    which_firefox,
)
from tests.support.watch import Watch

IDLE = {"dom.serviceWorkers.idle_timeout": 3000}
READY = "() => ['ready', 'failed'].includes(globalThis.holdfast?.python)"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args, browser_name):
    args = dict(browser_type_launch_args)
    if browser_name == "chromium":
        args |= which_chromium() | {"args": [*args.get("args", []), *CHROMIUM_ARGS]}
    elif browser_name == "firefox":
        args |= which_firefox() | {"firefox_user_prefs": {"permissions.default.persistent-storage": 1, **IDLE}}
    return args


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc):
    """Both engines, unless the command line names some."""
    metafunc.config.option.browser = metafunc.config.option.browser or ["chromium", "firefox"]


def watched(page: Page, faults: list[str]) -> Page:
    page.on("pageerror", lambda error: faults.append(f"uncaught: {error}"))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    return page


@pytest.fixture
def faults() -> list[str]:
    """Uncaught errors and console errors of the pages made by `open_page`."""
    return []


@pytest.fixture
def context(request, browser_name, playwright, tmp_path) -> Iterator[BrowserContext]:
    """A device where the app has been opened before."""
    start = {
        "chromium": lambda profile: launch_chromium(playwright, profile, ()),
        "firefox": lambda profile: launch_firefox(playwright, profile, IDLE),
    }[browser_name]
    device = Device(tmp_path / "profile", start, Watch())
    copy_profile(request.getfixturevalue(f"_visited_{browser_name}"), device.profile)
    try:
        yield device.start().context
    finally:
        device.kill()
        shutil.rmtree(device.profile, ignore_errors=True)  # 40 MB


def opener(context: BrowserContext, url: str, faults: list[str]) -> Callable[..., Page]:
    def open_(path: str = "/", *, wait: bool = True) -> Page:
        page = watched(context.new_page(), faults)
        page.goto(url + path)
        if wait:
            page.wait_for_function(READY, timeout=90_000)
        return page

    return open_


@pytest.fixture
def open_page(context, server, faults) -> Callable[..., Page]:
    """Open the app (or another path) in a new tab; waits for Python to be there, or not to come, unless told."""
    return opener(context, server.url, faults)


@pytest.fixture
def open_first(browser: Browser, server, faults) -> Iterator[Callable[..., Page]]:
    """The same on a device where the app has never been."""
    with browser.new_context() as context:
        yield opener(context, server.url, faults)


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
