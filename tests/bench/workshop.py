"""What rows measure with: a browser on a profile on disk that has been here before, and its service worker."""

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import CDPSession, Page

from tests.bench.arrivals import Arrivals
from tests.support.browsers import READY_MS, Device

QUIET = "/healthz"  # a page of the origin that has no scripts and asks for nothing
INSPECTION = {"site": "Lock 7", "inspected_on": "2026-01-02", "severity": "low"}
HAS_SNAPSHOT = (
    """async (build) => Boolean(await (await caches.open(`holdfast-${build}`)).match(`/runtime/${build}/snapshot`))"""
)
DROP_SNAPSHOT = """async (build) => (await caches.open(`holdfast-${build}`)).delete(`/runtime/${build}/snapshot`)"""
ENQUEUE = """async ([build, payload]) => {
    await import(`/runtime/${build}/inbox.js`);
    return holdfastInbox.append({ type: "inspection.create", payload });
}"""
MAKE_SNAPSHOT = """async (build) => {
    const { active } = await navigator.serviceWorker.getRegistration();
    const { port1, port2 } = new MessageChannel();
    const answer = new Promise((resolve) => (port1.onmessage = resolve));
    active.postMessage({ holdfast: 1, method: "prepare", params: { build } }, [port2]);
    await answer;
}"""


class Workshop:
    """One browser, `rounds` of everything."""

    def __init__(self, device: Device, relay: Arrivals, build: str, rounds: int) -> None:
        self.device = device
        self.relay = relay
        self.build = build
        self.rounds = rounds
        self._control: Page = device.context.new_page()  # of no origin, so that the worker sees no page
        self._session: CDPSession = self._control.context.new_cdp_session(self._control)
        self._registration = ""
        self._running: dict[str, str] = {}
        self._session.on("ServiceWorker.workerRegistrationUpdated", self._registered)
        self._session.on("ServiceWorker.workerVersionUpdated", self._changed)
        self._session.send("ServiceWorker.enable")
        self._until(lambda: bool(self._registration), "a registration")

    def quietly(self, script: str, arg: Any) -> Any:
        """Run a script in a page of the origin that does nothing else; the page is closed afterwards."""
        page = self.device.context.new_page()
        page.goto(self.relay.url + QUIET)
        answer = page.evaluate(script, arg)
        page.close()
        return answer

    def with_snapshot(self) -> None:
        """See to it that starts restore."""
        if not self.quietly(HAS_SNAPSHOT, self.build):
            self.quietly(MAKE_SNAPSHOT, self.build)
        assert self.quietly(HAS_SNAPSHOT, self.build)

    def without_snapshot(self) -> None:
        """See to it that starts are plain."""
        self.quietly(DROP_SNAPSHOT, self.build)

    def stop_worker(self) -> None:
        """Stop the worker, as browsers do with one that idles."""
        self._session.send("ServiceWorker.stopAllWorkers")
        self._until(lambda: set(self._running.values()) <= {"stopped"}, "a stopped worker")

    def sync(self) -> None:
        """Fire a sync event: it starts the worker."""
        event = {"origin": self.relay.url, "registrationId": self._registration, "tag": "holdfast", "lastChance": False}
        self._session.send("ServiceWorker.dispatchSyncEvent", event)

    def wait_for(self, look: Callable[[], bool], what: str) -> None:
        """Wait for something outside of the browser."""
        self._until(look, what)

    def _registered(self, event: dict[str, Any]) -> None:
        self._registration = event["registrations"][-1]["registrationId"]

    def _changed(self, event: dict[str, Any]) -> None:
        for version in event["versions"]:
            self._running[version["versionId"]] = version["runningStatus"]

    def _until(self, look: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_MS / 1_000
        while not look():
            assert time.monotonic() < deadline, f"There was not: {what}"
            self._control.wait_for_timeout(5)  # lets events of the browser come in
