"""BroadcastChannel as the `Channel` port."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import js
from pyodide.ffi import create_proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.ports import Event


class BrowserChannel:
    """What every page and the worker of this outbox hear; a context does not hear itself."""

    def __init__(self, name: str) -> None:
        self._channel = js.BroadcastChannel.new(f"holdfast:{name}")

    def post(self, event: Event) -> None:
        self._channel.postMessage(js.JSON.parse(json.dumps(event)))

    def listen(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        def hear(message: Any) -> None:
            callback(json.loads(js.JSON.stringify(message.data)))

        proxy = create_proxy(hear)
        self._channel.addEventListener("message", proxy)

        def stop() -> None:
            self._channel.removeEventListener("message", proxy)
            proxy.destroy()

        return stop
