"""Locks in memory and leases in a store keep the same promises; tests/browser/engine holds Web Locks to them."""

import asyncio
from contextlib import suppress
from itertools import count

import pytest

from holdfast.leases import LeaseLocks
from holdfast.memory import MemoryStore
from holdfast.testing import ManualClock, MemoryLocks, SeededEntropy
from holdfast.transactions.gating import drop_lease, take_lease
from tests.contract.lock_promises import FREEZE_PROMISES, PROMISES, Visit

HOUR_MS = 3_600_000


class Place:
    """Contexts on one device with a clock that is turned by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()

    async def until(self, holds) -> None:
        for _ in range(200):
            await self.clock.settle()
            if holds():
                return
            await self.clock.advance(1_000)
        raise AssertionError("it never came to that")

    async def rest(self) -> None:
        await self.clock.advance(3_000)
        await self.clock.settle()

    async def long(self) -> None:
        await self.clock.advance(HOUR_MS)


class Memory(Place):
    """`holdfast.testing`'s locks."""

    def __init__(self) -> None:
        super().__init__()
        self._locks = MemoryLocks()

    def locks(self) -> MemoryLocks:
        return self._locks

    async def steal(self, name: str):
        self._locks.steal(name)
        thief = Visit(self._locks, name)
        await self.until(lambda: thief.inside)
        return thief._leave.set


class Leases(Place):
    """Leases in a store, for browsers without Web Locks."""

    def __init__(self) -> None:
        super().__init__()
        self._store = MemoryStore()
        self._seeds = count()

    def locks(self) -> LeaseLocks:
        return LeaseLocks(self._store, self.clock, SeededEntropy(next(self._seeds)))

    async def steal(self, name: str):
        """Another context found the lease over (this device's clock was ahead) and took it."""
        lock = f"lease:{name}"
        thief = self.clock.now() + HOUR_MS
        await self._store.run(take_lease(lock, "thief", 1, thief))
        await self._store.run(take_lease(lock, "thief", HOUR_MS, self.clock.now()))
        leaving = asyncio.Event()
        keeping = asyncio.ensure_future(self._keep(lock, leaving))

        def leave() -> None:
            keeping.cancel()
            leaving.set()

        return leave

    async def _keep(self, lock: str, leaving: asyncio.Event) -> None:
        with suppress(asyncio.CancelledError):
            while not leaving.is_set():
                await self._store.run(take_lease(lock, "thief", 15_000, self.clock.now()))
                await self.clock.sleep(1_000)
        await self._store.run(drop_lease(lock, "thief"))

    async def freeze(self, name: str):
        """A holder whose timers stand still: its lease is never renewed."""
        await self._store.run(take_lease(f"lease:{name}", "frozen", 15_000, self.clock.now()))
        return lambda: None


KEPT = [
    pytest.param(place, promise, id=f"{place.__name__}-{promise.__name__}")
    for place in (Memory, Leases)
    for promise in PROMISES
]
KEPT += [pytest.param(Leases, promise, id=f"Leases-{promise.__name__}") for promise in FREEZE_PROMISES]


@pytest.mark.parametrize(("place", "promise"), KEPT)
async def test_locks_promise_that(place, promise) -> None:
    """Each promise in its own words."""
    await promise(place())
