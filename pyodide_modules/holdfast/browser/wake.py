"""Being woken: the platform's wake-ups for later, and the events of this page that are reasons to look at the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import js
from pyodide.ffi import create_proxy

if TYPE_CHECKING:
    from collections.abc import Callable


class BrowserWakeup:
    """Background Sync through the JavaScript client, which falls back to a message to the worker.

    The worker has no need to ask: a sync event that leaves something undone comes again by itself.
    """

    def request(self) -> None:
        client = getattr(js, "holdfast", None)
        if client is not None:
            client.wake()


def on_return(look: Callable[[], None]) -> None:
    """Call `look` whenever the network or the person may be back. For the life of the page."""

    def visible(_event: Any = None) -> None:
        if js.document.visibilityState == "visible":
            look()

    def online(_event: Any = None) -> None:
        look()

    js.addEventListener("online", create_proxy(online))
    js.addEventListener("pageshow", create_proxy(visible))
    js.document.addEventListener("visibilitychange", create_proxy(visible))
