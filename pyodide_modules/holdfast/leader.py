"""The leader: the one page that runs timers for all. It wakes the queues when something could go, and every minute.

Who leads is decided by a lock; a leader whose lease has ended (a frozen tab) is replaced. Nothing depends on there being
exactly one: every page drains on its own wakes, and a second leader would only ask for the same locks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.errors import NewerStorageError, StorageError
from holdfast.moments import is_over
from holdfast.transactions.gating import beat, read_holder

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.ports import Event, Millis, Ports

LEASE_MS = 180_000
"""Hidden tabs' timers run once a minute, so a living leader renews well within this."""
LOOK_MS = 60_000
"""The longest a leader sleeps: timers stop while a device does, and set to more than 24 days they fire at once."""
SHORTEST_MS = 50


class Leader:
    """Runs as one task for as long as the page lives."""

    def __init__(
        self,
        ports: Ports,
        name: str,
        wake: Callable[[], None],
        listen: Callable[[Callable[[Event], None]], Callable[[], None]],
    ) -> None:
        """Describe a candidate.

        Args:
            ports: of its context.
            name: of the outbox.
            wake: looks at all queues and returns at once; a queue that takes long must not hold up the others' timers.
            listen: tells of events of every context, this one too: its drains say when something can go next.
        """
        self._ports = ports
        self._listen = listen
        self._lock_name = f"{name}:leader"
        self._wake = wake
        self._holder = ports.entropy.uuid()
        self._hurry = asyncio.Event()
        self._wake_at: Millis = 0
        self.leads = False

    async def run(self) -> None:
        """Stand for election, lead until the lock is lost, stand again. Ends when it is cancelled."""
        stop = self._listen(self._heard)
        try:
            while True:
                try:
                    await self._stand()
                except StorageError:
                    await self._ports.clock.sleep(LOOK_MS)  # the next attempt opens the database anew
        finally:
            stop()

    async def _stand(self) -> None:
        """One election and one term."""
        async with self._ports.locks.hold(self._lock_name, self._leader_is_gone) as lock:
            term = asyncio.ensure_future(self._lead())
            lock.on_lost(term.cancel)
            try:
                await term
            except asyncio.CancelledError:
                current = asyncio.current_task()
                if current is not None and current.cancelling():
                    term.cancel()
                    raise
            finally:
                self.leads = False

    async def _lead(self) -> None:
        self.leads = True
        clock = self._ports.clock
        while True:
            self._hurry.clear()
            self._wake_at = clock.now() + LOOK_MS
            self._wake()
            try:
                await self._ports.store.run(beat(self._lock_name, self._holder, LEASE_MS, clock.now()))
            except NewerStorageError:
                raise  # an update left this page behind: one that can read the database leads
            except StorageError:
                pass  # without its lease it may be replaced, which costs nothing; the next look opens the database anew
            await clock.sleep(SHORTEST_MS)
            await self._sleep()

    async def _sleep(self) -> None:
        """Sleep until the next job can go; sooner if a drain says so."""
        while not is_over(self._wake_at, self._ports.clock.now(), LOOK_MS):
            left_ms = self._wake_at - self._ports.clock.now()
            timer = asyncio.ensure_future(self._ports.clock.sleep(max(SHORTEST_MS, min(left_ms, LOOK_MS))))
            hurry = asyncio.ensure_future(self._hurry.wait())
            try:
                await asyncio.wait((timer, hurry), return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
                hurry.cancel()
            self._hurry.clear()

    def _heard(self, event: Event) -> None:
        """A drain ended, in whichever context, and knows when the next job can go."""
        wake_at = event.get("wake_at")
        if event.get("kind") == "drained" and wake_at is not None and wake_at < self._wake_at:
            self._wake_at = wake_at
            self._hurry.set()

    async def _leader_is_gone(self) -> bool:
        try:
            record = await self._ports.store.run(read_holder(self._lock_name))
        except StorageError:
            return False  # nobody knows; the next look opens the database anew
        now = self._ports.clock.now()
        return record is None or is_over(record["until"], now, LEASE_MS)
