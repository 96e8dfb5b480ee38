"""Time and chance of the browser."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import js

if TYPE_CHECKING:
    from holdfast.ports import Millis


class BrowserClock:
    """The wall clock and the event loop's timers."""

    def now(self) -> Millis:
        return int(time.time() * 1_000)

    async def sleep(self, span_ms: Millis) -> None:
        await asyncio.sleep(max(0, span_ms) / 1_000)


class BrowserEntropy:
    """Python's `random`, which the start of Python reseeds after every restore, and the browser's own ids."""

    def __init__(self) -> None:
        self._uuid = js.holdfastInbox.uuid

    def random(self) -> float:
        return random.random()  # noqa: S311  (jitter, not a secret)

    def uuid(self) -> str:
        return str(self._uuid())
