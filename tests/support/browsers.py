"""A person's device: a browser profile on disk, and the browser that runs on it, is killed, and runs on it again."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from playwright.sync_api import BrowserContext, Error, Page, Playwright

from tests.support.processes import kill_tree
from tests.support.relay import Relay
from tests.support.waiting import until_page
from tests.support.watch import Watch

READY_MS = 60_000

CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

_FAST = "initial_retry_delay_sec/2/max_sync_attempts/100/retry_delay_factor/1/min_recovery_time_sec/1"
FAST_SYNC = (
    "--force-fieldtrials=BackgroundSync/Test",
    f"--force-fieldtrial-params=BackgroundSync.Test:{_FAST}",
)
"""Chromium waits minutes before it fires a failed sync event again; with these, seconds."""

NO_SYNC = (
    "--force-fieldtrials=BackgroundSync/Test",
    "--force-fieldtrial-params=BackgroundSync.Test:disabled/true",
)
"""`registration.sync.register()` rejects."""

ELSEWHERE = "inspector.test"
"""Another host name of this machine for browsers; plain http under it is no secure context, so no service worker."""
RESOLVE_ELSEWHERE = (f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",)

HELD_PYTHON = """
const go = new Promise((resolve) => (globalThis.letGo = resolve));
for (const name of ["compile", "instantiate", "compileStreaming", "instantiateStreaming"]) {
    const make = WebAssembly[name];
    WebAssembly[name] = (...source) => go.then(() => make(...source));
}
"""
"""A page's Python does not start until `letGo()`."""

FIREFOX_PREFS: dict[str, Any] = {
    "permissions.default.persistent-storage": 1,
    "network.dns.localDomains": ELSEWHERE,
}


LOCKS = shutil.ignore_patterns("lock", ".parentlock", "Singleton*")
"""Links to a process that has ended."""


def copy_profile(source: Path, folder: Path) -> None:
    """Put a profile whose browser has ended into a folder of its own, to start from."""
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=LOCKS)


class Device:
    """One browser on one profile. `launch` starts it there; everything that should survive is in the profile."""

    def __init__(self, profile: Path, launch: Callable[[Path], BrowserContext], watch: Watch) -> None:
        self.profile = profile
        self.watch = watch
        self._launch = launch
        self._context: BrowserContext | None = None

    @property
    def context(self) -> BrowserContext:
        """The running browser."""
        assert self._context is not None, "the browser does not run"
        return self._context

    def start(self) -> Self:
        """Start the browser; it has no page of the app open."""
        self._context = self._launch(self.profile)
        self.watch.follow(self._context)
        return self

    def kill(self) -> None:
        """SIGKILL the whole browser."""
        context, self._context = self._context, None
        kill_tree(str(self.profile))
        if context is not None:
            with suppress(Error):
                context.close()

    def close(self) -> None:
        """Close the browser as a person does."""
        context, self._context = self._context, None
        if context is not None:
            context.close()

    def open(self, url: str, *, ready: bool = True) -> Page:
        """A new tab with the app; `ready` waits until its Python answers."""
        self.watch.own(url)
        page = self.context.new_page()
        page.goto(url)
        if ready:
            wait_until_ready(page)
        return page

    def offline(self) -> None:
        """Take the network away from pages and worker. Chromium only: in Firefox stop the server instead."""
        self.context.set_offline(True)

    def online(self) -> None:
        """Give it back."""
        self.context.set_offline(False)


def failed_page(device: Device, url: str) -> Page:
    """A tab that has noticed that Python cannot start."""
    page = device.open(url, ready=False)
    page.wait_for_function("() => window.holdfast && holdfast.python === 'failed'", timeout=60_000)
    return page


def forget_script(page: Page, name: str) -> None:
    """Take one script of the build out of the worker's cache and the browser's own, which in Firefox only a preference keeps empty.

    Whether it can be fetched anew is then for the network to say.
    """
    page.evaluate(
        """async (name) => {
            const cache = await caches.open(`holdfast-${holdfast.build}`);
            await cache.delete(`/runtime/${holdfast.build}/${name}`);
        }""",
        name,
    )
    if "Firefox" in page.evaluate("() => navigator.userAgent"):
        return
    session = page.context.new_cdp_session(page)
    session.send("Network.clearBrowserCache")
    session.detach()


def open_without_listener(device: Device, relay: Relay) -> Page:
    """The app in a tab whose submit listener is not to be had: the form posts itself, and the worker takes that."""
    forget_script(device.open(relay.url), "shim.js")
    relay.missing("GET", "/shim.js")
    return device.open(relay.url)


def wait_until_ready(page: Page) -> None:
    """Wait until the page's Python answers; fails with the reason if it cannot start."""
    page.wait_for_function("() => window.holdfast && holdfast.python !== 'starting'", timeout=READY_MS)
    state, reason = page.evaluate("() => [holdfast.python, holdfast.pythonReason]")
    assert state == "ready", f"Python is {state}: {reason}"


def wait_until_offline_capable(page: Page) -> None:
    """Wait until the service worker is active and later starts have a snapshot to start from."""
    until_page(
        page,
        """async () => {
            const registration = await navigator.serviceWorker.ready;
            const cache = await caches.open(`holdfast-${holdfast.build}`);
            const snapshot = await cache.match(`/runtime/${holdfast.build}/snapshot`);
            return registration.active.state === "activated" && Boolean(snapshot);
        }""",
        "an active worker and a snapshot",
        seconds=READY_MS / 1_000,
    )


def installed(name: str) -> str | None:
    """The path of "chromium" or "firefox-esr" where the distribution has both; else Playwright's own are driven, as .ci/browsers.sh has it."""
    paths = {name: shutil.which(name) for name in ("chromium", "firefox-esr")}
    return paths[name] if all(paths.values()) else None


def which_chromium() -> dict[str, Any]:
    """What to launch. Of Playwright's own the whole browser: without a channel it would start a smaller one, its headless shell."""
    path = installed("chromium")
    return {"executable_path": path} if path else {"channel": "chromium"}


def which_firefox() -> dict[str, Any]:
    """What to launch."""
    path = installed("firefox-esr")
    return {"channel": "moz-firefox", "executable_path": path} if path else {}


def launch_chromium(playwright: Playwright, profile: Path, args: tuple[str, ...]) -> BrowserContext:
    """The distribution's Chromium, or else Playwright's own, with this profile."""
    return playwright.chromium.launch_persistent_context(profile, args=[*CHROMIUM_ARGS, *args], **which_chromium())


def launch_firefox(playwright: Playwright, profile: Path, prefs: dict[str, Any]) -> BrowserContext:
    """The distribution's Firefox ESR, or else Playwright's own, with this profile."""
    return playwright.firefox.launch_persistent_context(
        profile, firefox_user_prefs={**FIREFOX_PREFS, **prefs}, **which_firefox()
    )
