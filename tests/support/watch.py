"""What a browser must not do while a person uses the app: ask another origin for anything, or complain."""

import re
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Request, WebError

# The browser's own line about a request without an answer, or with an error for one: it says so whatever the page does.
BROWSERS_OWN = re.compile(r"^Failed to load resource: ")
NETWORK = ("http", "https", "ws", "wss")


class Watch:
    """Records the requests of all pages and workers of the contexts it watches, and what is wrong with any of them."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        """Every URL asked for over the network or of the service worker, in order."""
        self.faults: list[str] = []
        self._origins: set[str] = set()
        self._allowed: list[re.Pattern[str]] = [BROWSERS_OWN]

    def own(self, url: str) -> None:
        """What lies under this URL's origin is ours."""
        self._origins.add(_origin(url))

    def allow(self, pattern: str) -> None:
        """Messages that match are expected in this test."""
        self._allowed.append(re.compile(pattern))

    def follow(self, context: BrowserContext) -> None:
        """Watch a context from here on."""
        context.on("request", self._request)
        context.on("console", self._console)
        context.on("weberror", self._error)

    def check(self) -> None:
        """Raises AssertionError if anything was wrong."""
        assert not self.faults, "\n".join(self.faults)

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).scheme not in NETWORK:
            return
        self.requests.append(request.url)
        if _origin(request.url) not in self._origins:
            self.faults.append(f"A request left the origin: {request.method} {request.url}")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._complain("console.error", message.text)

    def _error(self, error: WebError) -> None:
        self._complain("Uncaught", str(error.error))

    def _complain(self, how: str, words: str) -> None:
        if not any(pattern.search(words) for pattern in self._allowed):
            self.faults.append(f"{how}: {words}")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
