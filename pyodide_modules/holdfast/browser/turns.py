"""Turns of the event loop: what is ready goes in one of them, in order, for some milliseconds at most.

Pyodide gives every callback of asyncio a message of its own to wait for, a function for JavaScript to call, and a journey
there and back: more than most callbacks do. A job that is taken in has seven to a dozen of them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

TURN_S = 0.004
"""How long a turn goes on to the next callback: the browser draws and listens between turns."""


def share(loop: asyncio.AbstractEventLoop) -> None:
    """From now on callbacks of this loop share its turns."""
    if not isinstance(getattr(loop.call_soon, "__self__", None), Turns):
        loop.call_soon = Turns(loop).call_soon  # type: ignore[method-assign, assignment]


class Turns:
    """What of one loop is ready; as in asyncio's own loops, what becomes so during a turn waits for the next."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: Callable[[], float] = time.monotonic) -> None:
        self._loop = loop
        self._ask: Callable[..., Any] = loop.call_soon
        self._now = now
        self._ready: deque[asyncio.Handle] = deque()
        self._asked = False

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self._loop, context)
        self._ready.append(handle)
        self._see_to_a_turn()
        return handle

    def _see_to_a_turn(self) -> None:
        if not self._asked:
            self._asked = True
            self._ask(self._turn)

    def _turn(self) -> None:
        self._asked = False  # at once: a callback may itself wait for the loop, with its stack put aside
        end = self._now() + TURN_S
        try:
            for _ in range(len(self._ready)):
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()  # noqa: SLF001  (as every loop does)
                if not self._ready or self._now() >= end:
                    break
        finally:
            if self._ready:
                self._see_to_a_turn()
