"""A Chromium that is told what to run and tells nothing of itself.

Playwright hears of every request that a page makes, as it happens: on a small machine that makes a fetch cost twice as
much, on whichever side of a comparison. Here there is a pipe, and one command for all that is measured.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Any, Self

from tests.support.browsers import CHROMIUM_ARGS
from tests.support.processes import kill_tree

ARGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--password-store=basic",
    *CHROMIUM_ARGS,
)
ITS_READING_END, ITS_WRITING_END = 3, 4
"""Where it expects the pipe's ends (`--remote-debugging-pipe`)."""
ABOVE_THEM = 10
CHUNK = 65_536


class UnwatchedPage:
    """One page of it."""

    def __init__(self, browser: "Unwatched", target: str, session: str) -> None:
        self._browser = browser
        self._target = target
        self._session = session

    def evaluate(self, script: str, arg: Any) -> Any:
        """What a function of the page resolves to. Raises RuntimeError: it was rejected."""
        asked = {"expression": f"({script})({json.dumps(arg)})", "awaitPromise": True, "returnByValue": True}
        answer = self._browser.call("Runtime.evaluate", asked, self._session)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", answer))
        return answer["result"].get("value")

    def close(self) -> None:
        self._browser.call("Target.closeTarget", {"targetId": self._target})


class Unwatched:
    """The browser of this path, on this profile, until it is left."""

    def __init__(self, path: str, profile: Path) -> None:
        self._profile = profile
        self._numbers = 0
        self._heard = b""
        (reads, self._writing), (self._reading, writes) = os.pipe(), os.pipe()
        ends = [(above(reads), ITS_READING_END), (above(writes), ITS_WRITING_END)]
        quiet = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
        given = [(os.POSIX_SPAWN_DUP2, end, place) for end, place in ends]
        command = [path, f"--user-data-dir={profile}", *ARGS, "about:blank"]
        self._process = os.posix_spawn(path, command, os.environ, file_actions=[*quiet, *given])
        for end in (reads, writes, *(end for end, _ in ends)):
            os.close(end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        kill_tree(str(self._profile))
        os.waitpid(self._process, 0)
        os.close(self._writing)
        os.close(self._reading)

    def open(self, url: str) -> UnwatchedPage:
        """A new page that goes there; its scripts may still run."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self.call("Page.navigate", {"url": url}, session)
        return UnwatchedPage(self, target, session)

    def call(self, method: str, asked: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """One command of the DevTools protocol, and its answer. Raises RuntimeError: the browser refused it, or has ended."""
        self._numbers += 1
        command = {"id": self._numbers, "method": method, "params": asked} | ({"sessionId": session} if session else {})
        os.write(self._writing, json.dumps(command).encode() + b"\0")
        while (answer := self._next()).get("id") != self._numbers:
            pass  # an event
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._heard:
            chunk = os.read(self._reading, CHUNK)
            if not chunk:
                raise RuntimeError("The browser has ended.")
            self._heard += chunk
        text, _, self._heard = self._heard.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


def above(end: int) -> int:
    """The same end under a number that is none of those it is to have in the browser."""
    return fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, ABOVE_THEM)
