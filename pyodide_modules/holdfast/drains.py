"""The drains of one context: one a queue at a time, wakes during one make it look once more, results put together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from holdfast.ports import Clock, Millis

    Drain = Callable[[str], Awaitable[Millis | None]]

SOON_MS = 900_000
"""What can go by itself within this is worth another wake of a worker."""


class Drains:
    """At most one drain of each queue runs in this context, so at most one request waits for each queue's lock."""

    def __init__(self, queues: Iterable[str], drain: Drain, nudge: Callable[[str], None], clock: Clock) -> None:
        """Describe them.

        Args:
            queues: their names.
            drain: one pass over a queue.
            nudge: tells a pass that runs that there may be more to send.
            clock: for time limits.
        """
        self._queues = tuple(queues)
        self._drain = drain
        self._nudge = nudge
        self._clock = clock
        self._running: dict[str, asyncio.Task[Millis | None]] = {}
        self._once_more: set[str] = set()

    def wake(self) -> None:
        """Look at all queues soon; returns at once. Many wakes are one drain."""
        for queue in self._queues:
            self._start(queue)

    async def run(self, timeout_ms: Millis | None) -> dict[str, Any]:
        """Drain all queues and say what is left: `next_wake_at`, and `remaining` if something could go soon."""
        if not self._queues:
            return {"next_wake_at": None, "remaining": False}
        self.wake()
        everything = asyncio.ensure_future(self._all_quiet())
        timer = asyncio.ensure_future(self._clock.sleep(timeout_ms)) if timeout_ms is not None else None
        try:
            await asyncio.wait((everything, timer) if timer else (everything,), return_when=asyncio.FIRST_COMPLETED)
        finally:
            everything.cancel()
            if timer is not None:
                timer.cancel()
        if not self._is_quiet():
            return {"next_wake_at": self._clock.now(), "remaining": True}
        wakes = [at for at in (task.result() for task in self._running.values()) if at is not None]
        next_wake_at = min(wakes, default=None)
        return {
            "next_wake_at": next_wake_at,
            "remaining": next_wake_at is not None and next_wake_at - self._clock.now() < SOON_MS,
        }

    async def _all_quiet(self) -> None:
        """Until no queue is being drained; one that is done may be woken by another."""
        while not self._is_quiet():
            await asyncio.wait(self._running.values())

    def _is_quiet(self) -> bool:
        return all(task.done() for task in self._running.values())

    def _start(self, queue: str) -> asyncio.Task[Millis | None]:
        running = self._running.get(queue)
        if running is not None and not running.done():
            self._once_more.add(queue)
            self._nudge(queue)
            return running
        task = asyncio.ensure_future(self._until_quiet(queue))
        self._running[queue] = task
        # A drain nobody waits for reports nothing: what it left undone is in the store, and the next wake takes it.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _until_quiet(self, queue: str) -> Millis | None:
        while True:
            self._once_more.discard(queue)
            wake_at = await self._drain(queue)
            if queue not in self._once_more:
                return wake_at
