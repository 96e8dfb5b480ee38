"""Locks where the browser has none (plain http to another host): a lease in the store, renewed while it is held.

Slower and coarser than Web Locks, with the same promise: a holder that dies is replaced when its lease ends.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from holdfast.errors import StorageError
from holdfast.held import HeldLock
from holdfast.transactions.gating import drop_lease, prolong_lease, take_lease

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from holdfast.ports import Clock, Entropy, Store

LEASE_MS = 15_000
RENEW_MS = 5_000
POLL_MS = 1_000


class LeaseLocks:
    """The `Locks` port on a store."""

    def __init__(self, store: Store, clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy

    @asynccontextmanager
    async def hold(self, name: str, stale: Callable[[], Awaitable[bool]]) -> AsyncIterator[HeldLock]:  # noqa: ARG002
        """Wait until the lease is free or over, then hold it. `stale` is not asked: the lease itself says it."""
        name = f"lease:{name}"
        holder = self._entropy.uuid()
        while not await self._store.run(take_lease(name, holder, LEASE_MS, self._clock.now())):
            await self._clock.sleep(POLL_MS)
        lease = HeldLock(stolen=True)  # the holder before may be slow, not gone
        renewal = asyncio.ensure_future(self._renew(name, holder, lease))
        try:
            yield lease
        finally:
            renewal.cancel()
            with suppress(StorageError):  # then it ends by itself
                await self._store.run(drop_lease(name, holder))

    async def _renew(self, name: str, holder: str, lease: HeldLock) -> None:
        while True:
            await self._clock.sleep(RENEW_MS)
            try:
                ours = await self._store.run(prolong_lease(name, holder, LEASE_MS, self._clock.now()))
            except StorageError:
                continue
            if not ours:
                lease.lose()
                return
