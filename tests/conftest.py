"""What every test of the built app needs: a build, a server, devices.

    def test_…(server, chromium):
        device = chromium(visited=True)       # a browser that has been here before; chromium() has not
        page = device.open(server.url)        # a tab whose Python answers
        save(page, Inspection(site="Lock 7"))
        device.kill()                         # SIGKILL of the whole browser
        page = device.start().open(server.url)

What a device may not do is in `tests/support/watch.py`; a test fails if one of its devices did it. `relay` stands in for
`server` where the network between is to misbehave.
"""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import Playwright, expect

from holdfast_server.build import build as build_app
from tests.support.browsers import (
    Device,
    copy_profile,
    launch_chromium,
    launch_firefox,
    wait_until_offline_capable,
)
from tests.support.builds import NEXT, changed_app
from tests.support.inspections import picture
from tests.support.relay import Relay
from tests.support.server import ROOT, Server, free_port
from tests.support.watch import Watch

# A test draws the same examples each time, however busy the machine; the long suite draws new ones.
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("new", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("new" if os.environ.get("HOLDFAST_LONG") else "same")

# What is awaited comes; how soon depends on how busy the machine is.
expect.set_options(timeout=30_000)

# Below what systems hand out by themselves: a browser's own connection must not hold a server's port when it restarts.
FIRST_PORT = 20_000
PORTS = 10_000


class Launcher(Protocol):
    """Starts a browser."""

    def __call__(self, *options: Any, profile: Path | None = None, visited: bool = False) -> Device:
        """A running device.

        Args:
            options: Chromium's command line arguments; for Firefox a dictionary of preferences.
            profile: a folder to use; by default a new one.
            visited: start from a profile that has been here once, so that it opens without a network.
        """
        ...


@pytest.fixture(scope="session")
def build(tmp_path_factory) -> Path:
    """The app as it is now, built once a session."""
    folder: Path = tmp_path_factory.mktemp("build") / "dist"
    build_app(folder, root=ROOT)
    return folder


@pytest.fixture(scope="session")
def next_build(tmp_path_factory) -> Path:
    """A later version of the app: other script, other Python in page, library and worker."""
    return changed_app(tmp_path_factory.mktemp("next"), NEXT)


@pytest.fixture(scope="session")
def port() -> int:
    """One port for all servers of the session, so that a profile that has been here finds its origin again."""
    for number in range(PORTS):
        candidate = FIRST_PORT + (os.getpid() + number) % PORTS
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", candidate)) != 0:
                return candidate
    raise RuntimeError("No free port.")


@pytest.fixture
def server(tmp_path, build, port) -> Iterator[Server]:
    """The real server with an empty data folder."""
    with Server(tmp_path / "data", build, port=port) as server:
        yield server


@pytest.fixture
def relay(tmp_path, build, port) -> Iterator[Relay]:
    """The real server behind a network that can misbehave: `relay.url` for browsers, `relay.server` for itself."""
    with Server(tmp_path / "data", build, port=free_port()) as server, Relay(port, server) as relay:
        yield relay


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Sees every request, console message and uncaught error of the test's devices, and fails the test for a wrong one."""
    watch = Watch()
    yield watch
    watch.check()


@pytest.fixture
def camera(tmp_path) -> Callable[[int], Path]:
    """Takes pictures: equal numbers give equal bytes."""
    return lambda number: picture(tmp_path / f"photo-{number}.png", number)


def _launcher(
    tmp_path_factory: Any, watch: Watch, start: Callable[..., Any], visited_profile: Path
) -> Iterator[Launcher]:
    devices: list[Device] = []

    def launch(*options: Any, profile: Path | None = None, visited: bool = False) -> Device:
        folder = profile or tmp_path_factory.mktemp("profile")
        if visited:
            copy_profile(visited_profile, folder)
        device = Device(folder, lambda folder: start(folder, *options), watch)
        devices.append(device)
        return device.start()

    yield launch
    for device in devices:
        device.kill()  # closing waits for whatever a test left hanging on purpose
        shutil.rmtree(device.profile, ignore_errors=True)


def visited_profile(folder: Path, build: Path, port: int, start: Callable[[Path], Any]) -> Path:
    """A profile that has been to a server of its own, on which nobody signs in: the same in whatever order tests run."""
    with Server(folder / "data", build, port=port) as server:
        device = Device(folder / "profile", start, Watch())
        wait_until_offline_capable(device.start().open(server.url))
        device.close()
        device.watch.check()
    return device.profile


@pytest.fixture(scope="session")
def _visited_chromium(tmp_path_factory, build, port, playwright: Playwright) -> Path:
    return visited_profile(
        tmp_path_factory.mktemp("chromium"), build, port, lambda folder: launch_chromium(playwright, folder, ())
    )


@pytest.fixture(scope="session")
def _visited_firefox(tmp_path_factory, build, port, playwright: Playwright) -> Path:
    return visited_profile(
        tmp_path_factory.mktemp("firefox"), build, port, lambda folder: launch_firefox(playwright, folder, {})
    )


@pytest.fixture
def chromium(tmp_path_factory, playwright: Playwright, watch, _visited_chromium) -> Iterator[Launcher]:
    """Launches Chromium on a persistent profile."""
    yield from _launcher(
        tmp_path_factory, watch, lambda folder, *args: launch_chromium(playwright, folder, args), _visited_chromium
    )


@pytest.fixture
def firefox(tmp_path_factory, playwright: Playwright, watch, _visited_firefox) -> Iterator[Launcher]:
    """Launches Firefox on a persistent profile."""
    yield from _launcher(
        tmp_path_factory,
        watch,
        lambda folder, *prefs: launch_firefox(playwright, folder, prefs[0] if prefs else {}),
        _visited_firefox,
    )


@pytest.fixture
def browsers(chromium, firefox) -> dict[str, Launcher]:
    """Both, by their names."""
    return {"chromium": chromium, "firefox": firefox}
