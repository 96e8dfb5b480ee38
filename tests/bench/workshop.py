"""What rows measure with: a browser on a profile on disk that has been here before, its pages and its service workers."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import CDPSession, Page

from tests.bench.gate import Gate
from tests.bench.unwatched import Unwatched, UnwatchedPage
from tests.support.browsers import READY_MS, Device
from tests.support.waiting import until

QUIET = "/healthz"  # a page of the origin that has no scripts and asks for nothing
INSPECTION = {"site": "Lock 7", "inspected_on": "2026-01-02", "severity": "low"}
HAS_SNAPSHOT = (
    """async (build) => Boolean(await (await caches.open(`holdfast-${build}`)).match(`/runtime/${build}/snapshot`))"""
)
PUT_SNAPSHOT_ASIDE = """async (build) => {
    const [cache, aside] = [await caches.open(`holdfast-${build}`), await caches.open("bench")];
    const snapshot = await cache.match(`/runtime/${build}/snapshot`);
    if (!snapshot) return;
    await aside.put("/snapshot", snapshot);
    await cache.delete(`/runtime/${build}/snapshot`);
}"""
PUT_SNAPSHOT_BACK = """async (build) => {
    const [cache, aside] = [await caches.open(`holdfast-${build}`), await caches.open("bench")];
    const snapshot = await aside.match("/snapshot");
    if (snapshot) await cache.put(`/runtime/${build}/snapshot`, snapshot);
    return Boolean(snapshot);
}"""
IS_READY = "() => Boolean(globalThis.isReady)"
ENQUEUE = """async ([build, payload]) => {
    await import(`/runtime/${build}/inbox.js`);
    return holdfastInbox.append({ type: "inspection.create", payload });
}"""
MAKE_SNAPSHOT = """async (build) => {
    const { active } = await navigator.serviceWorker.getRegistration("/");
    const { port1, port2 } = new MessageChannel();
    const answer = new Promise((resolve) => (port1.onmessage = resolve));
    active.postMessage({ holdfast: 1, method: "prepare", params: { build } }, [port2]);
    await answer;
}"""
REGISTER = """async ([script, scope, type]) => {
    const registration = await navigator.serviceWorker.register(script, { scope, type });
    const worker = registration.installing ?? registration.waiting ?? registration.active;
    if (worker.state === "activated") return;
    await new Promise((resolve) => worker.addEventListener("statechange", () => worker.state === "activated" && resolve()));
}"""
TELL = """async ([scope, message]) => {
    const { active } = await navigator.serviceWorker.getRegistration(scope);
    const { port1, port2 } = new MessageChannel();
    const answer = new Promise((resolve) => (port1.onmessage = ({ data }) => resolve(data)));
    active.postMessage(message, [port2]);
    return answer;
}"""


class Contest:
    """The page with the contenders; see contenders/bench.js."""

    def __init__(self, page: UnwatchedPage) -> None:
        self._page = page

    def run(self, who: str, what: str, *given: Any) -> Any:
        """What a contender's method resolves to."""
        return self._page.evaluate("(asked) => bench(asked)", [who, what, *given])

    def timed(self, who: str, what: str, *given: Any) -> float:
        """How long it takes, in milliseconds."""
        taken: float = self._page.evaluate("(asked) => timed(asked)", [who, what, *given])
        return taken

    def counted(self, who: str, what: str, *given: Any) -> int:
        """How many requests to IndexedDB it makes."""
        requests: int = self._page.evaluate("(asked) => counted(asked)", [who, what, *given])
        return requests


class Workshop:
    """One browser, `rounds` of everything; `quick` asks for the fewest figures that still say something."""

    def __init__(
        self,
        device: Device,
        gate: Gate,
        build: str,
        *,
        another: Callable[[], Device],
        unwatched: Callable[[], Unwatched],
        rounds: int,
        quick: bool,
    ) -> None:
        self.device = device
        self.gate = gate
        self.build = build
        self._another = another
        self._unwatched = unwatched
        self.rounds = rounds
        self.slow_rounds = 1 if quick else rounds
        """Of what takes many seconds, and differs by little."""
        self.quick = quick
        self._control: Page = device.context.new_page()  # of no origin, so that the worker sees no page
        self._session: CDPSession = self._control.context.new_cdp_session(self._control)
        self._registrations: dict[str, str] = {}
        self._running: dict[str, str] = {}
        self._session.on("ServiceWorker.workerRegistrationUpdated", self._registered)
        self._session.on("ServiceWorker.workerVersionUpdated", self._changed)
        self._session.send("ServiceWorker.enable")
        self._until(lambda: self._scope("/") in self._registrations, "a registration")

    def quietly(self, script: str, arg: Any) -> Any:
        """Run a script in a page of the origin that does nothing else; the page is closed afterwards."""
        page = self.device.context.new_page()
        page.goto(self.gate.url + QUIET)
        answer = page.evaluate(script, arg)
        page.close()
        return answer

    @contextmanager
    def contest(self) -> Iterator[Contest]:
        """The page with the contenders, its queues empty and shut, in a browser of its own that nobody watches."""
        with self._unwatched() as browser:
            quiet = browser.open(self.gate.url + QUIET)
            if not quiet.evaluate(HAS_SNAPSHOT, self.build):
                quiet.evaluate(MAKE_SNAPSHOT, self.build)
            quiet.close()
            page = browser.open(f"{self.gate.url}/bench/page.html")
            until(lambda: page.evaluate(IS_READY, None), "the contenders", seconds=READY_MS / 1_000)
            yield Contest(page)

    @contextmanager
    def elsewhere(self) -> Iterator[Device]:
        """A browser that has never been here."""
        device = self._another().start()
        try:
            yield device
        finally:
            device.kill()

    def with_snapshot(self) -> None:
        """See to it that starts restore. A snapshot that was put aside comes back; making one anew takes seconds."""
        if self.quietly(HAS_SNAPSHOT, self.build) or self.quietly(PUT_SNAPSHOT_BACK, self.build):
            return
        self.quietly(MAKE_SNAPSHOT, self.build)
        assert self.quietly(HAS_SNAPSHOT, self.build)

    def without_snapshot(self) -> None:
        """See to it that starts are plain."""
        self.quietly(PUT_SNAPSHOT_ASIDE, self.build)

    def register(self, script: str, scope: str, *, module: bool = False) -> None:
        """Install a contender's service worker."""
        self.quietly(REGISTER, [f"/bench/{script}", scope, "module" if module else "classic"])
        self._until(lambda: self._scope(scope) in self._registrations, f"a registration for {scope}")

    def tell(self, scope: str, message: Any) -> Any:
        """What the service worker of a scope answers."""
        return self.quietly(TELL, [scope, message])

    def stop_workers(self) -> None:
        """Stop the workers, as browsers do with those that idle.

        An event that comes while one stops starts it again, in the same breath: once it runs that one is stopped as well.
        """

        def stopped() -> bool:
            if "running" in self._running.values():
                self._session.send("ServiceWorker.stopAllWorkers")
            return set(self._running.values()) <= {"stopped"}

        self._until(stopped, "stopped workers")

    def sync(self, scope: str = "/", tag: str = "holdfast") -> None:
        """Fire a sync event: it starts the worker."""
        registration = self._registrations[self._scope(scope)]
        event = {"origin": self.gate.url, "registrationId": registration, "tag": tag, "lastChance": False}
        self._session.send("ServiceWorker.dispatchSyncEvent", event)

    def wait_for(self, look: Callable[[], bool], what: str) -> None:
        """Wait for something outside of the browser."""
        self._until(look, what)

    def _scope(self, path: str) -> str:
        return self.gate.url + path

    def _registered(self, event: dict[str, Any]) -> None:
        for registration in event["registrations"]:
            self._registrations[registration["scopeURL"]] = registration["registrationId"]

    def _changed(self, event: dict[str, Any]) -> None:
        for version in event["versions"]:
            self._running[version["versionId"]] = version["runningStatus"]

    def _until(self, look: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + READY_MS / 1_000
        while not look():
            assert time.monotonic() < deadline, f"There was not: {what}"
            self._control.wait_for_timeout(5)  # lets events of the browser come in
